/* addr.h - a guest's addresses follow from its rank
 *
 *   MAC   52:54:00, then the rank in 24 bits, big endian
 *   IPv4  the step's network (10.0.0.0/8 by default) + 1 + rank
 *   IPv6  fe80::5054:ff:fe00:0 + rank: of this link only, from the MAC (EUI-64)
 *
 * The network's last host address, and the last MAC address, are no rank's:
 * they are the service's, at which vmstep-net itself answers.
 */
#ifndef VMSTEP_ADDR_H
#define VMSTEP_ADDR_H

#include <stdbool.h>
#include <stdint.h>
#include <netinet/in.h>

#include "errmsg.h"

#define ADDR_MAC_LEN 6

struct addr_net {
	uint32_t base; /* host byte order, host bits clear */
	int prefix;    /* 1..30 */
};

void addr_mac(uint32_t rank, uint8_t mac[ADDR_MAC_LEN]);
/* The rank that @mac names, in @ret; false where it is not one of ours. */
bool addr_mac_rank(const uint8_t mac[ADDR_MAC_LEN], uint32_t *ret);
/* "52:54:00:00:00:03" */
void addr_mac_text(uint32_t rank, char text[18]);

/* "10.0.0.0/8"; -EINVAL with words where it does not parse. */
int addr_net_parse(const char *text, struct addr_net *ret, struct errmsg *err);
/* How many ranks fit: the addresses of network, service and broadcast are not
 * given out. */
uint32_t addr_net_ranks(const struct addr_net *net);
uint32_t addr_ip(const struct addr_net *net, uint32_t rank); /* host order */
bool addr_ip_rank(const struct addr_net *net, uint32_t ip, uint32_t *ret);
/* 10.255.255.254 of 10.0.0.0/8; host order */
uint32_t addr_service_ip(const struct addr_net *net);
extern const uint8_t addr_service_mac[ADDR_MAC_LEN];
void addr_ip6(uint32_t rank, uint8_t ip[16]);
bool addr_ip6_rank(const uint8_t ip[16], uint32_t *ret);
void addr_ip_text(uint32_t ip, char text[INET_ADDRSTRLEN]);

#endif
