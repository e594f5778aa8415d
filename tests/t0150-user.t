#!/bin/bash
# All of it as an ordinary user, with a read-only installation of root's, and
# nobody else sees or reaches anything.
. "$(dirname "$0")/vm.sh"

vm_cluster 2
sandbox=$(vrun -n1 "$build/inst/bin/vmstep" check | sed -n 's/.* sandbox  *//p')
like "vmstep check tells what of a sandbox the kernel has" "$sandbox" Landlock
other=vmtest2
id $other &>/dev/null || useradd -m $other

(cd "$tmp/home" && exec "$top/contrib/minicluster" --name "vm-$$" run \
	-u "$test_user" srun -J caps -N2 -n2 --vm-image=tiny \
	sh -c 'echo started; sleep 100' >"$tmp/out" 2>"$tmp/err") &
both() { [[ $(grep -c started "$tmp/out") == 2 ]]; }
ok "a step runs on two nodes" wait_for 60 both

pids() { mc vm node n1 pgrep -f 'qemu-system|vmstep-(helper|net)'; }
caps=$(for p in $(pids); do
	mc vm node n1 sed -n 's/^Cap\(Prm\|Eff\|Amb\):\t//p' "/proc/$p/status"
done | sort -u)
is "no process of it has a capability" "$caps" 0000000000000000
gains=$(for p in $(mc vm node n1 pgrep -f 'qemu-system|vmstep-net'); do
	mc vm node n1 sed -n 's/^NoNewPrivs:\t//p' "/proc/$p/status"
done | sort -u)
is "neither QEMU nor vmstep-net can gain one" "$gains" 1
uids=$(for p in $(pids); do
	mc vm node n1 sed -n 's/^Uid:\t\([0-9]*\)\t\([0-9]*\).*/\1 \2/p' "/proc/$p/status"
done | sort -u)
is "all run as the user" "$uids" "$(id -u "$test_user") $(id -u "$test_user")"

dir=$(mc vm node n1 find "$runtime/$(id -u "$test_user")" -maxdepth 1 -name '*.0')
is "the step's directory is the user's own" \
	"$(mc vm node n1 stat -c '%a %U' "$dir")" "700 $test_user"
like "what of a sandbox vmstep-net has is in its log" \
	"$(mc vm node n1 cat "$dir/net.log")" "sandbox: $sandbox"
nok "another user cannot look into it" \
	mc vm node n1 setpriv --reuid=$other --clear-groups ls "$dir"
listening()
{
	mc vm node n1 ss -Hltnp | grep -E 'qemu|vmstep' | grep -v vmstep-net
}
is "nothing listens on TCP but vmstep-net's link" "$(listening)" ""
port=$(mc vm node n1 ss -Hltnp | sed -n 's/.*:\([0-9]*\) .*vmstep-net.*/\1/p' | head -1)
like "the link is there" "$port" '^[0-9]+$'
# shellcheck disable=SC2016
is "it takes a stranger's connection, and says nothing of what it was told" \
	"$(mc vm node n1 bash -c '
		exec 3<>"/dev/tcp/198.18.1.1/$1" && echo connected
		printf "GET / HTTP/1.0\r\n\r\n" >&3
		timeout 10 cat <&3 | tr -d "\0" | grep -c HTTP' - "$port" | xargs)" \
	"connected 0"
vsh "scancel -n caps"
wait
clean "nothing stays"
done_testing
