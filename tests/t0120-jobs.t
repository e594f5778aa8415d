#!/bin/bash
# VM steps in all of Slurm's kinds of jobs.
. "$(dirname "$0")/vm.sh"

vm_cluster 2 --cpus 8

script()
{
	printf '%s\n' '#!/bin/bash' "$@" >"$tmp/home/job.sh"
}
# Run the script as a job and wait for it; its output is in $tmp/home/out. Not by
# sbatch -W, which looks after 2, 10 and 42 s.
batch()
{
	local job
	job=$(vsh "rm -f out; sbatch --parsable -o out $* job.sh")
	wait_for 300 over "$job" || diag "job $job goes on"
}
over() { [[ -z $(vsh "squeue -h -j $1") ]]; }
output() { cat "$tmp/home/out" 2>/dev/null; }

script '#SBATCH -N2 -n2 --vm-image=tiny' 'echo script on $(hostname)' \
	'srun hostname | sort' 'echo plain $(srun --vm-image=none -N1 -n1 hostname)'
batch
like "the batch script runs on the node" "$(output)" "script on n1"
like "each srun in it in VMs" "$(output | tr '\n' ' ')" "vm0 vm1"
like "--vm-image=none switches them off" "$(output)" "plain n1"

cp -r --reflink=auto "$tiny" "$tmp/home/other.vm"
sed -i 's/^append = /&vmstep.other=1 /' "$tmp/home/other.vm/vm.conf"
script '#SBATCH -n1 --vm-image=tiny' \
	'srun --vm-image=./other.vm grep -c vmstep.other /proc/cmdline' \
	'srun grep -c vmstep.other /proc/cmdline'
batch
is "another --vm-image replaces the inherited one, there only" \
	"$(output | grep -x '[01]' | tr '\n' ' ')" "1 0 "
batch --vm-image=./other.vm
is "sbatch's own --vm-image replaces that of the script" \
	"$(output | grep -x '[01]' | tr '\n' ' ')" "1 1 "

script '#SBATCH -N1 -n2 --vm-image=tiny' \
	'srun -n1 --overlap sh -c "hostname; sleep 3" & srun -n1 --overlap sh -c "hostname; sleep 3"' \
	'wait; echo both $?'
batch
is "two VM steps of one job at once" "$(output | grep -c '^vm0$')" 2

is "salloc" "$(vsh 'salloc -Q -N2 -n2 --vm-image=tiny srun hostname 2>/dev/null' |
	sort | tr '\n' ' ')" "vm0 vm1 "

script '#SBATCH -n1 --array=1-2 --vm-image=tiny' 'srun sh -c "echo \$(hostname)"'
batch -o out-%a
is "an array" "$(cat "$tmp/home"/out-[12] | grep -c vm0)" 2

# As vrun. The srun of Slurm 22.05 can end no heterogeneous step with PMIx for
# sure: each component has it wait for the thread of its PMIx plugin that sends
# aborts, the second one perhaps for ever (pmixp_abort_agent_stop(), under the
# lock that signals need, too). By then all has been said.
het()
{
	(cd "$tmp/home" && as_user vm timeout -s KILL 150 srun "$@" 2>"$tmp/err")
	(($? != 137)) || { diag "srun has hung" >&2; vsh 'scancel -u "$USER"'; }
}

out=$(het -N1 -n1 --vm-image=tiny sh -c 'echo $(hostname)/$SLURM_NPROCS' : \
	-N1 -n2 --vm-image=tiny sh -c 'echo $(hostname)/$SLURM_NPROCS' | sort | tr '\n' ' ')
is "a heterogeneous step is one set of VMs" "$out" "vm0/3 vm1/3 vm2/3 "
diag "$(cat "$tmp/err")"
out=$(het -N1 -n1 --vm-image=tiny hostname : -N1 -n1 hostname)
like "VMs in one component only are refused by name" "$(cat "$tmp/err")" \
	"vm\[0\]@n[12]: error: .*some of its components only"
like "... and the other component runs" "$out" "^n[12]$"

script '#SBATCH -n1 --requeue --open-mode=append --vm-image=tiny' \
	'echo start $SLURM_RESTART_COUNT' 'srun --vm-verbose hostname'
job=$(vsh 'rm -f out; sbatch --parsable -o out job.sh') # others may be completing
wait_for 60 grep -q booting "$tmp/home/out"
vsh "scontrol requeue $job"
requeued() { vsh "scontrol show job $job" | grep -q 'JobState=PENDING'; }
wait_for 60 requeued
# Slurm has it wait for two minutes. A job that starts in the second in which it was
# killed fails ("Job credential revoked").
vsh "scontrol update jobid=$job StartTime=now+3" 2>/dev/null
again() { output | grep -qx vm0; }
wait_for 400 again ||
	diag "$(grep -E "=$job( |$)|n1" "/run/minicluster.vm-$$/log/slurmctld.ctl" | tail -n 40)" >&2
like "a job requeued in mid-boot runs again" "$(output | tr '\n' ' ')" "start 1 .*vm0"

clean "nothing stays after all kinds"

# ---- accounting ----

(vrun -n1 -J fat --vm-image=tiny --vm-mem=256M sh -c '
	dd if=/dev/zero of=/dev/shm/x bs=1M count=100 2>/dev/null; echo full; sleep 1000' \
	>"$tmp/out") &
step=
wait_for 120 grep -q full "$tmp/out"
step=$(vsh "squeue -h -s -n fat -o %i" | head -1)
rss() { vsh "sstat -n -P -o MaxRSS -j $step" | sed -n '1s/K$//p'; }
counted() { local k; k=$(rss); ((k > 100000 && k < 700000)); }
ok "sstat shows the VM's memory, once" wait_for 60 counted
diag "MaxRSS $(rss) K"
vsh "scancel -n fat"
wait

done_testing
