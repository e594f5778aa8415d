#include <config.h>

#include "answer.h"

#include <string.h>
#include <net/ethernet.h>
#include <netinet/icmp6.h>
#include <netinet/ip6.h>

#include "answer_impl.h"
#include "headers.h"

/* Here a frame is looked at so far as to tell what it is. What is for one
 * machine is not ours, with two exceptions: what is for the service address
 * never travels, whatever it is, and nobody but the service may speak as the
 * service, or as a DHCP server. Frames with a VLAN tag are a network of the
 * guests' own: never answered. */

bool answer_is_to_service(const struct ask *a)
{
	return memcmp(a->eth.dst, addr_service_mac, ADDR_MAC_LEN) == 0;
}

/* -- IPv4 ----------------------------------------------------------------- */

static bool is_named_by_multicast(const struct inet_udp *udp)
{
	return udp->dst == PORT_MDNS || udp->dst == PORT_LLMNR;
}

/* From whom broadcasts as port 67 does, too, a relay's question. */
static bool is_dhcp_server(const struct ask *a, const struct inet_udp *udp)
{
	return udp->dst == PORT_DHCP_CLIENT ||
	       (udp->src == PORT_DHCP_SERVER &&
		(answer_is_group(a) || answer_is_to_service(a)));
}

static enum answer answer_udp(struct ask *a, const struct inet_ip4 *ip)
{
	struct inet_udp udp;

	if (!inet_udp_parse(ip->data, ip->len, &udp))
		return ANSWER_NOT_OURS;
	if (is_dhcp_server(a, &udp))
		return ANSWER_SPOOFED;
	if (!answer_is_group(a))
		return ANSWER_NOT_OURS;
	if (udp.dst == PORT_DHCP_SERVER)
		return answer_dhcp(a, ip, &udp);
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

static enum answer answer_ip4(struct ask *a)
{
	enum answer answer = ANSWER_NOT_OURS;
	struct inet_ip4 ip;

	if (!inet_ip4_parse(a->data, a->len, &ip))
		return ANSWER_NOT_OURS;
	if (ip.src == addr_service_ip(&a->conf->net))
		return ANSWER_SPOOFED;
	if (ip.later)
		return ANSWER_NOT_OURS;
	if (ip.protocol == IPPROTO_UDP)
		answer = answer_udp(a, &ip);
	else if (ip.protocol == IPPROTO_IGMP && answer_is_group(a))
		answer = swallow_igmp(ip.data, ip.len);
	if (answer == ANSWER_NOT_OURS && answer_is_to_service(a))
		answer = answer_service(a, &ip);
	return answer;
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
	struct inet_udp udp;
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
		return inet_udp_parse(data + at, a->len - at, &udp) &&
				       is_named_by_multicast(&udp)
			       ? ANSWER_SWALLOW
			       : ANSWER_NOT_OURS;
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

static bool is_service(const uint8_t *mac)
{
	return memcmp(mac, addr_service_mac, ADDR_MAC_LEN) == 0;
}

bool answer_may_be_ours(const struct answer_conf *conf, const uint8_t *head,
			size_t len)
{
	const uint8_t *ip = head + sizeof(struct inet_eth);
	uint16_t type = header_get16(head + 2 * ADDR_MAC_LEN);
	size_t udp;

	if ((head[0] & 1) || type == ETHERTYPE_ARP || is_service(head) ||
	    is_service(head + ADDR_MAC_LEN))
		return true;
	if (type != ETHERTYPE_IP)
		return false;
	if (len < sizeof(struct inet_eth) + IP4_BYTES ||
	    header_get32(ip + IP4_SRC) == addr_service_ip(&conf->net))
		return true;
	udp = (size_t)(ip[0] & 15) * 4;
	return ip[IP4_PROTO] == IPPROTO_UDP &&
	       (sizeof(struct inet_eth) + udp + 4 > len ||
		header_get16(ip + udp + 2) == PORT_DHCP_CLIENT);
}

static enum answer classify(struct ask *a)
{
	if (is_service(a->eth.src))
		return ANSWER_SPOOFED;
	if (is_bridge_group(a->eth.dst))
		return ANSWER_SWALLOW;
	switch (header_get16(a->eth.type)) {
	case ETHERTYPE_ARP:
		return answer_arp(a);
	case ETHERTYPE_IP:
		return answer_ip4(a);
	case ETHERTYPE_IPV6:
		return answer_is_group(a) ? answer_ip6(a) : ANSWER_NOT_OURS;
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

	if (len > ANSWER_REPLY_MAX)
		len = ANSWER_REPLY_MAX;
	memcpy(&a.eth, frame, sizeof(a.eth));
	a.data = frame + sizeof(a.eth);
	a.len = len - sizeof(a.eth);
	answer = classify(&a);
	if (answer == ANSWER_NOT_OURS && answer_is_to_service(&a))
		answer = ANSWER_SWALLOW;
	if (answer == ANSWER_REPLY)
		*reply_len = a.reply_len;
	return answer;
}
