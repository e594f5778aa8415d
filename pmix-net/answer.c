#include <config.h>

#include "answer.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>
#include <net/ethernet.h>
#include <net/if_arp.h>
#include <netinet/icmp6.h>
#include <netinet/if_ether.h>
#include <netinet/ip6.h>

/* Frames with a VLAN tag are a network of the guests' own: never answered. */

#define ETH_FRAME_MIN 60 /* a reply is padded to it */

struct eth {
	uint8_t dst[ADDR_MAC_LEN], src[ADDR_MAC_LEN];
	uint8_t type[2];
};
static_assert(sizeof(struct eth) == 14, "an Ethernet header");

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
	       (uint32_t)p[2] << 8 | p[3];
}

static void put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void put_eth(uint8_t *reply, const uint8_t dst[ADDR_MAC_LEN],
		    const uint8_t src[ADDR_MAC_LEN], uint16_t type)
{
	struct eth *eth = (struct eth *)reply;

	memcpy(eth->dst, dst, ADDR_MAC_LEN);
	memcpy(eth->src, src, ADDR_MAC_LEN);
	put16(eth->type, type);
}

/* -- ARP ------------------------------------------------------------------ */

static bool is_step_ip(const struct answer_conf *conf, const uint8_t ip[4],
		       uint32_t *rank)
{
	return addr_ip_rank(&conf->net, get32(ip), rank) &&
	       *rank < conf->nranks;
}

static size_t put_arp_reply(const struct ether_arp *ask, uint32_t rank,
			    uint8_t *reply)
{
	struct ether_arp arp;
	uint8_t mac[ADDR_MAC_LEN];

	addr_mac(rank, mac);
	memset(reply, 0, ETH_FRAME_MIN);
	put_eth(reply, ask->arp_sha, mac, ETHERTYPE_ARP);
	arp.ea_hdr = ask->ea_hdr;
	arp.arp_op = htons(ARPOP_REPLY);
	memcpy(arp.arp_sha, mac, ADDR_MAC_LEN);
	memcpy(arp.arp_spa, ask->arp_tpa, 4);
	memcpy(arp.arp_tha, ask->arp_sha, ADDR_MAC_LEN);
	memcpy(arp.arp_tpa, ask->arp_spa, 4);
	memcpy(reply + sizeof(struct eth), &arp, sizeof(arp));
	return ETH_FRAME_MIN;
}

static enum answer answer_arp(const struct answer_conf *conf, uint32_t rank,
			      const struct eth *eth, const uint8_t *data,
			      size_t len, uint8_t *reply, size_t *reply_len)
{
	struct ether_arp arp;
	uint32_t sender, target;

	if (len < sizeof(arp))
		return ANSWER_NOT_OURS;
	memcpy(&arp, data, sizeof(arp));
	if (ntohs(arp.arp_hrd) != ARPHRD_ETHER ||
	    ntohs(arp.arp_pro) != ETHERTYPE_IP || arp.arp_hln != ADDR_MAC_LEN ||
	    arp.arp_pln != 4)
		return ANSWER_NOT_OURS;
	if (is_step_ip(conf, arp.arp_spa, &sender) && sender != rank)
		return ANSWER_SPOOFED;
	/* A request to one machine asks whether it is still there. */
	if (ntohs(arp.arp_op) != ARPOP_REQUEST || !(eth->dst[0] & 1) ||
	    !is_step_ip(conf, arp.arp_tpa, &target))
		return ANSWER_NOT_OURS;
	if (target == rank) /* a probe for, or news of, its own address */
		return ANSWER_SWALLOW;
	*reply_len = put_arp_reply(&arp, target, reply);
	return ANSWER_REPLY;
}

/* -- IPv6 neighbour discovery --------------------------------------------- */

struct ns { /* a neighbour solicitation and its IP header */
	struct ip6_hdr ip;
	struct nd_neighbor_solicit icmp;
};
struct na { /* the answer, with one option: the target's MAC */
	struct ip6_hdr ip;
	struct nd_neighbor_advert icmp;
	struct nd_opt_hdr opt;
	uint8_t mac[ADDR_MAC_LEN];
};
static_assert(sizeof(struct ns) == 64 && sizeof(struct na) == 72,
	      "no padding in packets");
static_assert(sizeof(struct eth) + sizeof(struct na) <= ANSWER_REPLY_MAX,
	      "an advertisement fits");

/* fe80::5054:ff:feXX:XXXX, the EUI-64 address of a rank's MAC */
static bool is_step_ip6(const struct answer_conf *conf,
			const struct in6_addr *ip, uint32_t *rank)
{
	static const uint8_t prefix[13] = { 0xfe, 0x80, [8] = 0x50, 0x54,
					    0x00, 0xff, 0xfe };

	if (memcmp(ip->s6_addr, prefix, sizeof(prefix)) != 0)
		return false;
	*rank = get32(ip->s6_addr + 12) & 0xffffff;
	return *rank < conf->nranks;
}

static uint16_t icmp6_checksum(const struct na *na)
{
	const size_t len = sizeof(*na) - sizeof(na->ip);
	const uint8_t *p = (const uint8_t *)&na->icmp;
	const uint8_t *addrs = (const uint8_t *)&na->ip.ip6_src;
	uint32_t sum = IPPROTO_ICMPV6 + (uint32_t)len;

	for (size_t i = 0; i < 32; i += 2)
		sum += get16(addrs + i);
	for (size_t i = 0; i < len; i += 2)
		sum += get16(p + i);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static size_t put_advert(const struct eth *eth, const struct ns *ns,
			 uint32_t rank, uint8_t *reply)
{
	static const uint8_t all_nodes_mac[] = { 0x33, 0x33, 0, 0, 0, 1 };
	static const struct in6_addr all_nodes = { { { 0xff, 2, [15] = 1 } } };
	bool probe = IN6_IS_ADDR_UNSPECIFIED(&ns->ip.ip6_src);
	struct na na = { .ip = ns->ip };

	addr_mac(rank, na.mac);
	na.ip.ip6_plen = htons(sizeof(na) - sizeof(na.ip));
	na.ip.ip6_src = ns->icmp.nd_ns_target;
	na.ip.ip6_dst = probe ? all_nodes : ns->ip.ip6_src;
	na.icmp.nd_na_type = ND_NEIGHBOR_ADVERT;
	na.icmp.nd_na_flags_reserved =
		ND_NA_FLAG_OVERRIDE | (probe ? 0 : ND_NA_FLAG_SOLICITED);
	na.icmp.nd_na_target = ns->icmp.nd_ns_target;
	na.opt.nd_opt_type = ND_OPT_TARGET_LINKADDR;
	na.opt.nd_opt_len = 1;
	put16((uint8_t *)&na.icmp.nd_na_cksum, icmp6_checksum(&na));
	put_eth(reply, probe ? all_nodes_mac : eth->src, na.mac,
		ETHERTYPE_IPV6);
	memcpy(reply + sizeof(struct eth), &na, sizeof(na));
	return sizeof(struct eth) + sizeof(na);
}

static enum answer answer_ns(const struct answer_conf *conf, uint32_t rank,
			     const struct eth *eth, const uint8_t *data,
			     size_t len, uint8_t *reply, size_t *reply_len)
{
	struct ns ns;
	uint32_t target;

	if (len < sizeof(ns))
		return ANSWER_NOT_OURS;
	memcpy(&ns, data, sizeof(ns));
	if (ns.ip.ip6_hlim != 255 || ns.icmp.nd_ns_code != 0 ||
	    !is_step_ip6(conf, &ns.icmp.nd_ns_target, &target))
		return ANSWER_NOT_OURS;
	if (target == rank) /* is its own address free? It is. */
		return ANSWER_SWALLOW;
	*reply_len = put_advert(eth, &ns, target, reply);
	return ANSWER_REPLY;
}

/* -- multicast that every guest sends at boot ----------------------------- */

#define PORT_MDNS  5353
#define PORT_LLMNR 5355

static enum answer swallow_udp(const uint8_t *udp, size_t len)
{
	uint16_t port;

	if (len < 8)
		return ANSWER_NOT_OURS;
	port = get16(udp + 2);
	return port == PORT_MDNS || port == PORT_LLMNR ? ANSWER_SWALLOW
						       : ANSWER_NOT_OURS;
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

static enum answer answer_ip4(const uint8_t *data, size_t len)
{
	size_t header;

	if (len < 20 || data[0] >> 4 != 4)
		return ANSWER_NOT_OURS;
	header = (size_t)(data[0] & 15) * 4;
	if (header < 20 || header > len || get16(data + 6) & 0x1fff)
		return ANSWER_NOT_OURS; /* malformed, or a later fragment */
	switch (data[9]) {
	case IPPROTO_IGMP:
		return swallow_igmp(data + header, len - header);
	case IPPROTO_UDP:
		return swallow_udp(data + header, len - header);
	default:
		return ANSWER_NOT_OURS;
	}
}

static bool is_boot_icmp6(uint8_t type)
{
	return type == ND_ROUTER_SOLICIT || type == MLD_LISTENER_REPORT ||
	       type == MLD_LISTENER_REDUCTION ||
	       type == 143; /* MLDv2 report: RFC 3810, not in icmp6.h */
}

static enum answer answer_ip6(const struct answer_conf *conf, uint32_t rank,
			      const struct eth *eth, const uint8_t *data,
			      size_t len, uint8_t *reply, size_t *reply_len)
{
	size_t at = sizeof(struct ip6_hdr);
	uint8_t next;

	if (len <= at || data[0] >> 4 != 6)
		return ANSWER_NOT_OURS;
	next = data[6];
	if (next == IPPROTO_HOPOPTS) { /* MLD has a router alert there */
		next = data[at];
		if (len - at < 8 || len - at <= 8 + (size_t)data[at + 1] * 8)
			return ANSWER_NOT_OURS;
		at += 8 + (size_t)data[at + 1] * 8;
	}
	if (next == IPPROTO_UDP)
		return swallow_udp(data + at, len - at);
	if (next != IPPROTO_ICMPV6)
		return ANSWER_NOT_OURS;
	if (is_boot_icmp6(data[at]))
		return ANSWER_SWALLOW;
	if (data[at] == ND_NEIGHBOR_SOLICIT && at == sizeof(struct ip6_hdr))
		return answer_ns(conf, rank, eth, data, len, reply, reply_len);
	return ANSWER_NOT_OURS;
}

/* 01:80:c2:00:00:0x is for the next bridge only: STP, LLDP, pause. */
static bool is_bridge_group(const uint8_t mac[ADDR_MAC_LEN])
{
	static const uint8_t group[5] = { 0x01, 0x80, 0xc2, 0x00, 0x00 };

	return memcmp(mac, group, sizeof(group)) == 0 && mac[5] < 0x10;
}

bool answer_may_be_ours(const uint8_t *header)
{
	return (header[0] & 1) || get16(header + 12) == ETHERTYPE_ARP;
}

enum answer answer_frame(const struct answer_conf *conf, uint32_t rank,
			 const uint8_t *frame, size_t len,
			 uint8_t reply[ANSWER_REPLY_MAX], size_t *reply_len)
{
	const uint8_t *data = frame + sizeof(struct eth);
	struct eth eth;

	memcpy(&eth, frame, sizeof(eth));
	len -= sizeof(eth);
	if (get16(eth.type) == ETHERTYPE_ARP)
		return answer_arp(conf, rank, &eth, data, len, reply,
				  reply_len);
	if (!(eth.dst[0] & 1))
		return ANSWER_NOT_OURS;
	if (is_bridge_group(eth.dst))
		return ANSWER_SWALLOW;
	switch (get16(eth.type)) {
	case ETHERTYPE_IP:
		return answer_ip4(data, len);
	case ETHERTYPE_IPV6:
		return answer_ip6(conf, rank, &eth, data, len, reply,
				  reply_len);
	default:
		return ANSWER_NOT_OURS;
	}
}
