#!/bin/bash
# All of it as an ordinary user, with a read-only installation of root's, and
# nobody else sees or reaches anything.
. "$(dirname "$0")/vm.sh"

vm_cluster 2
conf "allow_qmp = yes" "max_vms_per_node = 100"
sandbox=$(vrun -n1 "$build/inst/bin/vmstep" check | sed -n 's/.* sandbox  *//p')
like "vmstep check tells what of a sandbox the kernel has" "$sandbox" Landlock
other=vmtest2
id $other &>/dev/null || useradd -m $other

(cd "$tmp/home" && exec "$top/contrib/minicluster" --name "vm-$$" run \
	-u "$test_user" srun -J caps -N2 -n2 --vm-image=tiny \
	sh -c 'echo started; sleep 100' >"$tmp/out" 2>"$tmp/err") &
both() { [[ $(grep -c started "$tmp/out") == 2 ]]; }
ok "a step runs on two nodes" wait_for 120 both

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

# what is not dumpable is root's in /proc
owners=$(for p in $(mc vm node n1 pgrep -f 'vmstep-(helper|net)'); do
	mc vm node n1 stat -c %U "/proc/$p/environ"
done | sort -u)
is "helper and vmstep-net cannot be looked into, by their user either" "$owners" root

dir=$(mc vm node n1 find "$runtime/$(id -u "$test_user")" -maxdepth 1 -name '*.0')
is "the step's directory is the user's own" \
	"$(mc vm node n1 stat -c '%a %U' "$dir")" "700 $test_user"
like "what of a sandbox vmstep-net has is in its log" \
	"$(mc vm node n1 cat "$dir/net.log")" "sandbox: $sandbox"
ok "VMs are counted" mc vm node n1 test -f "$runtime/slots"
nok "another user cannot look into it" \
	mc vm node n1 setpriv --reuid=$other --clear-groups ls "$dir"
nok "... nor can it hold the site's slots" mc vm node n1 \
	setpriv --reuid=$other --clear-groups flock -n "$runtime/slots" true
nok "... or make anything beside them" mc vm node n1 \
	setpriv --reuid=$other --clear-groups mkdir "$runtime/$(id -u $other)"
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

# ---- what a guest that has broken out of QEMU could do: ask QEMU ----

job=$(vsh "squeue -h -n caps -o %i")
# qmp COMMAND ARGUMENTS: what QEMU says to it, or why not
qmp() { vsh "$build/inst/bin/vmstep -j $job -r 0 op vm.qmp '{\"command\": \"$1\", \"arguments\": {$2}}'" 2>&1; }
# opens PATH: has QEMU open it to read
opens() { qmp blockdev-add "\"driver\": \"file\", \"node-name\": \"f$RANDOM\", \"read-only\": true, \"filename\": \"$1\""; }
vsh "echo mine >secret"
like "QEMU opens files of its VM" "$(opens "$tiny/initramfs")" '"return": *\{\}'
if [[ $sandbox == Landlock* ]]; then
	like "... none of the user's" "$(opens "$tmp/home/secret")" "secret': Permission denied"
	like "... none of the system's that are not a program's" \
		"$(opens /etc/hostname)" "hostname': Permission denied"
	like "... and makes none" "$(qmp chardev-add "\"id\": \"c\", \"backend\": {
		\"type\": \"file\", \"data\": {\"out\": \"$tmp/home/made\"}}")" \
		"Permission denied"
	nok "... there is none" test -e "$tmp/home/made"
else
	skip "QEMU opens no other file" "this kernel has no Landlock"
fi
like "... nor a socket of the step's helper" "$(qmp chardev-add "\"id\": \"s\",
	\"backend\": {\"type\": \"socket\", \"data\": {\"server\": false, \"addr\":
	{\"type\": \"unix\", \"data\": {\"path\": \"$dir/task.0.sock\"}}}}")" \
	"task.0.sock': Permission denied"
if [[ ${sandbox##*[!0-9]} -ge 4 ]]; then
	like "... nor a TCP connection" "$(qmp blockdev-add '"driver": "nbd",
		"node-name": "n", "server": {"type": "inet", "host": "127.0.0.1", "port": "9"}')" \
		"Permission denied"
else
	skip "QEMU makes no TCP connection" "this kernel's Landlock knows no TCP"
fi
vsh "scancel -n caps"
wait
clean "nothing stays"

# ---- the user's environment: a loader that writes a file for each process ----

mkdir -m 777 "$tmp/ld"
is "the user's loader settings: the step runs" \
	"$(vrun -n1 --export="ALL,LD_DEBUG=libs,LD_DEBUG_OUTPUT=$tmp/ld/x" \
		--vm-image=tiny uname -n)" vm0
ok "... helper and QEMU have them" \
	test "$(find "$tmp/ld" -name 'x.*' -user "$test_user" | wc -l)" -ge 2
is "... and no process of another's, as root's slurmstepd" \
	"$(find "$tmp/ld" -name 'x.*' ! -user "$test_user")" ""

# ---- the site's file in other hands ----

chown "$test_user" "$tmp/vmstep.conf"
vrun -n1 --vm-image=tiny true
is "a vmstep.conf that is not root's: 125" $? 125
like "... and whose it is" "$(<"$tmp/err")" \
	"vm\[0\]@n1: error: .*vmstep.conf belongs to user $(id -u "$test_user"), who could change what the site allows: chown root"
is "... a step without VMs does not care" "$(vrun -n1 hostname)" n1
chown root "$tmp/vmstep.conf"
clean "nothing stays of these"

conf "allow_qmp = yes" "sandbox = no"
(cd "$tmp/home" && exec "$top/contrib/minicluster" --name "vm-$$" run \
	-u "$test_user" srun -J open -n1 --vm-image=tiny \
	sh -c 'echo started; sleep 100' >"$tmp/open" 2>"$tmp/err") &
ok "a step without a sandbox runs" wait_for 120 grep -q started "$tmp/open"
job=$(vsh "squeue -h -n open -o %i")
like "... and QEMU opens what its user can" "$(opens "$tmp/home/secret")" '"return": *\{\}'
vsh "scancel -n open"
wait
done_testing
