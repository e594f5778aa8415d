#!/bin/bash
# Debian's two kernels, the cloud's and the general one: both drive the card
# with all that may be left to it, and every checksum on the wire is right.
. "$(dirname "$0")/vm.sh"

[[ -e $images/generic.vm/vm.conf ]] ||
	skip_all "$images/generic.vm is not there: contrib/mkimage tiny --kernel-package linux-image-amd64 (contrib/check does)"
need tshark
vm_cluster 2

# Both ways, by TCP and UDP. Rank 1 serves twice.
talk='uname -r
sed "s/^/features /" /sys/bus/virtio/drivers/virtio_net/virtio*/features
sed "s/^/resolv.conf /" /etc/resolv.conf
case $SLURM_PROCID in
1) iperf3 -s -1 >/dev/null && iperf3 -s -1 >/dev/null ;;
0) until iperf3 -c vm1 -n 5M >/dev/null; do sleep 1; done
   until iperf3 -c vm1 -n 5M -R >/dev/null; do sleep 1; done
   nslookup vm1 | tail -n 3 ;;
esac'
vrun -N2 -n2 --label '--vm-image=tiny;generic' --vm-capture='%t.pcap' \
	sh -c "$talk" >"$tmp/out"
status=$?
is "a guest of each kernel, on two nodes: status 0" $status 0
((status == 0)) || diag "$(cat "$tmp/err" "$tmp/out")"
like "rank 0 has the cloud kernel" "$(grep '^0: ' "$tmp/out")" '0: [0-9.]+-[0-9]+-cloud-amd64'
like "... rank 1 the general one" "$(grep '^1: ' "$tmp/out")" '1: [0-9.]+-[0-9]+-amd64'
for rank in 0 1; do
	# bits 0, 1: checksums; 7, 8, 11, 12: TSO for IPv4 and IPv6; 15:
	# mergeable buffers. Both ways.
	like "vm$rank's driver took all offloads" "$(grep "^$rank: features" "$tmp/out")" \
		'features 11.....11..11..1'
	like "... and vm$rank has the step's name server" \
		"$(grep "^$rank: resolv" "$tmp/out")" 'nameserver 10\.255\.255\.254'
done
like "... which knows the other" "$(cat "$tmp/out")" 'Address:? .*10\.0\.0\.2'

# How many frames of rank RANK's capture match FILTER.
frames()
{
	tshark -n -r "$tmp/home/$1.pcap" -o ip.check_checksum:TRUE \
		-o tcp.check_checksum:TRUE -o udp.check_checksum:TRUE \
		-Y "$2" 2>/dev/null | wc -l
}
for rank in 0 1; do
	# 10 MiB, in frames of 64 KiB at the most
	ok "vm$rank sent and got TCP's segments" \
		test "$(frames $rank 'tcp.len > 0')" -ge 160
	is "... and no bad checksum" \
		"$(frames $rank 'ip.checksum.status == "Bad" || tcp.checksum.status == "Bad" || udp.checksum.status == "Bad"')" 0
done
clean "nothing stays"
done_testing
