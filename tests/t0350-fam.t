#!/bin/bash
# Fabric-attached memory: the guests of a node have one window, the user on the
# node sees it, and it goes with the step, or stays where a file is named.
. "$(dirname "$0")/vm.sh"

need gcc
gcc -static -s -O1 -Wall -o "$tmp/fam" "$top/tests/fam.c" ||
	skip_all "no static program can be made"
vm_cluster 2
get='cat >/tmp/fam && chmod 755 /tmp/fam'
steps() { mc vm node "$1" find "$runtime" -mindepth 2 -maxdepth 2; }

# Four guests on two nodes, so two windows.
vrun -N2 --ntasks-per-node=2 --vm-image=tiny --vm-fam=64M --label sh -c "$get
	/tmp/fam add 2 5000000
	[ \$SLURM_LOCALID = 1 ] || /tmp/fam hello
	ls -l /dev/vmstep-fam | sed 's/.*-> //'" <"$tmp/fam" >"$tmp/out"
is "a step with --vm-fam succeeds" $? 0
diag "$(cat "$tmp/err")"
for rank in 0 1 2 3; do
	is "vm$rank: two guests of a node, with a CPU each, lose no update" \
		"$(sed -n "s/^$rank: \([0-9]*\)$/\1/p" "$tmp/out")" 10000000
done
is "the window is at the place that programs know" \
	"$(grep -c '/0000:00:04.0/resource2$' "$tmp/out")" 4
ok "windows of two nodes are two, as it says" \
	grep -q 'windows are per node' "$tmp/err"
clean "nothing stays"

# The user looks at it from the node, while the step runs.
mkfifo "$tmp/in"
vrun -N1 -n2 -w n1 --vm-image=tiny --vm-fam=1G --vm-run=head sh -c "
	dd bs=$(stat -c %s "$tmp/fam") count=1 iflag=fullblock 2>/dev/null >/tmp/fam
	chmod 755 /tmp/fam; /tmp/fam hello; echo written; read -r go" \
	<"$tmp/in" >"$tmp/out" &
step=$!
exec 9>"$tmp/in"
cat "$tmp/fam" >&9
ok "one guest writes" wait_for 120 grep -q written "$tmp/out"
text=$(mc vm run -u "$test_user" -- srun --overlap -w n1 true 2>/dev/null
	mc vm node n1 setpriv --reuid="$test_user" --regid="$test_user" \
		--clear-groups head -n1 "$(steps n1)/fam" | tr -d '\0')
like "the user reads it on the node" "$text" '^Linux vm0 '
is "nobody else can" \
	"$(mc vm node n1 sh -c "stat -L -c %a $(steps n1)/fam")" 600
exec 9>&-
wait "$step"
clean "nothing stays"

# A file of the user's stays, and is there for the next step.
file=/dev/shm/fabric_em # the cluster has its own /dev/shm
on_node() { mc vm node n1 "$@"; }
vrun -w n1 -n1 --vm-image=tiny --vm-fam=8M,file=$file \
	sh -c "$get; /tmp/fam hello" <"$tmp/fam"
is "a file is made where there is none" $? 0
is "... of the size, and the user's" "$(on_node stat -c '%s %U' $file)" \
	"8388608 $test_user"
like "... and has what was written" "$(on_node head -c 10 $file)" 'Linux vm0'
is "the next step finds it there" \
	"$(vrun -w n1 -n1 --vm-image=tiny --vm-fam=8M,file=$file \
		sh -c "$get; /tmp/fam read" <"$tmp/fam" | cut -d' ' -f1,2)" \
	'Linux vm0'

refused()
{
	local what=$1 words=$2
	shift 2
	vrun -w n1 -n1 --vm-image=tiny "$@" true
	is "$what: refused" $? "$status"
	like "... by words" "$(cat "$tmp/err")" "$words"
}
status=125
refused "another size" "is there and has 8M, not 16M" --vm-fam=16M,file=$file
refused "more than there is" 'file system has .* free' --vm-fam=1T
refused "a file that is not in memory" 'is not in memory' --vm-fam=1M,file=fam
refused "a rank in its name" 'leave %t out' --vm-fam=1M,file=/dev/shm/x-%t
conf 'max_fam = 1G'
refused "more than the site allows" 'the site allows 1G on a node' --vm-fam=2G
status=255
refused "no power of two" 'power of two' --vm-fam=3G
clean "nothing stays"
done_testing
