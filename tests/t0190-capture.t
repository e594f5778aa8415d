#!/bin/bash
# --vm-capture and vmstep capture: what went through a port, as tshark reads it.
. "$(dirname "$0")/vm.sh"

need tshark
vm_cluster 2

# How many frames of capture FILE match FILTER. Checksums are looked at.
frames()
{
	tshark -n -r "$1" -o ip.check_checksum:TRUE -o tcp.check_checksum:TRUE \
		-o udp.check_checksum:TRUE -Y "$2" 2>>"$tmp/tshark.err" | wc -l
}

# Both ways, by each protocol, with packets that guests leave to the card to
# cut and to sum up.
talk='case $SLURM_PROCID in
1) iperf3 -s -1 ;;
0) ping -c 3 vm1
   until iperf3 -c vm1 -n 5M; do sleep 1; done ;;
esac'
for net in vhost-user stream; do
	vrun -N2 -n2 --vm-image=tiny --vm-net="$net" \
		--vm-capture="0:$net-%t.pcap" sh -c "$talk" >"$tmp/out"
	is "--vm-net=$net with a capture: status 0" $? 0
	file=$tmp/home/$net-0.pcap
	like "... which is pcap with nanoseconds" "$(od -An -tx4 -N4 "$file")" 'a1b23c4d'
	is "... has the pings" "$(frames "$file" 'icmp.type == 8')" 3
	is "... and their answers" "$(frames "$file" 'icmp.type == 0')" 3
	is "... a question before its answer" \
		"$(tshark -n -r "$file" -Y arp -T fields -e arp.opcode 2>/dev/null | head -1)" 1
	ok "... TCP's segments" test "$(frames "$file" 'tcp.len > 0')" -gt 50
	is "... none longer than the network's MTU" \
		"$(frames "$file" 'frame.len > 9014')" 0
	is "... and no bad checksum" \
		"$(frames "$file" 'ip.checksum.status == "Bad" || tcp.checksum.status == "Bad" || udp.checksum.status == "Bad" || icmp.checksum.status == "Bad"')" 0
	is "... nor a broken record" "$(grep -c 'cut short' "$tmp/tshark.err")" 0
done
is "only the rank that was named has one" "$(cd "$tmp/home" && echo *.pcap)" "stream-0.pcap vhost-user-0.pcap"

# From now on, until another one begins or the step ends.
bg vrun -N2 -n2 --vm-image=tiny --vm-capture=0:all.pcap sh -c '
	echo up; until [ -e /tmp/go ]; do sleep 0.2; done' >"$tmp/out"
step=$!
all_up() { (($(grep -c up "$tmp/out") == 2)); }
ok "a step that nobody captures at rank 1" wait_for 120 all_up
vmstep="$build/inst/bin/vmstep -j $(vsh 'squeue -h -o %i')"
pings() { vsh "$vmstep -r 0 exec ping -c $1 vm1" >/dev/null; }
for n in 1 2; do
	bg vsh "$vmstep -r 1 capture" >"$tmp/live.$n" 2>"$tmp/live.err"
	live=$!
	ok "vmstep capture, of a node elsewhere" wait_for 60 test -s "$tmp/live.$n"
	if ((n == 2)); then
		wait "$first"
		is "... the first ends well, as another takes its place" $? 0
	fi
	first=$live
	pings $((n + 2))
	whole() { (($(frames "$tmp/live.$n" 'icmp.type == 0') == n + 2)); }
	ok "... has the pings from then on" wait_for 60 whole
done
is "... no broken record" "$(frames "$tmp/live.1" 'icmp.type == 8')" 3
vsh "$vmstep -r 0 capture" >/dev/null 2>"$tmp/busy.err"
is "a rank whose frames go to a file: status 1" $? 1
like "... and says so" "$(<"$tmp/busy.err")" "is in --vm-capture=.*all.pcap"
vsh "$vmstep exec touch /tmp/go"
wait $step
is "the step ends" $? 0
wait "$live"
is "... and with it the capture" $? 0

vrun -n1 --vm-image=tiny --vm-capture=/nowhere/x true
is "a file that cannot be made: status 125" $? 125
like "... and says why" "$(cat "$tmp/err")" '--vm-capture=/nowhere/x: No such file'
vrun -n1 --vm-image=tiny --vm-capture=/dev/full true
is "a full disk does not stop the step" $? 0
like "... which says so" "$(cat "$tmp/err")" '--vm-capture=/dev/full is cut short: No space'
clean "nothing stays"
done_testing
