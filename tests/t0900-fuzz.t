#!/bin/bash
# t0900-fuzz.t [NAME]...: all fuzz targets, or these
#
# Each runs for $FUZZ_SECONDS (60) of CPU time, or five times that by the clock,
# as many at once as there are CPUs, and finds nothing. At idle priority:
# contrib/check runs this beside the other system tests, which wait for guests
# much of their time.
#
# $VMSTEP_FUZZ (build/fuzz) is a build with --enable-fuzz. It gets a log of each
# target and what is found, and keeps each corpus for the next time.
seconds=${FUZZ_SECONDS-60}
# shellcheck disable=SC2034  # lib.sh takes it
limit_s=$((3600 + 60 * seconds))
. "$(dirname "$0")/lib.sh"

fuzz=${VMSTEP_FUZZ-$top/build/fuzz}
longest=10 # CPU seconds; an input that takes more is a finding,
stuck=300  # or so long by the clock, where others use the CPUs

cd "$fuzz" 2>/dev/null ||
	skip_all "$fuzz is not there: ./configure --enable-fuzz --enable-sanitize=address,undefined CC=clang && make, in it"
names=("$@")
for name; do
	[[ -x tests/fuzz/fuzz_$name ]] || skip_all "$fuzz has no target '$name'"
done
for target in tests/fuzz/fuzz_*; do
	[[ $# != 0 || ! -x $target || -d $target ]] || names+=("${target##*/fuzz_}")
done
((${#names[@]})) || skip_all "$fuzz has no fuzz targets"

declare -A running=() # pid: name
end_all() { ((!${#running[@]})) || kill "${!running[@]}"; }
at_exit end_all

start() # NAME
{
	# a target may go to another directory
	mkdir -p "corpus.$1"
	chrt --idle 0 "tests/fuzz/fuzz_$1" -rss_limit_mb=2048 "$PWD/corpus.$1" \
		"$top/tests/fuzz/corpus/$1" &>"$1.log" &
	running[$!]=$1
}

# How long it takes until it has had its CPU time is the other tests' affair;
# but one may wait more than it works. SIGUSR1 ends it after the input that it has.
look() # PID
{
	local used passed
	read -r used passed < <(ps -o times=,etimes= -p "$1") ||
		{ judge "$1"; return; }
	if ((used > seconds + longest || passed > 5 * seconds + stuck)); then
		kill -KILL "$1" 2>/dev/null
	elif ((used >= seconds || passed >= 5 * seconds)); then
		kill -USR1 "$1" 2>/dev/null
	fi
}

judge() # PID
{
	local name=${running[$1]} status
	wait "$1"
	status=$?
	unset "running[$1]"
	case $status in
	0) pass "$name: nothing in $seconds s" ;;
	137) fail "$name" "an input takes more than $longest s, or waits for $stuck s" ;;
	*) fail "$name" "ended with $status; $fuzz/$name.log ends with" \
		"$(tail -n 40 "$name.log")" ;;
	esac
}

while ((${#names[@]} || ${#running[@]})); do
	while ((${#names[@]} && ${#running[@]} < $(nproc))); do
		start "${names[0]}"
		names=("${names[@]:1}")
	done
	sleep 0.5
	for pid in "${!running[@]}"; do
		look "$pid"
	done
done
done_testing
