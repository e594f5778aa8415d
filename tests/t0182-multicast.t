#!/bin/bash
# Multicast by guests' own sockets: what one of four has joined, on two nodes,
# reaches that one only, also after vmstep-net was killed, until it leaves.
. "$(dirname "$0")/vm.sh"

need gcc
gcc -static -s -O1 -Wall -o "$tmp/mcast" "$top/tests/mcast.c" ||
	skip_all "no static program can be made"
vm_cluster 2

# Rank 0 asks the others, and the test tells it when to go on.
cat >"$tmp/drive" <<'END'
m=/tmp/mcast
# What vm$1 counts, once it has seen the mark. That may be lost where a
# vmstep-net has just been killed, and is not sent before this guest's own
# address is sure.
count_marked()
{
	tries=0
	until now=$($m ask 10.0.0.$(($1 + 1)) count); [ "${now##* }" = "$mark" ] ||
		[ $((tries += 1)) -gt 100 ]; do
		$m mark $mark 2>/dev/null
	done
	echo "$now"
}
# What each of the others has had of 100 datagrams to GROUP: its sockets, and
# its card, which has little else.
mark=0
round()
{
	before=$(for r in 2 3 4; do $m ask 10.0.0.$r count; done)
	$m send "$1" 100
	$m mark $mark 2>/dev/null
	set -- $before
	for r in 1 2 3; do
		before="$1 $2"
		shift 3
		got=$(count_marked $r)
		card=no
		frames=${got#* } frames=${frames% *}
		[ $((frames - ${before#* })) -lt 50 ] || card=yes
		echo "vm$r:$((${got%% *} - ${before% *})):$card"
	done
}
# TEXT, and how many had what, once that is as wanted, or does not change.
until_round()
{
	i=0 got=
	until [ "$got" = "$2" ] || [ $((i += 1)) -gt 50 ]; do
		mark=$((mark + 1))
		got=$(echo $(round "$1"))
	done
	echo "$1 $3: $got"
}
none='vm1:0:no vm2:0:no vm3:0:no'
last='vm1:0:no vm2:0:no vm3:100:yes'
for g in 239.1.1.1 ff15::1234; do
	until_round $g "$none" 'at first'
	$m ask 10.0.0.4 join $g
	until_round $g "$last" 'joined'
done
echo ready
read -r after
for g in 239.1.1.1 ff15::1234; do
	until_round $g "$last" "$after"
	$m ask 10.0.0.4 leave $g
	until_round $g "$none" 'left'
done
for r in 2 3 4; do $m ask 10.0.0.$r quit; done
END
gzip -k "$tmp/mcast"
bytes() { stat -c %s "$1"; }
# dd takes just so much of the standard input.
run="dd bs=$(bytes "$tmp/mcast.gz") count=1 iflag=fullblock 2>/dev/null |
	gunzip >/tmp/mcast && chmod 755 /tmp/mcast
case \$SLURM_PROCID in
0) dd bs=$(bytes "$tmp/drive") count=1 iflag=fullblock 2>/dev/null >/tmp/drive
   sh /tmp/drive ;;
*) exec /tmp/mcast serve </dev/null ;;
esac"
net_of() { mc vm node "$1" pgrep -o -f "[v]mstep-net .*--node=$1"; }
another_net()
{
	local now
	now=$(net_of "$1") && [[ $now != "$2" ]]
}

mkfifo "$tmp/in"
vrun -N2 -n4 --vm-image=tiny --vm-log='net-%t.log' sh -c "$run" \
	<"$tmp/in" >"$tmp/out" &
step=$!
exec 9>"$tmp/in"
cat "$tmp/mcast.gz" "$tmp/drive" >&9
ok "two groups are joined" wait_for 240 grep -qx ready "$tmp/out"
for node in n1 n2; do
	old=$(net_of $node)
	mc vm node $node kill -9 "$old"
	ok "vmstep-net of $node is killed and started again" \
		wait_for 30 another_net $node "$old"
done
echo 'after restarts' >&9
exec 9>&-
wait "$step"
is "the step succeeds" $? 0
diag "$(cat "$tmp/err" "$tmp/out")"

none='vm1:0:no vm2:0:no vm3:0:no'
last='vm1:0:no vm2:0:no vm3:100:yes'
had() { sed -n "s/^$1: //p" "$tmp/out"; }
for g in 239.1.1.1 ff15::1234; do
	is "$g: nobody has it that has not asked" "$(had "$g at first")" "$none"
	is "... one of four joins, and has all, alone" "$(had "$g joined")" "$last"
	is "... so it is when both vmstep-net are new" "$(had "$g after restarts")" "$last"
	is "... until it leaves" "$(had "$g left")" "$none"
done
# vmstep-net writes to the log of the helper that started it, here again; at its
# end, for which nobody waits
ok "what nobody wanted was counted" wait_for 20 \
	grep -q 'vm\[0\].* no_members=' "$tmp"/home/net-*.log
clean "nothing stays"
done_testing
