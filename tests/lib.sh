# tests/lib.sh - what the system tests (t*.t) share. Source it first:
#
#	. "$(dirname "$0")/lib.sh"
#
# A test prints TAP: run it with `prove -v tests/t0010-minicluster.t`. Checks
# take their name first, one sentence each:
#
#	ok   NAME CMD...         CMD succeeds; if not, what it said is shown
#	nok  NAME CMD...         CMD fails
#	is   NAME GOT WANT       the two strings are equal
#	like NAME GOT REGEX      GOT matches the extended regular expression
#	skip NAME REASON         this one cannot be checked here
#	skip_all REASON          nothing can: ends the test
#	done_testing             last line of every test; exit status 1 if any failed
#
# With MUST_WORK=1, as in CI, skip is a failure and skip_all ends the whole run.
#
# A test that has not ended after $limit_s (1200) seconds has hung: it shows its
# processes on stderr, ends them and its clusters, and fails.
#
#	wait_for SECONDS CMD...  poll until CMD succeeds; 1 when the time is up
#	at_exit CMD...           run CMD when the test ends, however; last one first
#	                         (not from $(...), nor under ok, which is one)
#	diag LINE...             a comment in the output
#	fail NAME LINE...        a check that failed, and why; pass NAME. The end of
#	                         $tmp/err, where there is one, is shown, too
#	need CMD...              skip_all unless all commands are there
#
# For tests that want a Slurm (root only; see contrib/minicluster --help):
#
#	need_cluster             skip_all unless a cluster can be made here
#	cluster_up NAME ARG...   minicluster up ARG..., brought down at the end; a
#	                         check of its own, and the test ends if it fails
#	mc NAME ARG...           minicluster --name of this test's cluster NAME
#	as_user NAME CMD...      run CMD on NAME's login host as $test_user
#	bg CMD...                CMD in the background; where CMD is mc or as_user,
#	                         $! is what passes signals on (with & it would not be)
#
# $top is the source tree, $tmp a directory that $test_user can read and that
# goes away at the end, and the directory the test runs in.

# shellcheck shell=bash disable=SC2034,SC2154

set -u

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck disable=SC2034
test_user=vmtest
tap_count=0 tap_failed=0 tap_exit=()

diag() { printf '%s\n' "$@" | sed 's/^/# /'; }

pass() { echo "ok $((++tap_count)) - $1"; }
# what prove shows of a test without -v is its standard error
fail()
{
	echo "not ok $((++tap_count)) - $1"
	tap_failed=$((tap_failed + 1))
	diag "${0##*/}: $tap_count - $1 failed" "${@:2}" >&2
	[[ ! -s ${tmp-}/err ]] || tail -n 40 "$tmp/err" | sed 's/^/# err: /' >&2
	return 1
}

ok()
{
	local name=$1 out status
	shift
	out=$("$@" 2>&1)
	status=$?
	if ((status == 0)); then
		pass "$name"
	else
		fail "$name" "$* -> $status" "$out"
	fi
}

nok() { ok "$1" tap_not "${@:2}"; }
tap_not() { ! "$@"; }

is()
{
	if [[ $2 == "$3" ]]; then
		pass "$1"
	else
		fail "$1" "got:  $2" "want: $3"
	fi
}

like()
{
	if [[ $2 =~ $3 ]]; then
		pass "$1"
	else
		fail "$1" "got:  $2" "want: /$3/"
	fi
}

skip()
{
	if [[ ${MUST_WORK-} == 1 ]]; then
		fail "$1: must work here, but $2"
	else
		pass "$1 # SKIP $2"
	fi
}

skip_all()
{
	if [[ ${MUST_WORK-} == 1 ]]; then
		echo "Bail out!  ${0##*/} must work here, but $*"
		exit 1
	fi
	echo "1..0 # SKIP $*"
	exit 0
}

done_testing()
{
	echo "1..$tap_count"
	exit $((tap_failed > 0))
}

wait_for()
{
	local end_s=$((SECONDS + $1))
	shift
	until "$@" &>/dev/null; do
		((SECONDS < end_s)) || return 1
		sleep 0.05
	done
}

at_exit() { tap_exit=("$(printf '%q ' "$@")" "${tap_exit[@]}"); }

tap_at_exit()
{
	local status=$? cmd
	trap '' INT TERM HUP
	kill "$tap_watch"
	cd /
	for cmd in "${tap_exit[@]}"; do
		eval "$cmd" >&2
	done
	exit "$status"
}
trap tap_at_exit EXIT
trap 'exit 130' INT TERM HUP

# Waits beside the test $$, which has only this to say when it hangs; holds
# nothing of it open that prove waits for.
watch()
{
	local end_s=$((SECONDS + ${limit_s-1200})) state
	trap - EXIT INT TERM HUP
	while ((SECONDS < end_s)); do
		sleep 1 4>&-
		kill -0 $$ || return
	done
	{
		echo "# ${0##*/}: has not ended after ${limit_s-1200} s; what runs:"
		ps -eo pid,ppid,stat,etimes,wchan:20,args --forest |
			grep -v ']$' | cut -c1-200 | sed 's/^/# /'
	} >&4
	kill -TERM $$ # taken when what is in the foreground has ended
	for state in /run/minicluster.*-"$$"; do
		[[ ! -d $state ]] ||
			"$top/contrib/minicluster" --name "${state#*.}" down
	done
	sleep 10 # for what is no cluster's, and bash waits for
	pkill -KILL -P $$
}

need()
{
	local cmd
	for cmd; do
		command -v "$cmd" >/dev/null || skip_all "there is no $cmd"
	done
}

# ---- clusters ----

need_cluster()
{
	((EUID == 0)) || skip_all "a cluster needs root"
	need slurmctld slurmd srun munged ip unshare nsenter setpriv perl
	unshare --net --mount --pid --fork true 2>/dev/null ||
		skip_all "namespaces cannot be made here"
	id "$test_user" &>/dev/null || useradd -m "$test_user" ||
		skip_all "user $test_user cannot be made"
}

# $$ keeps two runs of one test apart
mc() { ${tap_exec-} "$top/contrib/minicluster" --name "$1-$$" "${@:2}"; }

cluster_up()
{
	local failed=$tap_failed
	at_exit mc "$1" down
	ok "a cluster comes up: ${*:2}" mc "$1" up "${@:2}"
	((tap_failed == failed)) || done_testing
}

as_user() { mc "$1" run -u "$test_user" "${@:2}"; }
bg() { { tap_exec='exec'; "$@"; } & }

tmp=$(mktemp -d "${TMPDIR:-/tmp}/${0##*/}.XXXXXX") || exit 1
at_exit rm -rf "$tmp"
chmod 755 "$tmp"
cd "$tmp" || exit 1
# no child of ours: tests wait for theirs
tap_watch=$(watch 4>&2 >/dev/null 2>&1 </dev/null & echo $!)
