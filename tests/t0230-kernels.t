#!/bin/bash
# Kernels, which are sets of ops of a guest's own, from an image and added while
# the step runs; code.run.
. "$(dirname "$0")/vm.sh"

need jq cpio socat
vm_cluster 2
vms() { vsh "$build/inst/bin/vmstep -j 1.0 $*" 2>"$tmp/vms.err"; }
op() { vms --json op "$@"; }
said() { cat "$tmp/vms.err"; }

# ---- an image with a kernel of its own ----

mkdir -p root/etc/vmstep/ops.d/demo bad
demo=root/etc/vmstep/ops.d/demo
cat >$demo/rank <<'END'
#!/bin/sh
# op: rank([any]): who was asked, and what
read -r line
echo "{\"rank\":$SLURM_PROCID,\"asked\":$line}"
END
cat >$demo/fail <<'END'
#!/bin/sh
# op: fail(): never does it
# timeout: 5
echo "out of ideas" >&2
exit 7
END
cat >$demo/slow <<'END'
#!/bin/sh
# timeout: 0.5
sleep 1000
END
cp $demo/rank $demo/open
chmod 755 root root/etc root/etc/vmstep root/etc/vmstep/ops.d $demo $demo/*
chmod 777 $demo/open
cp -r --reflink=auto "$tiny" demo.vm
(cd root && find . | cpio --quiet -o -H newc) >>demo.vm/initramfs

bg vrun -N2 -n2 --vm-image="$tmp/demo.vm" sh -c 'echo up; vmop recv; echo end' >out
step=$!
up() { (($(grep -c up out) == 2)); }
ok "a step of two guests on two nodes, of an image with a kernel" wait_for 240 up
diag "$(cat "$tmp/err")"

is "kernel list has it" "$(vms kernel list | paste -sd,)" \
	"0: core (5 ops, built-in),0: demo (4 ops, image),1: core (5 ops, built-in),1: demo (4 ops, image)"
is "kernel ops says what its ops say" "$(vms -r 1 kernel ops demo | sed 2q | paste -sd,)" \
	"1: fail(): never does it,1: open() [refused: /etc/vmstep/ops.d/demo/open: others than root can write to it: its owner has to be root, its mode 755]"
is "an op is called in each guest" \
	"$(op demo:rank "'{\"n\":1}'" | jq -Sc '.results | map_values(.result)')" \
	'{"0":{"asked":{"n":1},"rank":0},"1":{"asked":{"n":1},"rank":1}}'
op -r 0 demo:fail >failed
is "... one that fails: status 1" $? 1
is "... and how" "$(jq -c '.results["0"].error | [.message, .data]' failed)" \
	'["demo:fail: exit status 7: out of ideas",{"name":"E_OP","err":"out of ideas\n","exit":7}]'
is "... its time is up" "$(op -r 0 demo:slow | jq '.results["0"].error.code')" 4
is "... one that others could have written" "$(op -r 0 demo:open | jq '.results["0"].error.code')" 6
is "... one that is not there" "$(op -r 0 demo:none | jq '.results["0"].error.code')" 10
is "core:echo is built in" "$(op -r 0 core:echo "'{\"a\":[1]}'" | jq -c '.results["0"].result')" '{"a":[1]}'

# ---- from inside ----

in_guest() { vms -r 0 exec sh -c "'$*'"; }
is "vmop call, for the guest's own" "$(in_guest 'vmop -j call demo:rank')" '{"rank":0,"asked":{}}'
nok "... not for another's" in_guest 'vmop call demo:rank {\"to\":1}'
like "... which is said" "$(said)" 'demo:rank is not for guests, but for their own kernels'
nok "... nor to add any" in_guest 'vmop call kernel.add {\"kernel\":\"x\"}'

# ---- added while the step runs ----

mkdir "$tmp/home/ops"
printf '#!/bin/sh\n# op: who(): by name\nid -u\n' >"$tmp/home/ops/who"
printf '#!/bin/sh\n# user: nobody\nid -u\n' >"$tmp/home/ops/nobody"
echo notes >"$tmp/home/ops/README"
chmod 755 "$tmp/home/ops/"{who,nobody}
vms kernel add mine ops
is "kernel add: status 0" $? 0
diag "$(said)"
is "... scripts of a directory here are ops there" \
	"$(op mine:who | jq -c '[.results[].result]')" '[0,0]'
is "... as the user that they name" "$(op -r 1 mine:nobody | jq '.results["1"].result > 0')" true
vms kernel add mine ops
is "... a second time: status 1" $? 1
like "... it is there" "$(said)" "kernel 'mine' is there already"
vms kernel drop demo
is "kernel drop of the image's: status 1" $? 1
vms -r 1 kernel drop mine
is "... of one that was added: status 0" $? 0
is "... and it is gone there" "$(vms kernel list | grep mine | paste -sd,)" "0: mine (2 ops, added)"

# ---- code ----

is "code.run has value and output" \
	"$(op -r 0 code.run "'{\"code\":\"echo \$1; returnvalue=[\$n]\",\"args\":[\"a\"],\"kwargs\":{\"n\":3}}'" |
		jq -c '.results["0"].result')" '{"return":[3],"out":"a\n","err":""}'
is "... without the interpreter" \
	"$(op -r 0 code.run "'{\"code\":\"1\",\"interp\":\"python3\"}'" | jq '.results["0"].error.code')" 10
vms -r 0 op log.write "'{\"text\":\"a word from outside\"}'" >/dev/null
ok "log.write is in the step's messages" wait_for 30 grep -q 'vm\[0\]@n1: a word from outside' "$tmp/err"
is "an op that goes on ends with who asked for it" \
	"$(vms op --timeout=1 sleep "'{\"seconds\":100}'" 2>&1 | wc -l)" 0
only_command() { [[ $(op -r 0 proc.list | jq '.results["0"].result.procs | length') == 1 ]]; }
ok "... killed" wait_for 30 only_command

# ---- vmstep-penvm(7): each example is called as it stands there ----

ask() # METHOD PARAMS: what task 0's socket answers
{
	echo '{"jsonrpc":"2.0","id":1,"method":"'"$1"'","params":'"$2"'}' |
		mc vm node n1 socat -t30 - \
			"UNIX-CONNECT:$runtime/$(id -u "$test_user")/1.0/task.0.sock" |
		jq -c 'select(.id == 1)'
}
awk '/^\.TP/ { getline; op = $2; getline; print op, $0 }' "$top/doc/vmstep-penvm.7" |
	sed 's/\\(dq/"/g; s/\\-/-/g' >examples
is "PENVM's ops have each their example" "$(cut -d' ' -f1 examples | sort -u | wc -l)" 50
vms -r 0 kernel drop mine
while read -r op method params <&3; do
	# this one would do it
	[[ $method != vm.shutdown ]] || params='{"mode":"?"}'
	echo "$op $(ask "$method" "$params" | jq '.error.code // 0')"
done 3<examples >codes
# no descriptor comes along, there is no Python, no session or op of that name,
# and store-pop has taken the value
is "... and do what they say" "$(grep -v ' 0$' codes | paste -sd,)" \
	"machine-drop-connection 16,machine-drop-session 16,machine-shutdown -32602,session-drop-request 10,session-get-message-state 10,session-terminate-request 10,file-copyto -32602,file-copyfrom -32602,run-python 10,run-python-function 10,store-drop 10"

vms send on
wait $step
is "the step ends with 0" $? 0
clean "nothing stays"
done_testing
