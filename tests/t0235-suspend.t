#!/bin/bash
# A job is suspended and goes on: guests are paused meanwhile, and notice by
# their clock only, which is set right.
. "$(dirname "$0")/vm.sh"

need jq
vm_cluster 2
conf "beacon_interval = 1"
vms() { vsh "$build/inst/bin/vmstep -j 1.0 $*" 2>"$tmp/vms.err"; }
scontrol() { mc vm node ctl scontrol "$@"; }
# The states of our processes on a node, each once: "S", "T".
states()
{
	mc vm node "$1" ps -eo stat=,args= | grep -E 'qemu-system|libexec/vmstep/vmstep-' |
		grep -v grep | cut -c1 | sed "s/[RD]/S/" | sort -u | paste -sd,
}
all_are() { [[ $(states n1) == "$1" && $(states n2) == "$1" ]]; }

script=$(cat <<'END'
[ $SLURM_PROCID = 0 ] || exec vmop -t 600 barrier over
i=0
echo up
until [ -e /tmp/over ]; do
	i=$((i + 1))
	echo $i >/tmp/count.new && mv /tmp/count.new /tmp/count # never empty
	sleep 0.1
done
exec vmop -t 600 barrier over
END
)
bg vrun -N2 -n2 --vm-image=tiny --vm-verbose sh -c "$script" >out
step=$!
ok "a step of two guests on two nodes, of which one counts" wait_for 240 grep -q up out
diag "$(cat "$tmp/err")"
count() { vms -r 0 exec cat /tmp/count; }
counts() { local n; n=$(count) && ((n > ${1-0})); }
ok "... and they reach each other" vms -r 0 exec ping -c1 -w30 vm1
ok "... and it counts" wait_for 20 counts

scontrol suspend 1
is "scontrol suspend: status 0" $? 0
ok "... all of the step's processes stop" wait_for 60 all_are T
stopped=$SECONDS
both_say() { (($(grep -c "$1" "$tmp/err") == 2)); }
ok "... when both VMs were paused" wait_for 20 both_say 'the VM is paused'
longer() { ((SECONDS - stopped > 8)); } # than an agent may be silent
wait_for 20 longer
scontrol resume 1
is "scontrol resume: status 0" $? 0
ok "... they go on" wait_for 60 all_are S
ok "... and so do both VMs" wait_for 60 both_say 'the VM goes on'

ok "the guests' clocks are right" wait_for 60 clocks_right
now=$(count)
ok "the command goes on where it was" wait_for 20 counts "$now"
ok "the guests reach each other" vms -r 1 exec ping -c1 -w30 vm0
is "nothing was taken for lost" "$(grep -cE 'lost|unreachable|error' "$tmp/err")" 0
is "... and both agents live" "$(vms --json op vm.state |
	jq -c '[.results[].result | [.state, .agent]] | unique')" '[["running","alive"]]'
ok "its end is said" vms -r 0 exec touch /tmp/over
wait $step
is "the step ends with 0" $? 0
diag "$(cat "$tmp/err")"

# ---- by signals to the step ----

bg vrun -N1 -n1 --vm-image=tiny --vm-verbose sh -c 'trap "echo hup; exit 5" HUP; echo up; while :; do sleep 0.1; done' >out
step=$!
ok "a step of one guest" wait_for 120 grep -q up out
vms() { vsh "$build/inst/bin/vmstep -j 2.0 $*" 2>"$tmp/vms.err"; }
is "... its clock is put wrong" \
	"$(vms op sys.time.set "'{\"ns\":1000000000000000000}'" >/dev/null; vms exec date +%Y)" 2001
vsh "scancel --signal=CONT 2.0"
ok "SIGCONT sets it right" wait_for 60 clocks_right
vsh "scancel --signal=TSTP 2.0"
paused() { [[ $(vms --json op vm.state | jq -r '.results["0"].result.state') == "$1" ]]; }
ok "SIGTSTP pauses it" wait_for 60 paused paused
vsh "scancel --signal=CONT 2.0"
ok "... and SIGCONT lets it go on" wait_for 60 paused running
vsh "scancel --signal=TSTP 2.0"
ok "paused again" wait_for 60 paused paused
vsh "scancel --signal=HUP 2.0"
wait $step
is "a signal that ends a process gets through" $? 5
clean "nothing stays"
done_testing
