#!/bin/bash
# However a step ends, it ends soon, with the documented status, a message that
# names task, node and cause, and nothing left behind.
. "$(dirname "$0")/vm.sh"

need jq
vm_cluster 2 --conf KillWait=5

# A time limit is a minute at least, and then Slurm looks every half: that step
# has a cluster of its own, and runs beside all others.
cluster_up limit 1 --plugstack "$tmp/plugstack.conf" --conf KillWait=5
limited()
{
	local from=$SECONDS
	(cd "$tmp/home" && as_user limit srun -n1 -t 1 --vm-image=tiny \
		sh -c 'echo started; sleep 300') &>"$tmp/limited"
	echo "ended after $((SECONDS - from)) s" >>"$tmp/limited"
}
limited &
limited=$!

# start ARG...: a step in the background; $job its job, once a guest runs it, or
# $begun of them
start()
{
	rm -f "$tmp/out" "$tmp/err"
	(cd "$tmp/home" && exec "$top/contrib/minicluster" --name "vm-$$" \
		run -u "$test_user" srun -J victim "$@" >"$tmp/out" 2>"$tmp/err") &
	srun_pid=$!
	wait_for 120 running || diag "not running: $(cat "$tmp/err")"
	job=$(vsh "squeue -h -n victim -o %A" | head -1)
}
running() { (($(grep -c started "$tmp/out") >= ${begun-1})); }
ended() { wait "$srun_pid"; srun_status=$?; }
in_seconds()
{
	local name=$1 limit=$2 from=$SECONDS
	ended
	if ((SECONDS - from <= limit)); then pass "$name"; else
		fail "$name" "took $((SECONDS - from)) s: $(cat "$tmp/err")"
	fi
}
says() { like "and says so" "$(cat "$tmp/err")" "$1"; }

# The process of $1 (a program's name) that serves rank 0, on its node.
pid_of() { mc vm node n1 pgrep -o -f "$1" | head -1; }

# ---- signals ----

sleeper='trap "echo got-usr1" USR1; echo started; while :; do sleep 0.2; done'
begun=2 start -N2 -n2 --vm-image=tiny sh -c "$sleeper"
vsh "scancel -s USR1 $job"
ok "scancel -s USR1 reaches the command in the guest" \
	wait_for 60 grep -q got-usr1 "$tmp/out"
vsh "scancel $job"
in_seconds "scancel ends the step in seconds" 45
clean "scancel leaves nothing"

start -n1 --vm-image=tiny sh -c 'trap "echo bye; exit 0" TERM; echo started
	while :; do sleep 0.2; done'
vsh "scancel $job"
in_seconds "a command that heeds SIGTERM ends by itself" 45
ok "and has its last word" grep -q bye "$tmp/out"

# srun wants the second one within a second, else it is a first one again
start -n1 --vm-image=tiny sh -c 'echo started; sleep 1000'
asked() { (($(grep -c 'one more within' "$tmp/err") > before)); }
for _ in {1..9}; do
	before=$(grep -c 'one more within' "$tmp/err")
	kill -INT $srun_pid
	wait_for 20 asked
	kill -INT $srun_pid
	wait_for 3 grep -q 'sending Ctrl-C' "$tmp/err" && break
done
in_seconds "two Ctrl-C end it" 45
clean "two Ctrl-C leave nothing"

# ---- what is killed ----

start -N2 -n2 -K0 --vm-image=tiny sh -c 'echo started; sleep 1000'
mc vm node n1 kill -9 "$(pid_of qemu-system)"
wait_for 60 grep -q 'QEMU was ended' "$tmp/err"
vsh "scancel $job"
ended
says 'vm\[[01]\]@n[12]: error: QEMU was ended by signal 9'
clean "kill -9 of QEMU leaves nothing"

start -n1 --vm-image=tiny sh -c 'echo started; sleep 1000'
mc vm node n1 kill -9 "$(pid_of qemu-system)"
in_seconds "kill -9 of the only QEMU ends the step" 45
is "with status 125" $srun_status 125

start -n1 --vm-image=tiny sh -c 'echo started; sleep 1000'
mc vm node n1 kill -9 "$(pid_of vmstep-helper)"
in_seconds "kill -9 of the helper ends the step" 45
is "Slurm reports the signal" $srun_status 137
says 'vm\[0\]: vmstep-helper was ended by signal 9'
clean "kill -9 of the helper leaves nothing"

parent_of() { mc vm node n1 ps -o ppid= -p "$1" | tr -d ' '; }
no_qemu() { ! ours | grep -q "qemu-system.* $1,"; }
start -N2 -n2 --vm-image=tiny sh -c 'echo started; sleep 300'
mc vm node n1 kill -9 "$(parent_of "$(parent_of "$(pid_of 'qemu-system.* vm0,')")")"
ok "kill -9 of slurmstepd ends its VM, though the command is silent" \
	wait_for 60 no_qemu vm0
vsh "scancel $job"
ended
ok "... and no process is left" wait_for 60 eval '[[ -z $(ours) ]]'
for n in n1 n2; do # as a later step's end does
	mc vm node $n find "$runtime" -mindepth 1 -delete
done
clean "... and nothing else"

# Guests that ping each other while vmstep-net is killed, and after.
pinger='echo started; for i in 1 2 3 4 5 6 7 8; do
	for peer in 0 1 2 3; do ping -q -c 1 -W 1 vm$peer >/dev/null; done
	sleep 1
done
for peer in 0 1 2 3; do ping -q -c 5 -W 5 vm$peer >/dev/null || exit 9; done'
net_of_n1() { mc vm node n1 pgrep -o -f '[v]mstep-net .*--node=n1'; }
other_net()
{
	local now
	now=$(net_of_n1) && [[ $now != "$net" ]]
}
for kind in vhost-user dgram; do
	start -N2 -n4 --vm-image=tiny --vm-net=$kind sh -c "$pinger"
	for i in 1 2 3; do
		net=$(net_of_n1)
		mc vm node n1 kill -9 "$net"
		ok "--vm-net=$kind: a vmstep-net that is killed is started again ($i)" \
			wait_for 30 other_net
	done
	in_seconds "... the guests go on" 180
	is "... and reach each other again: status 0" $srun_status 0
	clean "... and nothing is left"
done

start -N2 -n4 -K1 --vm-image=tiny --vm-net=stream sh -c 'echo started; sleep 1000'
mc vm node n1 kill -9 "$(net_of_n1)"
in_seconds "--vm-net=stream: kill -9 of vmstep-net ends the step" 45
says 'vm\[[01]\]@n1: error: .*vmstep-net.*--vm-net=stream cannot survive'
clean "... and leaves nothing"

# ---- what the guest does ----

vrun -n1 --vm-image=tiny sh -c 'poweroff -f' >/dev/null
is "a guest that powers off by itself: 125" $? 125
says 'vm\[0\]@n1: error: .*powered off before its command ended'
vrun -n1 --vm-image=tiny sh -c 'reboot -f; sleep 9' >/dev/null
is "a guest that reboots before its command ended: 125" $? 125
vrun -n1 --vm-image=tiny --vm-boot-timeout=5 --vm-append=rdinit=/bin/cat true
is "a boot that hangs: 124" $? 124
says 'vm\[0\]@n1: error: boot timeout: waited 5 s'
vrun -n1 --vm-image=tiny --vm-append=rdinit=/nonexistent true
is "a kernel that panics: 125, not the whole time-out" $? 125
says 'vm\[0\]@n1: error: .*reset itself'
says 'console \| .*anic'
is "vmboot waits for the power-off" \
	"$(vrun -n1 --vm-image=tiny --vm-append='rdinit=/bin/busybox -- poweroff -f' \
		--vm-console=stdout vmboot >/dev/null; echo $?)" 0
says 'vm\[0\]@n1: vmboot: each VM runs until it powers off'
has_job() { vsh "squeue -h -n victim -o %A" | grep -q .; }
vms() { vsh "$build/inst/bin/vmstep -j $job $*"; }
boot_one()
{
	begun=0 start -n1 --vm-image=tiny vmboot
	wait_for 60 has_job
	job=$(vsh "squeue -h -n victim -o %A")
	ok "vmboot: a guest is up" wait_for 120 vms wait agent
}
boot_one
vsh "scancel -s TERM $job"
in_seconds "... a signal that would end a process shuts it down" 45
is "... status 143" $srun_status 143

# An agent that hears nothing, and no one at the power button.
boot_one
# shellcheck disable=SC2016  # the guest's
vms exec sh -c "'kill -STOP \$(pidof vmstep-agent)'" 2>/dev/null &
asked=$!
silent() { [[ $(vms --json op vm.state | jq -r '.results["0"].result.agent') == late ]]; }
ok "an agent that is stopped is late" wait_for 60 silent
is "... vm.shutdown has QEMU quit" \
	"$(vms --json op vm.shutdown "'{\"timeout_ms\":6000}'" |
		jq -r '.results["0"].result.how')" forced
in_seconds "... which ends the step" 45
wait $asked
vrun -N2 -n2 --vm-image=tiny sh -c 'exit $((SLURM_PROCID * 3))'
is "srun's status is the highest" $? 3
clean "all of these leave nothing"

# ---- a VM that serves the command of task 0 ----

# It does CMD in vm1 when vm0 calls; the command goes on all the same.
head_loses() # CMD WORDS
{
	start -N2 -n2 -K0 --vm-run=head --vm-image=tiny --vm-append="rdinit=/bin/busybox -- sh -c \"mount -t devtmpfs dev /dev; { nc -l -p 777; test %t -eq 0 || $1; } & exec /init\"" \
		sh -c 'trap "echo got-usr1; exit 0" USR1; echo started
		echo | nc vm1 777; while :; do sleep 0.2; done'
	[[ $1 != true ]] || mc vm node n1 kill -9 "$(pid_of 'qemu-system.* vm1,')"
	ok "--vm-run=head: a serving VM is lost ($1)" \
		wait_for 60 grep -Eq "vm\[1\]@n2: error: $2" "$tmp/err"
	vsh "scancel -s USR1 $job"
	in_seconds "... the command goes on until it ends" 45
	ok "... by itself" grep -q got-usr1 "$tmp/out"
	is "... and the lost task has 125" $srun_status 125
}
head_loses true 'QEMU was ended by signal 9'
head_loses 'poweroff -f' 'the guest powered off before the command of task 0 ended'
head_loses 'reboot -f' 'the guest reset itself before the command of task 0 ended'
# as a kernel does that resets its devices, and has more to do
head_loses 'cd /sys/bus/virtio/drivers/virtio_console; for d in virtio*; do echo $d >unbind; done; sleep 3; reboot -f' \
	'the guest reset itself before the command of task 0 ended'
clean "all of these leave nothing"

# ---- time limit ----

wait "$limited"
out=$(cat "$tmp/limited")
like "a step with a time limit has begun" "$out" started
like "... it is ended, which is said" "$out" 'TIME LIMIT'
seconds=${out##*ended after } seconds=${seconds% s}
ok "... within 125 s: $seconds" test "$seconds" -le 125
clean "... and leaves nothing" limit

done_testing
