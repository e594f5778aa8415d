#include <config.h>

#include "answer.h"

#include <string.h>
#include <net/ethernet.h>
#include <netinet/icmp6.h>
#include <netinet/ip6.h>

#include "answer_impl.h"

/* Frames with a VLAN tag are a network of the guests' own: never answered. */

/* -- IPv4 ----------------------------------------------------------------- */

static bool is_named_by_multicast(const struct inet_udp *udp)
{
	return udp->dst == PORT_MDNS || udp->dst == PORT_LLMNR;
}

static enum answer swallow_udp(const uint8_t *data, size_t len)
{
	struct inet_udp udp;

	if (!inet_udp_parse(data, len, &udp))
		return ANSWER_NOT_OURS;
	return is_named_by_multicast(&udp) ? ANSWER_SWALLOW : ANSWER_NOT_OURS;
}

/* IGMP membership reports and leaves; a querier's questions pass. */
static enum answer swallow_igmp(const uint8_t *igmp, size_t len)
{
	if (len < 8)
		return ANSWER_NOT_OURS;
	switch (igmp[0]) {
	case 0x12: /* report, version 1, 2, 3 */
	case 0x16:
	case 0x22:
	case 0x17: /* leave */
		return ANSWER_SWALLOW;
	default:
		return ANSWER_NOT_OURS;
	}
}

static enum answer answer_ip4(const struct ask *a)
{
	struct inet_ip4 ip;

	if (!inet_ip4_parse(a->data, a->len, &ip) || ip.later)
		return ANSWER_NOT_OURS;
	switch (ip.protocol) {
	case IPPROTO_IGMP:
		return swallow_igmp(ip.data, ip.len);
	case IPPROTO_UDP:
		return swallow_udp(ip.data, ip.len);
	default:
		return ANSWER_NOT_OURS;
	}
}

/* -- IPv6 ----------------------------------------------------------------- */

static bool is_boot_icmp6(uint8_t type)
{
	return type == ND_ROUTER_SOLICIT || type == MLD_LISTENER_REPORT ||
	       type == MLD_LISTENER_REDUCTION ||
	       type == 143; /* MLDv2 report: RFC 3810, not in icmp6.h */
}

static enum answer answer_ip6(struct ask *a)
{
	const uint8_t *data = a->data;
	size_t at = sizeof(struct ip6_hdr);
	uint8_t next;

	if (a->len <= at || data[0] >> 4 != 6)
		return ANSWER_NOT_OURS;
	next = data[6];
	if (next == IPPROTO_HOPOPTS) { /* MLD has a router alert there */
		next = data[at];
		if (a->len - at < 8 ||
		    a->len - at <= 8 + (size_t)data[at + 1] * 8)
			return ANSWER_NOT_OURS;
		at += 8 + (size_t)data[at + 1] * 8;
	}
	if (next == IPPROTO_UDP)
		return swallow_udp(data + at, a->len - at);
	if (next != IPPROTO_ICMPV6)
		return ANSWER_NOT_OURS;
	if (is_boot_icmp6(data[at]))
		return ANSWER_SWALLOW;
	if (data[at] == ND_NEIGHBOR_SOLICIT && at == sizeof(struct ip6_hdr))
		return answer_solicit(a);
	return ANSWER_NOT_OURS;
}

/* -- Ethernet ------------------------------------------------------------- */

/* 01:80:c2:00:00:0x is for the next bridge only: STP, LLDP, pause. */
static bool is_bridge_group(const uint8_t mac[ADDR_MAC_LEN])
{
	static const uint8_t group[5] = { 0x01, 0x80, 0xc2, 0x00, 0x00 };

	return memcmp(mac, group, sizeof(group)) == 0 && mac[5] < 0x10;
}

bool answer_may_be_ours(const uint8_t *header)
{
	return (header[0] & 1) || inet_get16(header + 12) == ETHERTYPE_ARP;
}

static enum answer classify(struct ask *a)
{
	if (inet_get16(a->eth.type) == ETHERTYPE_ARP)
		return answer_arp(a);
	if (!answer_is_group(a))
		return ANSWER_NOT_OURS;
	if (is_bridge_group(a->eth.dst))
		return ANSWER_SWALLOW;
	switch (inet_get16(a->eth.type)) {
	case ETHERTYPE_IP:
		return answer_ip4(a);
	case ETHERTYPE_IPV6:
		return answer_ip6(a);
	default:
		return ANSWER_NOT_OURS;
	}
}

enum answer answer_frame(const struct answer_conf *conf, uint32_t rank,
			 const uint8_t *frame, size_t len,
			 uint8_t reply[ANSWER_REPLY_MAX], size_t *reply_len)
{
	struct ask a = { .conf = conf, .rank = rank, .reply = reply };
	enum answer answer;

	memcpy(&a.eth, frame, sizeof(a.eth));
	a.data = frame + sizeof(a.eth);
	a.len = len - sizeof(a.eth);
	answer = classify(&a);
	if (answer == ANSWER_REPLY)
		*reply_len = a.reply_len;
	return answer;
}
