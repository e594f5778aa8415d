#!/bin/bash
# boot.sh - make boot.pcap, which tests/bench/scale plays, anew
#
#	tests/bench/boot.sh [OUT]
#
# What a Debian guest sends as it boots, as --vm-capture sees it: first with the
# address that its seed gives it; then its network starts again and asks DHCP,
# probes for the address, and speaks mDNS and LLMNR, as many a distribution's
# image does by itself. Wants what the system tests want, and the Debian image.
. "$(dirname "$0")/../vm.sh"

out=$(realpath "${1-$top/tests/bench/boot.pcap}")
vm_cluster 1

# For the guest.
cat >"$tmp/again" <<'GUEST'
set -e
card=$(ls /sys/class/net | grep -v lo)
{
	printf '[Match]\nName=%s\n' "$card"
	printf '[Network]\nDHCP=ipv4\nLinkLocalAddressing=ipv6\n'
	printf 'IPv6AcceptRA=yes\nLLMNR=yes\nMulticastDNS=yes\n'
	printf '[DHCPv4]\nSendDecline=yes\n'
} >/etc/systemd/network/00-again.network
mkdir -p /etc/systemd/resolved.conf.d
printf '[Resolve]\nMulticastDNS=yes\nLLMNR=yes\n' \
	>/etc/systemd/resolved.conf.d/again.conf
ip address flush dev "$card"
ip link set "$card" down
systemctl restart systemd-resolved systemd-networkd
/lib/systemd/systemd-networkd-wait-online -i "$card" --timeout=60
resolvectl query "$(uname -n).local" || :
sleep 12 # group reports are repeated for so long
GUEST
vrun -n1 --vm-image=debian --vm-capture=boot.pcap sh -s <"$tmp/again"
status=$?
cat "$tmp/err"
((status == 0)) || exit
cp "$tmp/home/boot.pcap" "$out"
echo "$out: $(stat -c %s "$out") bytes"
