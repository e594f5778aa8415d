#!/bin/bash
# Guests that are stopped, or power off, on vhost-user ports: the others of the
# step go on, and who goes on itself is there again.
. "$(dirname "$0")/vm.sh"

vm_cluster 2

# Rank 0 does what the test says; the others what rank 0 says.
run='case $SLURM_PROCID in
0) while read -r line; do eval "$line"; done ;;
*) nc -l -p 99 | sh ;;
esac'
mkfifo "$tmp/in"
vrun -N2 -n4 --vm-image=tiny --vm-net=vhost-user sh -c "$run" \
	<"$tmp/in" >"$tmp/out" &
step=$!
exec 9>"$tmp/in"

# reaches NAME VM COUNT [ARG...]: rank 0 has COUNT answers of vmVM.
reaches()
{
	local mark=$RANDOM$RANDOM
	echo "echo $mark \$(ping -q -c $3 -W 30 ${*:4} vm$2 | grep -c ' $3 packets received')" >&9
	wait_for 120 grep -q "^$mark " "$tmp/out"
	is "$1" "$(sed -n "s/^$mark //p" "$tmp/out")" 1
}

for vm in 1 2 3; do reaches "vm0 reaches vm$vm" $vm 2; done

# "NODE PID" of a VM's QEMU; nothing when it has none.
qemu_of()
{
	local node pid
	for node in n1 n2; do
		pid=$(mc vm node $node pgrep -o -f "[q]emu-system.* -name vm$1,") &&
			echo "$node $pid"
	done | head -n 1 | grep .
}
read -r node pid < <(qemu_of 1)
mc vm node "$node" kill -STOP "$pid"
echo 'ping -q -c 400 -i 0.02 -W 1 -s 8000 vm1 >/dev/null &' >&9
reaches "while vm1 is stopped, and flooded, vm0 reaches vm2"  2 20 -i 0.1
reaches "... and vm3" 3 20 -i 0.1
mc vm node "$node" kill -CONT "$pid"
# what came in excess before it had taken the flood is dropped
echo 'until ping -q -c 1 -W 1 vm1 >/dev/null 2>&1; do sleep 0.1; done' >&9
reaches "vm1 is there again when it goes on" 1 3

ok "vm2 runs" qemu_of 2
# nc may wait for ever for the end of a peer that is gone
echo 'echo poweroff -f | nc vm2 99 >/dev/null 2>&1 &' >&9
ok "vm2 powers off" wait_for 60 tap_not qemu_of 2
for vm in 1 3; do reaches "... and vm0 still reaches vm$vm" $vm 3; done

for vm in 1 3; do echo "echo exit | nc vm$vm 99" >&9; done
exec 9>&-
wait "$step"
is "the step's status is that of the lost guest" $? 125
like "... which is named" "$(cat "$tmp/err")" 'vm\[2\]@n[12]: .*powered off'
clean "nothing stays"
done_testing
