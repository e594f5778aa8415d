#include <config.h>

#include "answer_impl.h"

#include <string.h>
#include <net/ethernet.h>
#include <net/if_arp.h>
#include <netinet/icmp6.h>
#include <netinet/if_ether.h>
#include <netinet/ip6.h>

/* -- ARP ------------------------------------------------------------------ */

/* Whose address is it? False: nobody's that we know. */
static bool find_ip(const struct ask *a, const uint8_t ip[4],
		    uint8_t mac[ADDR_MAC_LEN])
{
	uint32_t rank, addr = header_get32(ip);

	if (addr == addr_service_ip(&a->conf->net)) {
		memcpy(mac, addr_service_mac, ADDR_MAC_LEN);
		return true;
	}
	if (!addr_ip_rank(&a->conf->net, addr, &rank) ||
	    rank >= a->conf->nranks)
		return false;
	addr_mac(rank, mac);
	return true;
}

static void put_arp_reply(struct ask *a, const struct ether_arp *ask,
			  const uint8_t mac[ADDR_MAC_LEN])
{
	struct ether_arp arp;

	memset(a->reply, 0, INET_FRAME_MIN);
	inet_put_eth(a->reply, ask->arp_sha, mac, ETHERTYPE_ARP);
	arp.ea_hdr = ask->ea_hdr;
	arp.arp_op = htons(ARPOP_REPLY);
	memcpy(arp.arp_sha, mac, ADDR_MAC_LEN);
	memcpy(arp.arp_spa, ask->arp_tpa, 4);
	memcpy(arp.arp_tha, ask->arp_sha, ADDR_MAC_LEN);
	memcpy(arp.arp_tpa, ask->arp_spa, 4);
	memcpy(a->reply + sizeof(struct inet_eth), &arp, sizeof(arp));
	a->reply_len = INET_FRAME_MIN;
}

enum answer answer_arp(struct ask *a)
{
	struct ether_arp arp;
	uint8_t own[ADDR_MAC_LEN], mac[ADDR_MAC_LEN];

	if (a->len < sizeof(arp))
		return ANSWER_NOT_OURS;
	memcpy(&arp, a->data, sizeof(arp));
	if (ntohs(arp.arp_hrd) != ARPHRD_ETHER ||
	    ntohs(arp.arp_pro) != ETHERTYPE_IP || arp.arp_hln != ADDR_MAC_LEN ||
	    arp.arp_pln != 4)
		return ANSWER_NOT_OURS;
	addr_mac(a->rank, own);
	if (find_ip(a, arp.arp_spa, mac) && memcmp(mac, own, sizeof(own)) != 0)
		return ANSWER_SPOOFED;
	/* A request to one machine asks whether it is still there. */
	if (ntohs(arp.arp_op) != ARPOP_REQUEST ||
	    !(answer_is_group(a) || answer_is_to_service(a)) ||
	    !find_ip(a, arp.arp_tpa, mac))
		return ANSWER_NOT_OURS;
	/* a probe for, or news of, its own address */
	if (memcmp(mac, own, sizeof(own)) == 0)
		return ANSWER_SWALLOW;
	put_arp_reply(a, &arp, mac);
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
static_assert(sizeof(struct inet_eth) + sizeof(struct na) <= ANSWER_REPLY_MAX,
	      "an advertisement fits");

static void put_advert(struct ask *a, const struct ns *ns, uint32_t rank)
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
	na.icmp.nd_na_cksum = htons(inet_icmp6_checksum(
		(const uint8_t *)&na, &na.icmp, sizeof(na) - sizeof(na.ip)));
	inet_put_eth(a->reply, probe ? all_nodes_mac : a->eth.src, na.mac,
		     ETHERTYPE_IPV6);
	memcpy(a->reply + sizeof(struct inet_eth), &na, sizeof(na));
	a->reply_len = sizeof(struct inet_eth) + sizeof(na);
}

enum answer answer_solicit(struct ask *a)
{
	struct ns ns;
	uint32_t target;

	if (a->len < sizeof(ns))
		return ANSWER_NOT_OURS;
	memcpy(&ns, a->data, sizeof(ns));
	if (ns.ip.ip6_hlim != 255 || ns.icmp.nd_ns_code != 0 ||
	    !addr_ip6_rank(ns.icmp.nd_ns_target.s6_addr, &target) ||
	    target >= a->conf->nranks)
		return ANSWER_NOT_OURS;
	if (target == a->rank) /* is its own address free? It is. */
		return ANSWER_SWALLOW;
	put_advert(a, &ns, target);
	return ANSWER_REPLY;
}
