#!/bin/bash
# Guests on two nodes speak with each other by vmop, and with us by vmstep:
# messages, barriers, values; one that takes nothing stops nobody; vmstep-net
# killed in between.

. "$(dirname "$0")/vm.sh"
vm_cluster 2

rounds=20 # messages around the ring
many=${VMSTEP_MANY:-5000} # lines from one guest to another

net_of() { mc vm node "$1" pgrep -o -f "[v]mstep-net .*--node=$1"; }
another_net()
{
	local now
	now=$(net_of "$1") && [[ $now != "$2" ]]
}
vms() { vsh "$build/inst/bin/vmstep -j 2.0 $*" 2>"$tmp/vms.err"; }
said() { grep -q "^$1\$" "$tmp/out"; }
count() { grep -c "^$1" "$tmp/out"; }

ring=$(cat <<END
set -u
rank=\$SLURM_PROCID next=\$(((SLURM_PROCID + 1) % 4)) prev=\$(((SLURM_PROCID + 3) % 4))
vmop -t 300 barrier begin || exit 11
i=0
while [ \$i -lt $rounds ]; do
	i=\$((i + 1))
	vmop send \$next "\$rank \$i" || exit 12
	[ "\$(vmop -t 300 -f \$prev recv)" = "\$prev \$i" ] || exit 13
done
vmop store put from.\$rank "\$(hostname)" || exit 14
vmop -t 300 barrier stored || exit 15
[ "\$(vmop store get from.\$next)" = vm\$next ] || exit 16
[ "\$(vmop store list 'from.*' | wc -l)" = 4 ] || exit 17
# the last one's queue is full, and says so; the others' are not
if [ \$rank = 0 ]; then
	i=0
	while vmop -q small send 3 x 2>/dev/null; do i=\$((i + 1)); done
	echo "full after \$i"
	vmop send 1 on || exit 18
	vmop send 2 on || exit 18
elif [ \$rank -lt 3 ]; then
	[ "\$(vmop -t 300 recv)" = on ] || exit 19
fi
vmop call vm.poweroff 2>/dev/null && exit 20
vmop -t 1 --ranks=0,\$rank barrier alone 2>/dev/null
r=\$?
[ \$rank = 0 ] || [ \$r = 124 ] || exit 21
if [ \$rank = 0 ]; then
	seq $many | vmop -l -q many send 3 || exit 23
elif [ \$rank = 3 ]; then
	[ "\$(vmop -l -n $many -t 300 -q many recv | md5sum)" = "\$(seq $many | md5sum)" ] || exit 24
	echo "many came"
fi
vmop -t \$((300 + $many / 200)) barrier over || exit 22
echo "ring done"
END
)

vrun -N2 -n4 --vm-image=tiny sh -c "$ring" >"$tmp/out"
is "four guests on two nodes pass messages around, meet, and keep values" $? 0
is "... each of them" "$(count 'ring done')" 4
ok "$many lines of one are the other's, each once and in order" said 'many came'
ok "a queue that nobody empties is full, and its sender is told" said 'full after 64'
diag "$(cat "$tmp/out" "$tmp/err")"

# Rank 0 sends to rank 3 on the other node until it is told that it is enough;
# what failed may have arrived, and is sent again. Each number comes, and none
# before a lower one.
keep=$(cat <<END
set -u
vmop -t 300 barrier begin || exit 11
if [ \$SLURM_PROCID = 0 ]; then
	i=0
	until [ -e /tmp/enough ]; do
		i=\$((i + 1))
		until vmop send 3 \$i; do echo again; done
		sleep 0.3
	done
	until vmop send 3 "end \$i"; do echo again; done
elif [ \$SLURM_PROCID = 1 ]; then
	vmop -t 300 -q go recv >/tmp/said || exit 15
	vmop store put said - </tmp/said || exit 16
	[ "\$(vmop -t 300 recv)" = '{"a":1}' ] || exit 17
elif [ \$SLURM_PROCID = 3 ]; then
	last=0
	while :; do
		n=\$(vmop -t 300 -f 0 recv) || exit 12
		[ "\$n" != "end \$last" ] || break
		[ \$n = \$last ] || [ \$n = \$((last + 1)) ] || exit 13
		last=\$n
		echo "got \$n"
	done
fi
vmop -t 300 barrier over || exit 14
END
)
vrun -N2 -n4 --vm-image=tiny sh -c "$keep" >"$tmp/out" &
step=$!
got() { (($(count 'got ') >= $1)); }
wait_for 240 got 2
for node in n1 n2; do
	old=$(net_of $node)
	mc vm node $node kill -9 "$old"
	ok "vmstep-net of $node is killed, and started again" \
		wait_for 30 another_net $node "$old"
	now=$(count 'got ')
	ok "... and messages come again" wait_for 60 got $((now + 2))
done

vms -r 1 send --queue=go "'on we go'"
is "vmstep send reaches a guest" $? 0
said_so() { [[ $(vms store get said) = 'on we go' ]]; }
ok "... which keeps what it was told, for vmstep store" wait_for 60 said_so
vms send --ref=x --parse "'{\"a\":1}'"
is "... to all of them, as JSON" $? 0
is "vmstep recv takes from a guest's queue" "$(vms -r 2 recv)" '{"a":1}'
# As long as a message may be: from here by srun, from guest to guest not.
vsh 'head -c 1048576 /dev/zero | tr "\0" m' >"$tmp/home/mib"
vms -r 2 send --queue=long - '<mib'
is "vmstep send takes a MiB, also to another node" $? 0
is "... which is there" "$(vms -r 2 recv --queue=long | md5sum)" "$({ cat "$tmp/home/mib"; echo; } | md5sum)"
is "vmstep hosts has them all" "$(vms hosts | grep -c vm)" 4
is "... as mpirun has them" "$(vms -r 1-2 hosts --format=mpi | paste -sd,)" "vm1 slots=1,vm2 slots=1"
no_hosts() { vms "$@"; echo "status $?: $(<"$tmp/vms.err")"; }
like "... in no other format" "$(no_hosts hosts --format=xml)" "status 2: .*--format: .*hosts.*mpi.*ssh"
like "... with no key where none is wanted" "$(no_hosts hosts --key=k)" "status 2: .*--key is for --format=ssh"
like "... and none for ssh without a key" "$(no_hosts hosts --format=ssh)" "status 2: .*wants --key=FILE"
like "... nor of guests that have no ssh" "$(no_hosts -r 0 hosts --format=ssh --key="$tmp/home/key")" \
	"status 1: .*vm\[0\]: this guest was given no key"
nok "... which leaves no file" test -e "$tmp/home/key"
ok "it is enough" vms -r 0 exec touch /tmp/enough
wait "$step"
is "all have come, in order, and all guests have met" $? 0
diag "$(count again) were sent again"
((tap_failed == 0)) || diag "$(cat "$tmp/out" "$tmp/err")"
clean "nothing stays"
done_testing
