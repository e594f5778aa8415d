#!/bin/bash
# Each kind of port carries frames, on a node and between nodes.
. "$(dirname "$0")/vm.sh"

vm_cluster 2

# How many of the guests reply to packets of each size.
pings='for size in 56 8900; do
	n=0
	for i in 0 1 2 3; do
		ping -q -c 3 -i 0.1 -s $size -W 30 vm$i | grep -q "3 packets received" && n=$((n + 1))
	done
	echo $size: $n
done'
for net in vhost-user stream dgram; do
	vrun -N2 -n4 --vm-image=tiny --vm-net="$net" sh -c "$pings" >"$tmp/out"
	status=$?
	is "--vm-net=$net: status 0" $status 0
	((status == 0)) || diag "$(cat "$tmp/err")"
	for size in 56 8900; do
		is "... and $size bytes reach each from each" \
			"$(sed -n "s/^$size: //p" "$tmp/out" | tr '\n' ' ')" "4 4 4 4 "
	done
done

vrun -n1 --vm-image=tiny --vm-net=vhost-user true
is "one guest alone has a vhost-user port, too" $? 0

# ---- the memory is shared, and nobody else's ----

vrun -n1 --vm-image=tiny --vm-net=vhost-user sh -c 'echo started; sleep 100' \
	>"$tmp/out" &
step=$!
wait_for 120 grep -q started "$tmp/out"
is "QEMU's socket is the user's alone" \
	"$(mc vm node n1 find "$runtime" -name 'port-0.sock' -printf '%m %u %y\n')" \
	"700 $test_user s"
vsh "scancel --name=echo; scancel -u $test_user"
wait "$step"

printed()
{
	vrun -n1 --vm-image=tiny --vm-dry-run "$@" hostname
}
like "--vm-dry-run prints a vhost-user card" "$(printed --vm-net=vhost-user)" \
	'-object memory-backend-memfd,.*share=on.*-netdev vhost-user,id=net0'
like "... and a datagram one" "$(printed --vm-net=dgram)" '-netdev dgram,id=net0'
qemu-img create -q -f qcow2 "$tmp/home/disk.qcow2" 64M
like "... the seed of a disk" "$(vrun -n1 --vm-image=disk.qcow2 --vm-dry-run hostname)" 'virtio-blk-pci,drive=cidata'
is "... and no address without a network" \
	"$(printed --vm-net=none | head -n 1)" "vm[0]@n1: vm0"
clean "nothing stays"
done_testing
