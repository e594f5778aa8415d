#!/bin/bash
# Status, leftovers, memory and CPUs again where Slurm enforces them by cgroup,
# and the memory limit is the step's.
. "$(dirname "$0")/vm.sh"
bind=cores

vm_cluster 2 --cgroup --cpus real

status() { vrun -n1 --mem=512M --vm-image=tiny "$@" >/dev/null; echo $?; }
is "exit 7 is status 7" "$(status sh -c 'exit 7')" 7
is "death by SIGSEGV is 139" "$(status sh -c 'kill -SEGV $$')" 139
is "an unknown command is 127" "$(status no-such-command)" 127
is "two nodes, two guests" \
	"$(vrun -N2 -n2 --mem=512M --vm-image=tiny hostname | sort | tr '\n' ' ')" "vm0 vm1 "
clean "nothing stays"

kib=$(vrun -n1 --mem=700M --vm-image=tiny \
	awk '/^MemTotal/ { print $2 }' /proc/meminfo)
if ((kib > 400 * 1024 && kib < 540 * 1024)); then
	pass "the guest's memory is the step's less the reserve of 160M"
else
	fail "the guest's memory is the step's less the reserve of 160M" \
		"MemTotal $kib kB of 700M"
fi
vrun -n1 --mem=700M --vm-image=tiny sh -c '
	dd if=/dev/zero of=/dev/shm/x bs=1M count=400 2>/dev/null; echo used' >"$tmp/out"
is "a guest that uses its memory survives" "$?$(cat "$tmp/out")" "0used"
vrun -n1 --mem=700M --vm-image=tiny --vm-mem=9T true
is "--vm-mem beyond the step's: status 125" $? 125
like "... and says how much there is" "$(cat "$tmp/err")" \
	'--vm-mem=9T: the task has 700M on n[12], .*ask for 540M or less'
vrun -n1 --mem=100M --vm-image=tiny true
is "a step too small for any VM: status 125" $? 125
like "... and says so" "$(cat "$tmp/err")" 'the task has 100M of memory on n[12], too little'

(cd "$tmp/home" && exec "$top/contrib/minicluster" --name "vm-$$" run \
	-u "$test_user" srun -J pins -n1 -c2 --mem=512M --vm-image=tiny \
	sh -c 'echo started; sleep 100' >"$tmp/out" 2>"$tmp/err") &
wait_for 120 grep -q started "$tmp/out"
list=$(mc vm node n1 bash -c '
	for t in /proc/$(pgrep -o -f "^[^ ]*qemu-system")/task/*; do
		if grep -q "^CPU [0-9]" "$t/comm"; then
			sed -n "s/^Cpus_allowed_list:\t//p" "$t/status"
		fi
	done' | sort | tr '\n' ' ')
is "-c2: each virtual CPU has a CPU of its own" "$list" "0 1 "
helper=$(mc vm node n1 pgrep -o -f vmstep-helper)
mc vm node n1 kill -9 "$helper"
wait
clean "kill -9 of the helper leaves nothing"

(cd "$tmp/home" && exec "$top/contrib/minicluster" --name "vm-$$" run \
	-u "$test_user" srun -J victim -N2 -n2 --mem=512M --vm-image=tiny \
	sh -c 'echo started; sleep 100' >"$tmp/out" 2>"$tmp/err") &
both() { [[ $(grep -c started "$tmp/out") == 2 ]]; }
wait_for 120 both
vsh "scancel -n victim"
wait
clean "scancel leaves nothing"
done_testing
