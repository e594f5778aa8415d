#!/bin/bash
# A stream of data between two guests outlives their vmstep-net, ten times.
. "$(dirname "$0")/vm.sh"

vm_cluster 2

kills=10
talk='case $SLURM_PROCID in
1) iperf3 -s -1 >/dev/null ;;
0) until iperf3 -c vm1 -t 60 -i 0.5; do sleep 1; done ;;
esac'
net_of() { mc vm node "$1" pgrep -o -f "[v]mstep-net .*--node=$1"; }
another_net()
{
	local now
	now=$(net_of "$1") && [[ $now != "$2" ]]
}
lines() { (($(grep -c 'bits/sec' "$tmp/out") >= $1)); }

vrun -N2 -n2 --vm-image=tiny sh -c "$talk" >"$tmp/out" &
step=$!
wait_for 120 lines 2
for ((i = 1; i <= kills; i++)); do
	node=n$((1 + i % 2))
	wait_for 60 lines $((i * 8)) # each has 4 s
	old=$(net_of $node)
	mc vm node $node kill -9 "$old"
	ok "vmstep-net of $node is killed and started again ($i)" \
		wait_for 30 another_net $node "$old"
done
wait "$step"
is "the step succeeds" $? 0

# Of intervals of half a second, how many in a row brought nothing.
longest=$(awk '/bits\/sec/ && !/sender|receiver/ {
	n = $5 == "0.00" ? n + 1 : 0
	if (n > most) most = n
} END { print most + 0 }' "$tmp/out")
diag "longest silence: $longest intervals of 0.5 s"
ok "... and the stream goes on within 2 s each time" test "$longest" -le 4
clean "nothing stays"
done_testing
