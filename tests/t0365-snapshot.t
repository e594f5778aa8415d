#!/bin/bash
# A VM goes back to a snapshot, in memory and on its disk, while its command and
# its neighbour go on.
. "$(dirname "$0")/vm.sh"

need jq
vm_cluster 2
vms() { vsh "$build/inst/bin/vmstep -j $job $*" 2>"$tmp/vms.err"; }
say() { diag "$(cat "$tmp/vms.err" "$tmp/err")"; }

job=1.0
bg vrun -N2 -n2 --vm-image=tiny --vm-mem=160M --vm-scratch=0:32M --vm-linger=all sh -c '
	echo up
	until [ -e /tmp/go ]; do
		echo tick $((i += 1))
		echo $i >/tmp/n.new && mv /tmp/n.new /tmp/n
		sleep 0.1
	done
	echo last
	exit 3' >"$tmp/out"
step=$!
both_up() { (($(grep -c up "$tmp/out") == 2)); }
ok "two guests" wait_for 120 both_up
vms -r 0 exec sh -c "'echo one >/scratch/data; sync; touch /tmp/before'"

vms -r 0 snapshot save first --desc=beginning
is "snapshot save: status 0" $? 0 || say
like "... it is in the list" "$(vms -r 0 snapshot list)" \
	"^0: first  20[0-9][0-9]-.*  [0-9]+M  beginning\$"
vms -r 0 exec sh -c "'echo two >/scratch/data; sync; rm /tmp/before; touch /tmp/after; cat /tmp/n'" >"$tmp/n"
vms -r 0 snapshot save second
is "... another" "$(vms --json -r 0 snapshot list | jq -c '[.results["0"].result.snapshots[].name]')" \
	'["first","second"]'

bg vms -r 0 exec sleep 1000
asleep=$!
ok "a process of the guest that nobody has started by then" \
	wait_for 60 vms -r 0 exec sh -c "'pidof sleep | grep -q \" \"'"
vms -r 0 snapshot load first
is "snapshot load: status 0" $? 0 || say
wait $asleep
is "... what ran in it is lost" $? 125
vms -r 0 wait init
is "... its agent comes back" $? 0 || say
is "... memory and disk are as they were" \
	"$(vms -r 0 exec sh -c "'cat /scratch/data; ls /tmp/before /tmp/after 2>/dev/null'" | paste -sd,)" \
	one,/tmp/before
now=$(vms -r 0 exec cat /tmp/n)
more() { (($(vms -r 0 exec cat /tmp/n) > now)); }
ok "... its command goes on" wait_for 60 more
ok "... its clock is right" wait_for 60 clocks_right
vms exec ping -c1 -W30 vm0 >/dev/null
is "... the network, too" $? 0 || say

vms -r 0 snapshot load second
is "forward again: status 0" $? 0 || say
vms -r 0 wait init
is "... memory and disk are as they were then" \
	"$(vms -r 0 exec sh -c "'cat /scratch/data; ls /tmp/before /tmp/after 2>/dev/null'" | paste -sd,)" \
	two,/tmp/after

vms -r 0 snapshot save second
is "a name that is taken: status 1" $? 1
like "... with words" "$(<"$tmp/vms.err")" "there is a snapshot second: delete it"
vms -r 0 snapshot save a/b
like "a name that is none" "$(<"$tmp/vms.err")" "'a/b' is none: it has 1 to 64"
vms -r 0 snapshot delete second
is "snapshot delete: status 0" $? 0 || say
vms -r 0 snapshot load second
like "... it is gone" "$(<"$tmp/vms.err")" "no snapshot second of this step"
vms -r 0 snapshot delete second
like "... so it cannot be deleted again" "$(<"$tmp/vms.err")" "no snapshot second of this step"
vms -r 0 snapshot save third --desc="$(printf '%01001d' 0)"
like "a description that is too long" "$(<"$tmp/vms.err")" "desc: more than 1000 bytes"
vms -r 1 snapshot save first
is "a VM without a disk: status 1" $? 1
like "... with words" "$(<"$tmp/vms.err")" "no qcow2 disk to keep a snapshot in.*--vm-scratch"
vms -r 0 pause
vms -r 0 snapshot load first
like "a paused VM is not loaded" "$(<"$tmp/vms.err")" "paused: have it go on first"
vms -r 0 resume
vsh "$build/inst/bin/vmstep -j 1.0 snapshot load" 2>"$tmp/vms.err"
is "no name: status 2" $? 2

vms exec touch /tmp/go
wait $step
is "the step ends with its command's status" $? 3 || say
is "... with both commands' last words" "$(grep -c last "$tmp/out")" 2
clean "nothing stays"

job=2.0
bg vrun -n1 --vm-image=tiny --vm-mem=160M --vm-scratch=32M vmboot
step=$!
ok "a VM without a command" wait_for 120 vms wait init
vms snapshot save x
vms exec touch /tmp/after
vms snapshot load x
is "... goes back, too" $? 0 || say
vms wait init
is "... and is what it was" "$(vms exec ls /tmp/after >/dev/null; echo $?)" 1
vms exec touch /tmp/mark
vms reset
vms wait
is "... it can be reset" $? 0 || say
is "... and begins anew" "$(vms exec ls /tmp/mark >/dev/null; echo $?)" 1
vms shutdown
wait $step
is "... and ends well" $? 0 || say
clean "nothing stays"
done_testing
