#!/bin/bash
# What links between nodes are like: encrypted, over UCX, and where they listen.
. "$(dirname "$0")/vm.sh"

vm_cluster 2

net_of() { mc vm node "$1" pgrep -o -f "[v]mstep-net .*--node=$1"; }
listens() { mc vm node "$1" ss -Hltnp | grep -o '[^ ]*:[0-9]* .*vmstep-net'; }
both_listen() { listens n1 && listens n2; }

# A guest of one node sends to one of the other, and everyone sees it arrive.
talk='case $SLURM_PROCID in
0) nc -l -p 7000 ;;
1) until echo "hello from $(hostname)" | nc -w 5 vm0 7000; do sleep 1; done ;;
esac'

conf "net_encrypt = yes"
vrun -N2 -n2 --vm-image=tiny --vm-log="$tmp/home/log-%t" sh -c "$talk" >"$tmp/out"
is "two nodes with net_encrypt: the step succeeds" $? 0
is "... its guests talk" "$(<"$tmp/out")" "hello from vm1"
ok "... and the log says that links are encrypted" \
	grep -q 'links: tcp, encrypted' "$tmp/home/log-0" "$tmp/home/log-1"
clean "nothing stays"

# UCX's own TCP, where vmstep was built with it.
received() { mc vm node "$1" cat /sys/class/net/eth0/statistics/rx_bytes; }
conf "net_link = ucx"
before=$(received n1)
vrun -N2 -n2 --vm-image=tiny --vm-log="$tmp/home/ucx-%t" sh -c 'case $SLURM_PROCID in
0) iperf3 -s -1 >/dev/null ;;
1) until iperf3 -c vm0 -n 40M; do sleep 1; done ;;
esac' >"$tmp/out"
status=$?
if grep -q 'built without UCX' "$tmp/err"; then
	skip "net_link = ucx" "this build has none"
else
	is "two nodes with net_link = ucx: the step succeeds" $status 0
	# the client ends with some of it still on its way
	like "... 40 MiB are sent" "$(<"$tmp/out")" '40\.[0-9]+ MBytes .*sender'
	ok "... 10 of them, at the least, over the network between them" \
		test $(($(received n1) - before)) -gt 10485760
	ok "... and the log says that it is UCX" \
		grep -q 'links: ucx; other nodes' "$tmp/home/ucx-0"
	conf "net_link = ucx" "net_encrypt = yes"
	vrun -N2 -n2 --vm-image=tiny sh -c "$talk" >"$tmp/out"
	is "... encrypted, too" "$(<"$tmp/out")" "hello from vm1"
fi
clean "nothing stays"

# Only one node has it: each reads its own file.
conf
cp "$tmp/vmstep.conf" "$tmp/n1.conf"
conf "net_encrypt = yes"
cp "$tmp/vmstep.conf" "$tmp/n2.conf"
conf
mc vm node n2 mount --bind "$tmp/n2.conf" "$tmp/vmstep.conf"
vrun -N2 -n2 --vm-image=tiny true
ok "one node with net_encrypt and one without: the step fails" test $? -ne 0
like "... naming the key" "$(<"$tmp/err")" 'net_encrypt'
mc vm node n2 umount "$tmp/vmstep.conf"
clean "nothing stays"

# net_device: an interface, a subnet, and what is neither.
device=$(mc vm node n1 ip -o -4 route get "$(mc vm node n2 hostname -I | awk '{ print $1 }')" |
	sed 's/.* dev \([^ ]*\).*/\1/')
subnet=$(mc vm node n1 ip -o -4 addr show "$device" | awk '{ print $4; exit }')
address=${subnet%/*}
for where in "$device" "$subnet"; do
	conf "net_device = $where"
	vrun -N2 -n2 --vm-image=tiny sh -c "$talk" >"$tmp/out" &
	step=$!
	wait_for 60 both_listen
	like "net_device = $where: vmstep-net listens there" \
		"$(listens n1)" "$address:[0-9]+ .*vmstep-net"
	wait "$step"
	is "... and the guests talk" "$(<"$tmp/out")" "hello from vm1"
done
for where in none0 198.51.100.0/24 2001:db8::/300; do
	conf "net_device = $where"
	vrun -N2 -n2 --vm-image=tiny true
	ok "net_device = $where: the step fails" test $? -ne 0
	like "... naming it" "$(<"$tmp/err")" "$where"
done
clean "nothing stays"
done_testing
