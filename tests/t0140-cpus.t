#!/bin/bash
# Virtual CPUs run where Slurm put the task, each on a CPU of its own, and so do
# the network's workers, or on the CPUs that are kept.
. "$(dirname "$0")/vm.sh"
bind=cores

ncpus=$(nproc)
((ncpus >= 2)) || skip_all "this machine has one CPU"
vm_cluster 2 --cpus real

# "TASK-MASK VCPU-MASK..." of each running VM: the helper's mask is the task's,
# and QEMU names its virtual CPUs' threads "CPU 0/TCG".
vcpus()
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
masks() { vcpus; }
# with ARG...: masks while a step of these arguments runs
with()
{
	rm -f "$tmp/out"
	(cd "$tmp/home" && exec "$top/contrib/minicluster" --name "vm-$$" run \
		-u "$test_user" srun -J pins "$@" --vm-image=tiny \
		sh -c 'echo started; sleep 100' >"$tmp/out" 2>"$tmp/err") &
	wait_for 240 all_started "$(grep -c . <<<"$*")"
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

# "THREAD MASK" of each thread of each vmstep-net, its main one named so.
workers()
{
	mc vm node n1 bash -c '
		for pid in $(pgrep -x vmstep-net); do
			for t in /proc/$pid/task/*; do
				echo "$(cat "$t/comm")" \
					"$(sed -n "s/^Cpus_allowed_list:\t//p" "$t/status")"
			done
		done' | sort
}
# The masks of QEMU's threads that are no virtual CPUs, each once.
io_threads()
{
	mc vm node n1 bash -c '
		for pid in $(pgrep -f "^[^ ]*qemu-system"); do
			for t in /proc/$pid/task/*; do
				grep -q "^CPU [0-9]" "$t/comm" ||
					sed -n "s/^Cpus_allowed_list:\t//p" "$t/status"
			done
		done' | sort -u
}
masks() { vcpus; workers >"$tmp/workers"; io_threads >"$tmp/io"; }

conf "net_workers = 2"
tasks=4
is "two workers, two nodes, two tasks on each: virtual CPUs as before" \
	"$(with -N2 -n4 -c1 | tr '\n' ';')" "0 0;0 0;1 1;1 1;"
is "... and both workers run on all CPUs of the job" \
	"$(tr '\n' ';' <"$tmp/workers")" \
	"vmstep-net 0-1;vmstep-net 0-1;worker 1 0-1;worker 1 0-1;"
tasks=2
is "--vm-io-cpus=1: the VM has the other one" \
	"$(with -N2 -n2 -c2 --vm-io-cpus=1 | tr '\n' ';')" "0-1 0;0-1 0;"
is "... which the workers have" "$(tr '\n' ';' <"$tmp/workers")" \
	"vmstep-net 1;vmstep-net 1;worker 1 1;worker 1 1;"
is "... and QEMU's other threads" "$(cat "$tmp/io")" 1
vrun -N2 -n4 --vm-image=tiny sh -c 'for r in 0 1 2 3; do
	ping -c 1 -W 30 vm$r >/dev/null || exit 1
done; echo reached' >"$tmp/out"
is "... and everybody reaches everybody" "$(grep -c reached "$tmp/out")" 4
vrun -n1 -c2 --vm-io-cpus=2 --vm-image=tiny hostname >"$tmp/out"
is "--vm-io-cpus=2 of two: status 125" $? 125
like "... says why" "$(cat "$tmp/err")" \
	'--vm-io-cpus=2: the task has 2 CPUs, and its VM needs one of its own'
clean "nothing stays"
done_testing
