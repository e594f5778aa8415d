/* test_group.h - what guests say of multicast groups, for tests */
#ifndef VMSTEP_TEST_GROUP_H
#define VMSTEP_TEST_GROUP_H

#include "inet.h"
#include "snoop.h"
#include "test_frame.h"

#define TEST_G4(a, b, c, d)                   \
	((struct group){ .ip = { [10] = 0xff, \
				 [11] = 0xff, \
				 [12] = (a),  \
				 [13] = (b),  \
				 [14] = (c),  \
				 [15] = (d) } })
/* ffXX::N */
#define TEST_G6(scope, n) \
	((struct group){  \
		.ip = { 0xff, (scope), [14] = (n) >> 8, [15] = (n)&0xff } })

static inline void test_group_mac(const struct group *g, uint8_t mac[6])
{
	const uint8_t mac4[] = { 0x01,	    0x00,     0x5e, g->ip[13] & 0x7f,
				 g->ip[14], g->ip[15] };
	const uint8_t mac6[] = { 0x33,	    0x33,      g->ip[12],
				 g->ip[13], g->ip[14], g->ip[15] };

	memcpy(mac, group_is_ip4(g) ? mac4 : mac6, 6);
}

/* An IPv4 or IPv6 packet from rank @from to @g around @len bytes that lie at
 * what this returns; @protocol 2 and 58 as IGMP and MLD have them. */
static inline uint8_t *test_group_packet(uint8_t *frame, uint32_t from,
					 const struct group *g,
					 uint8_t protocol, size_t len)
{
	uint8_t dst[6], src[6], *p;

	test_group_mac(g, dst);
	addr_mac(from, src);
	p = frame +
	    test_eth(frame, dst, src, group_is_ip4(g) ? 0x0800 : 0x86dd);
	if (group_is_ip4(g)) {
		memset(p, 0, 20);
		p[0] = 0x45;
		header_put16(p + IP4_LENGTH, (uint16_t)(20 + len));
		p[IP4_TTL] = 1;
		p[IP4_PROTO] = protocol;
		header_put32(p + IP4_SRC, 0x0a000001 + from);
		memcpy(p + IP4_DST, g->ip + 12, 4);
		return p + 20;
	}
	memset(p, 0, 48);
	p[0] = 0x60;
	header_put16(p + IP6_LENGTH, (uint16_t)(8 + len));
	p[IP6_HOPS] = 1;
	addr_ip6(from, p + IP6_SRC);
	memcpy(p + IP6_DST, g->ip, 16);
	p[40] = protocol; /* behind a router alert */
	p[42] = 5;
	p[43] = 2;
	p[46] = 1;
	return p + 48;
}

/* A report (or a leave) of one group in IGMPv2 or MLDv1. */
static inline size_t test_report(uint8_t *frame, uint32_t from,
				 const struct group *g, bool leave)
{
	static const struct group routers4 = TEST_G4(224, 0, 0, 2);
	static const struct group routers6 = TEST_G6(2, 2);
	bool ip4 = group_is_ip4(g);
	const struct group *to = !leave ? g : ip4 ? &routers4 : &routers6;
	size_t len = ip4 ? 8 : 24;
	uint8_t *m = test_group_packet(frame, from, to, ip4 ? 2 : 58, len);

	memset(m, 0, len);
	if (ip4) {
		m[0] = leave ? 0x17 : 0x16;
		memcpy(m + 4, g->ip + 12, 4);
		header_put16(m + 2, inet_checksum(inet_sum(0, m, len)));
	} else {
		m[0] = leave ? 132 : 131;
		memcpy(m + 8, g->ip, 16);
		header_put16(m + 2, inet_icmp6_checksum(frame + 14, m, len));
	}
	return (size_t)(m - frame) + len;
}

/* Data of @len bytes, the headers included, for @g. */
static inline size_t test_group_data(uint8_t *frame, uint32_t from,
				     const struct group *g, size_t len)
{
	uint8_t *data = test_group_packet(frame, from, g, 200,
					  len - (group_is_ip4(g) ? 34 : 62));

	memset(data, 0x5a, len - (size_t)(data - frame));
	return len;
}

#endif
