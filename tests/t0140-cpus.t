#!/bin/bash
# Virtual CPUs run where Slurm put the task, each on a CPU of its own.
. "$(dirname "$0")/vm.sh"

ncpus=$(nproc)
((ncpus >= 2)) || skip_all "this machine has one CPU"
vm_cluster 1 --cpus real

# "TASK-MASK VCPU-MASK..." of each running VM: the helper's mask is the task's,
# and QEMU names its virtual CPUs' threads "CPU 0/TCG".
masks()
{
	mc vm node n1 bash -c '
		for pid in $(pgrep -f "^[^ ]*qemu-system"); do
			helper=$(ps -o ppid= -p "$pid" | tr -d " ")
			list=$(sed -n "s/^Cpus_allowed_list:\t//p" "/proc/$helper/status")
			for t in /proc/$pid/task/*; do
				if grep -q "^CPU [0-9]" "$t/comm"; then
					list+=" $(sed -n "s/^Cpus_allowed_list:\t//p" "$t/status")"
				fi
			done
			echo "$list"
		done'
}
# with ARG...: masks while a step of these arguments runs
with()
{
	rm -f "$tmp/out"
	(cd "$tmp/home" && exec "$top/contrib/minicluster" --name "vm-$$" run \
		-u "$test_user" srun -J pins "$@" --vm-image=tiny \
		sh -c 'echo started; sleep 100' >"$tmp/out" 2>"$tmp/err") &
	wait_for 60 all_started "$(grep -c . <<<"$*")"
	masks | sort
	vsh "scancel -n pins"
	wait
}
all_started() { [[ $(grep -c started "$tmp/out") == "$tasks" ]]; }

tasks=2
is "-n2 -c1: each virtual CPU is on its task's own CPU" \
	"$(with -n2 -c1 | tr '\n' ';')" "0 0;1 1;"
tasks=1
is "-n1 -c2: two virtual CPUs, two CPUs" "$(with -n1 -c2)" "0-1 0 1"
is "--vm-bind=none: the whole mask" "$(with -n1 -c2 --vm-bind=none)" "0-1 0-1 0-1"
clean "nothing stays"
done_testing
