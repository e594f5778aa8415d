#!/bin/bash
# contrib/minicluster: the ground that the other system tests stand on
# shellcheck disable=SC2016 # what other shells shall expand

# shellcheck source=tests/lib.sh
. "$(dirname "$0")/lib.sh"
need_cluster

# ---- bad arguments: exit 2, and a message that names what is wrong ----

refuses()
{
	local want=$1 out
	shift
	out=$("$top/contrib/minicluster" "$@" 2>&1)
	is "'minicluster $*' is refused" $? 2
	like "... and says why" "$out" "$want"
}

refuses "'bogus': no such command" bogus
refuses "'Bad': use 1 to 32" --name Bad status
refuses "how many nodes" up
refuses "'0': want a number" up 0
refuses "'--fast': no such option" up 2 --fast
refuses "'x': want a number" up 2 --cpus x
refuses "--mem: wants a value" up 2 --mem
refuses "'/nonexistent': no such file" up 2 --plugstack /nonexistent
refuses "'KillWait': want KEY=VALUE" up 2 --conf KillWait
refuses "'openmpi': want pmix or none" up 2 --mpi openmpi
refuses "which command" run
refuses "'no-such-user': no such user" run -u no-such-user true
like "--help explains itself" "$("$top/contrib/minicluster" --help)" "^Usage: minicluster"

mc a run true 2>/dev/null
is "running in a cluster that is not up exits 125" $? 125
mc a status >/dev/null
is "its status is 1" $? 1
ok "bringing it down is fine" mc a down

# ---- one cluster ----

echo "# nothing" >"$tmp/plugstack.conf"
cluster_up a 2 --conf killwait=7 --plugstack "$tmp/plugstack.conf"
like "a second one of that name is refused" "$(mc a up 2 2>&1)" "is up, or"
like "status shows the daemons" "$(mc a status)" "n2 .*munged ok slurmd ok"
like "--conf replaces a line, whatever its case" \
	"$(mc a run scontrol show config)" "KillWait += 7 sec"
is "... and leaves one such line" "$(mc a run sh -c 'grep -ic killwait "$SLURM_CONF"')" 1
like "--plugstack is in place" "$(mc a run scontrol show config)" \
	"PlugStackConfig += $tmp/plugstack.conf"

is "srun -N2 runs on both, as an ordinary user" \
	"$(as_user a srun -N2 sh -c 'echo $(hostname) $(id -un)' | sort | xargs)" \
	"n1 $test_user n2 $test_user"
is "a node takes as many tasks as it claims CPUs" \
	"$(as_user a srun -N1 -n4 hostname | xargs)" "n1 n1 n1 n1"
is "PMIx is there" \
	"$(as_user a srun -N2 -n4 --mpi=pmix printenv PMIX_RANK | sort | xargs)" "0 1 2 3"
is "... also without --mpi" "$(as_user a srun printenv PMIX_RANK)" 0

# ---- what `run` passes through ----

mc a run sh -c 'exit 7'
is "exit status" $? 7
as_user a srun sh -c 'exit 7' 2>/dev/null
is "exit status of srun" $? 7
mc a run sh -c 'kill -TERM $$'
is "death by a signal" $? 143
mc a run /nonexistent 2>/dev/null
is "a command that is not there" $? 127
is "stdin" "$(echo hello | mc a run cat)" hello
is "the directory" "$(mc a run pwd)" "$tmp"
is "the environment" "$(KEEP='a  b' mc a run printenv KEEP)" "a  b"
is "... with the user's own home" "$(as_user a sh -c 'echo "$USER $HOME"')" \
	"$test_user $(getent passwd "$test_user" | cut -d: -f6)"
like "the terminal" "$(script -qec "$top/contrib/minicluster --name a-$$ run tty" /dev/null)" \
	"^/dev/pts/"
is "no capability with -u" \
	"$(as_user a sh -c 'grep -E "Cap(Inh|Prm|Eff|Amb)" /proc/self/status' | sort -uk2 | wc -l)" 1

# not a shell: bash can miss a signal that comes while it starts a command
catch='$| = 1; for my $s (qw(HUP INT QUIT TERM USR1 USR2)) { $SIG{$s} = sub { print "$s\n" } }
	print "ready\n"; sleep 1000 while 1'
bg mc a run perl -e "$catch" >"$tmp/caught"; pid=$!
wait_for 60 grep -q ready "$tmp/caught"
for s in HUP INT QUIT TERM USR1 USR2; do
	kill -$s $pid
	wait_for 60 grep -q $s "$tmp/caught"
done
is "each signal, once, also to a background job" "$(xargs <"$tmp/caught")" \
	"ready HUP INT QUIT TERM USR1 USR2"
kill -KILL $pid
wait $pid 2>/dev/null
is "being killed ends it" $? 137
ok "... and what it ran" wait_for 60 tap_not pgrep -f "slee[p] 1000 while 1"

steps() { as_user a squeue -h -s; }
running() { [[ -n $(steps) ]]; }
idle() { [[ -z $(as_user a squeue -h) ]]; }

# srun heeds signals when its tasks run; that the step is there is too early
bg as_user a srun -N2 sh -c 'echo up; exec sleep 100' >"$tmp/up" 2>"$tmp/srun"; pid=$!
both_up() { (($(grep -c up "$tmp/up") == 2)); }
wait_for 60 both_up
kill -INT $pid
wait_for 60 grep -q "one more within 1 sec" "$tmp/srun"
nok "one INT to srun is one, it goes on" wait_for 1 tap_not kill -0 $pid
like "... and counts once" "$(grep -c "one more" "$tmp/srun")" '^1$'
kill -TERM $pid
wait $pid 2>/dev/null
like "TERM ends it, with srun's status" $? "^1(37|43)\$"
ok "... and the job" wait_for 60 idle

bg as_user a srun sleep 100 2>/dev/null; pid=$!
wait_for 60 running
measured() { as_user a sstat -n -a -o MaxRSS -j "$(steps | awk '{ print $1 }')" | grep -q '[0-9]K'; }
ok "sstat works" wait_for 60 measured
kill -KILL $pid
wait $pid 2>/dev/null
ok "a job ends when its \`run srun\` is killed" wait_for 60 idle

# ---- nodes ----

is "node runs a command there" "$(mc a node n2 hostname)" n2
is "... as root" "$(mc a node n2 id -u)" 0
is "it has its own network" "$(mc a node n2 ls /sys/class/net | xargs)" "eth0 lo"
ok "it reaches the others by name" mc a node n2 bash -c ': </dev/tcp/ctl/6817'
nok "it does not reach the machine's world" mc a node n2 ip route get 1.1.1.1
like "an unknown one is refused" "$(mc a node n9 true 2>&1)" "'n9': this cluster has ctl and n1 to n2"
mc a node n2 sh -c 'kill -9 "$(cat "${SLURM_CONF%/*}/pid/slurmd.n2")"'
ok "status tells of a dead daemon" wait_for 60 eval 'mc a status | grep "slurmd DEAD"'
mc a status >/dev/null
is "... by its exit status too" $? 1
mc a node n2 slurmd -N n2
ok "and of one started again" wait_for 60 mc a status

# ---- inside all begins while the machine is slow outside ----

mkdir "$tmp/slow"
cat >"$tmp/slow/readlink" <<'EOF'
#!/bin/bash
for ((i = 0; i < 600; i++)); do
	[[ ! -e $SLOW_UNTIL ]] || break
	sleep 0.1
done
exec /usr/bin/readlink "$@"
EOF
chmod +x "$tmp/slow/readlink"
at_exit mc d down
like "a cluster whose slurmctld is there before up looks comes up" \
	"$(PATH=$tmp/slow:$PATH SLOW_UNTIL=/run/minicluster.d-$$/begun mc d up 1 2>&1)" "is up"
ok "... and down again" mc d down

# ---- two side by side, the second with cgroups ----

out=$(mc b up 1 --cgroup --cpus real --mem 1024 2>&1)
at_exit mc b down
if [[ $out == *"no memory controller"* ]]; then
	skip "a cluster with cgroups" "there is no memory controller"
else
	like "a second cluster comes up beside it, with cgroups" "$out" "is up"
	at_exit mc c down
	ok "a third as well" mc c up 2 --cgroup
	is "the second has its own node" "$(as_user b srun hostname)" n1
	is "the first still has both" "$(as_user a srun -N2 hostname | sort | xargs)" "n1 n2"
	eat='$x = "x" x 200e6; print "survived"'
	is "a step within its memory lives" \
		"$(as_user b srun --mem=600M perl -e "$eat")" survived
	like "one beyond is killed" \
		"$(as_user b srun --mem=100M perl -e "$eat" 2>&1)" "Out Of Memory"
	like "... in the third too" \
		"$(as_user c srun --mem=100M perl -e "$eat" 2>&1)" "Out Of Memory"
	bg as_user b srun sleep 100 2>/dev/null; pid=$!
	ok "its steps are in its own cgroups" wait_for 60 eval \
		'find /sys/fs/cgroup -path "*/minicluster.b-$$/*/step_0" | grep .'
	kill -TERM $pid
	is "with --cpus real a task is held on one CPU" \
		"$(as_user b srun -c1 nproc)" 1
	ok "the second goes" mc b down
	ok "the third goes" mc c down
	is "their cgroups are gone" "$(find /sys/fs/cgroup -name "minicluster.[bc]-$$")" ""
	is "the first is unharmed" "$(as_user a srun -N2 hostname | sort | xargs)" "n1 n2"
fi

# ---- the end ----

bg mc a run sleep "1000.$$"; pid=$!
wait_for 60 pgrep -f "^sleep 1000\.$$"
ok "down succeeds" mc a down
wait $pid 2>/dev/null
is "... and ends what was run" $? 137
ok "once more is fine" mc a down

out=$(mc a up 1 --conf SelectType=select/nonsense 2>&1)
is "an up that fails exits 1" $? 1
like "... with the log of what failed" "$out" "fatal: Can't find plugin for select/nonsense"
nok "... and leaves no state" test -e "/run/minicluster.a-$$"

# A machine of its own: what others do here meanwhile must not be counted
seen()
{
	# but this pipe, whose end may not be sed yet
	ps -eo args= | sed '/^ps /d; /^sed /d; /leaves_nothing/d'
	cut -d' ' -f5- /proc/self/mountinfo
	find /run
	ip -o link | cut -d: -f2
	lsns -no NS,TYPE | sort
}

leaves_nothing()
{
	local before after
	mount -t tmpfs tmpfs /run
	before=$(seen)
	mc z up 3 || return 1
	as_user z srun -N3 sleep "1000.$$" 2>/dev/null &
	wait_for 60 pgrep -f "^/.*sleep 1000\.$$" || echo "srun did not begin"
	mc z down || return 1
	wait
	after=$(seen)
	diff <(echo "$before") <(echo "$after")
}
export -f leaves_nothing seen mc as_user wait_for
export top test_user
ok "no process, mount, file, interface, namespace is left" \
	unshare --mount --net --pid --fork --mount-proc bash -c 'leaves_nothing; exit $?'

# Whoever reads our output to its end must not wait for the daemons
ok "no pipe of the caller is held" timeout 120 bash -c \
	'mc z up 1 7>&1 | cat >/dev/null; mc z down'

done_testing
