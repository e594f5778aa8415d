#include "addr.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rankset.h"

static const uint8_t oui[3] = { 0x52, 0x54, 0x00 };
const uint8_t addr_service_mac[ADDR_MAC_LEN] = { 0x52, 0x54, 0x00,
						 0xff, 0xff, 0xff };

void addr_mac(uint32_t rank, uint8_t mac[ADDR_MAC_LEN])
{
	memcpy(mac, oui, sizeof(oui));
	mac[3] = (uint8_t)(rank >> 16);
	mac[4] = (uint8_t)(rank >> 8);
	mac[5] = (uint8_t)rank;
}

bool addr_mac_rank(const uint8_t mac[ADDR_MAC_LEN], uint32_t *ret)
{
	if (memcmp(mac, oui, sizeof(oui)) != 0)
		return false;
	*ret = (uint32_t)mac[3] << 16 | (uint32_t)mac[4] << 8 | mac[5];
	return true;
}

void addr_mac_text(uint32_t rank, char text[18])
{
	uint8_t m[ADDR_MAC_LEN];

	addr_mac(rank, m);
	snprintf(text, 18, "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2],
		 m[3], m[4], m[5]);
}

int addr_net_parse(const char *text, struct addr_net *ret, struct errmsg *err)
{
	const char *slash = strchr(text, '/');
	char ip[INET_ADDRSTRLEN];
	struct in_addr in;
	char *end;
	long prefix;
	uint32_t mask;

	if (!slash || slash == text || (size_t)(slash - text) >= sizeof(ip))
		goto bad;
	memcpy(ip, text, (size_t)(slash - text));
	ip[slash - text] = '\0';
	if (!isdigit((unsigned char)slash[1])) /* strtol() takes " +8" too */
		goto bad;
	errno = 0;
	prefix = strtol(slash + 1, &end, 10);
	if (inet_pton(AF_INET, ip, &in) != 1 || end == slash + 1 || *end ||
	    errno || prefix < 1 || prefix > 30)
		goto bad;
	mask = ~0u << (32 - prefix);
	if (ntohl(in.s_addr) & ~mask)
		return errmsg_say(
			err, -EINVAL,
			"network '%s' has host bits set: write the network's own address",
			text);
	*ret = (struct addr_net){ ntohl(in.s_addr), (int)prefix };
	return 0;
bad:
	return errmsg_say(
		err, -EINVAL,
		"'%s' is not an IPv4 network: write it as in 10.0.0.0/8, with a prefix of 1 to 30",
		text);
}

uint32_t addr_net_ranks(const struct addr_net *net)
{
	uint64_t hosts = (1ull << (32 - net->prefix)) - 3;

	return hosts > (uint64_t)RANK_MAX + 1 ? RANK_MAX + 1 : (uint32_t)hosts;
}

uint32_t addr_ip(const struct addr_net *net, uint32_t rank)
{
	return net->base + 1 + rank;
}

bool addr_ip_rank(const struct addr_net *net, uint32_t ip, uint32_t *ret)
{
	if (ip <= net->base || ip - net->base - 1 >= addr_net_ranks(net))
		return false;
	*ret = ip - net->base - 1;
	return true;
}

uint32_t addr_service_ip(const struct addr_net *net)
{
	return (net->base | ~0u >> net->prefix) - 1;
}

static const uint8_t ip6_prefix[13] = { 0xfe, 0x80, [8] = 0x50, 0x54,
					0x00, 0xff, 0xfe };

void addr_ip6(uint32_t rank, uint8_t ip[16])
{
	memcpy(ip, ip6_prefix, sizeof(ip6_prefix));
	ip[13] = (uint8_t)(rank >> 16);
	ip[14] = (uint8_t)(rank >> 8);
	ip[15] = (uint8_t)rank;
}

bool addr_ip6_rank(const uint8_t ip[16], uint32_t *ret)
{
	if (memcmp(ip, ip6_prefix, sizeof(ip6_prefix)) != 0)
		return false;
	*ret = (uint32_t)ip[13] << 16 | (uint32_t)ip[14] << 8 | ip[15];
	return true;
}

void addr_ip_text(uint32_t ip, char text[INET_ADDRSTRLEN])
{
	struct in_addr in = { htonl(ip) };

	inet_ntop(AF_INET, &in, text, INET_ADDRSTRLEN);
}
