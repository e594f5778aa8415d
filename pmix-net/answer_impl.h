/* answer_impl.h - what the files of answer.h share */
#ifndef VMSTEP_ANSWER_IMPL_H
#define VMSTEP_ANSWER_IMPL_H

#include "answer.h"
#include "inet.h"

enum {
	PORT_DNS = 53,
	PORT_DHCP_SERVER = 67,
	PORT_DHCP_CLIENT = 68,
	PORT_MDNS = 5353,
	PORT_LLMNR = 5355,
};

struct ask {
	const struct answer_conf *conf;
	uint32_t rank; /* who asks */
	struct inet_eth eth;
	const uint8_t *data; /* what follows it */
	size_t len;
	uint8_t *reply; /* ANSWER_REPLY_MAX bytes */
	size_t reply_len;
};

static inline bool answer_is_group(const struct ask *a)
{
	return a->eth.dst[0] & 1;
}

bool answer_is_to_service(const struct ask *a); /* by MAC address */

/* answer_neigh.c: who has an address? An ARP packet; an IPv6 packet that
 * has a neighbour solicitation right behind its header. */
enum answer answer_arp(struct ask *a);
enum answer answer_solicit(struct ask *a);

/* answer_service.c: a DHCP message to all or to the service; whatever else is
 * sent to the service's MAC address in IPv4. */
enum answer answer_dhcp(struct ask *a, const struct inet_ip4 *ip,
			const struct inet_udp *udp);
enum answer answer_service(struct ask *a, const struct inet_ip4 *ip);

#endif
