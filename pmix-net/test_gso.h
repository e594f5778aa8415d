/* test_gso.h - packets to be cut, and what shall become of them
 *
 * Built byte by byte and summed up naively, from the RFCs, with nothing of the
 * modules that are tested.
 */
#ifndef VMSTEP_TEST_GSO_H
#define VMSTEP_TEST_GSO_H

#include <stdbool.h>
#include <string.h>

#include "offload.h"

struct test_gso {
	const char *name;
	bool ip6, udp;
	bool routed; /* IPv6: extra is a routing header, not yet done with */
	int tags;
	size_t extra; /* bytes of IPv4 options, or of IPv6 extensions */
	size_t tcp_options;
	uint8_t tcp_flags;
	size_t payload;
	uint16_t gso_size;
};

#define TEST_GSO_SEQ 0xffffff00u /* wraps around */
#define TEST_GSO_ID  0xfffe	 /* likewise */

static inline uint32_t test_sum(const uint8_t *p, size_t len, uint32_t sum)
{
	for (size_t i = 0; i < len; i++) {
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
		if (sum > 0xffff)
			sum -= 0xffff;
	}
	return sum;
}

static inline void test_put16(uint8_t *p, size_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline uint8_t test_payload(size_t at)
{
	return (uint8_t)(at * 7 + (at >> 8) * 13 + 3);
}

static inline size_t test_ip_at(const struct test_gso *g)
{
	return 14 + 4 * (size_t)g->tags;
}

static inline size_t test_l4_at(const struct test_gso *g)
{
	return test_ip_at(g) + (g->ip6 ? 40 : 20) + g->extra;
}

static inline size_t test_header_len(const struct test_gso *g)
{
	return test_l4_at(g) + (g->udp ? 8 : 20 + g->tcp_options);
}

static inline void test_put_eth(const struct test_gso *g, uint8_t *p)
{
	static const uint8_t macs[12] = { 0x52, 0x54, 0, 0, 0, 1,
					  0x52, 0x54, 0, 0, 0, 2 };

	memcpy(p, macs, 12);
	p += 12;
	for (int i = g->tags; i > 0; i--, p += 4) {
		test_put16(p, i == 2 ? 0x88a8 : 0x8100);
		test_put16(p + 2, 0x2000 + (size_t)i);
	}
	test_put16(p, g->ip6 ? 0x86dd : 0x0800);
}

static inline void test_put_ip4(const struct test_gso *g, size_t len,
				size_t index, uint8_t *p)
{
	static const uint8_t rest[] = { 0x40, 0, 64, 0,	 0, 0, 10,
					0,    0, 1,  10, 0, 0, 2 };

	p[0] = (uint8_t)(0x40 | (20 + g->extra) / 4);
	p[1] = 0x02; /* ECT */
	test_put16(p + 2, len);
	test_put16(p + 4, TEST_GSO_ID + index);
	memcpy(p + 6, rest, sizeof(rest));
	p[9] = g->udp ? 17 : 6;
	memset(p + 20, 1, g->extra); /* NOP */
	test_put16(p + 10, 0xffff - test_sum(p, 20 + g->extra, 0));
}

static inline void test_put_ip6(const struct test_gso *g, size_t len,
				uint8_t *p)
{
	static const uint8_t fixed[8] = { 0x60, 0x20, 0, 0, 0, 0, 0, 64 };
	uint8_t proto = g->udp ? 17 : 6, *next = p + 6, *ext = p + 40;

	memcpy(p, fixed, 8);
	test_put16(p + 4, len - 40);
	for (size_t i = 0; i < 32; i++)
		p[8 + i] = (uint8_t)(0xfd + i * 3);
	memset(ext, 0, g->extra);
	for (; ext < p + 40 + g->extra; ext += 8) {
		/* hop by hop first, then for the destination; or routing */
		*next = g->routed ? 43 : ext == p + 40 ? 0 : 60;
		next = ext;
		if (g->routed) { /* RFC 6275, 6.4: one address to go to */
			ext[1] = 2;
			ext[2] = 2;
			ext[3] = 1;
			memset(ext + 8, 0x77, 16);
			ext += 16;
		} else {
			ext[2] = 1; /* PadN */
			ext[3] = 4;
		}
	}
	*next = proto;
}

static inline uint32_t test_pseudo(const struct test_gso *g, const uint8_t *ip,
				   size_t len)
{
	uint8_t proto_len[4] = { 0, g->udp ? 17 : 6 };
	uint32_t sum;

	test_put16(proto_len + 2, len);
	sum = test_sum(proto_len, 4, 0);
	if (!g->ip6)
		return test_sum(ip + 12, 8, sum);
	sum = test_sum(ip + 8, 16, sum);
	return test_sum(g->routed ? ip + 48 : ip + 24, 16, sum);
}

static inline void test_put_tcp(const struct test_gso *g, size_t from,
				size_t len, uint8_t *p)
{
	uint32_t seq = TEST_GSO_SEQ + (uint32_t)from;

	memset(p, 0x11, 20 + g->tcp_options);
	test_put16(p + 4, seq >> 16);
	test_put16(p + 6, seq & 0xffff);
	p[12] = (uint8_t)((20 + g->tcp_options) / 4 << 4);
	p[13] = g->tcp_flags;
	if (from + len < g->payload)
		p[13] &= 0xf6; /* no FIN, no PSH */
	if (from > 0)
		p[13] &= 0x7f; /* no CWR */
}

/* The frame with @len bytes of payload, starting with byte @from; its checksum
 * filled in, or the pseudo header's only. Returns its length. */
static inline size_t test_gso_build(const struct test_gso *g, size_t from,
				    size_t len, bool complete, uint8_t *frame)
{
	size_t end = test_header_len(g) + len, l4_len = end - test_l4_at(g);
	uint8_t *ip = frame + test_ip_at(g), *l4 = frame + test_l4_at(g);
	uint8_t *sum = l4 + (g->udp ? 6 : 16);
	uint32_t total;

	test_put_eth(g, frame);
	if (g->ip6)
		test_put_ip6(g, end - test_ip_at(g), ip);
	else
		test_put_ip4(g, end - test_ip_at(g),
			     from ? from / g->gso_size : 0, ip);
	if (g->udp) {
		memset(l4, 0x22, 8);
		test_put16(l4 + 4, l4_len);
	} else {
		test_put_tcp(g, from, len, l4);
	}
	for (size_t i = 0; i < len; i++)
		frame[end - len + i] = test_payload(from + i);
	test_put16(sum, test_pseudo(g, ip, l4_len));
	if (complete) {
		total = 0xffff - test_sum(l4, l4_len, 0);
		test_put16(sum, total ? total : 0xffff);
	}
	return end;
}

/* The whole packet, as Linux hands it to its driver. */
static inline struct packet test_gso_packet(const struct test_gso *g,
					    uint8_t *frame)
{
	size_t len = test_gso_build(g, 0, g->payload, false, frame);
	struct packet p = packet_flat(frame, len);
	uint8_t tso =
		g->ip6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4;

	p.offload = (struct offload){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso = g->udp ? VIRTIO_NET_HDR_GSO_UDP_L4 : tso,
		.hdr_len = (uint16_t)test_header_len(g),
		.gso_size = g->gso_size,
		.csum_start = (uint16_t)test_l4_at(g),
		.csum_offset = g->udp ? 6 : 16,
	};
	if (g->tcp_flags & 0x80)
		p.offload.gso |= VIRTIO_NET_HDR_GSO_ECN;
	return p;
}

static const struct test_gso test_gsos[] = {
	{ .name = "TCP4", .payload = 4380, .gso_size = 1460 },
	{ .name = "TCP4, last one short", .payload = 5001, .gso_size = 1000 },
	{ .name = "TCP4, odd",
	  .payload = 64001,
	  .gso_size = 1447,
	  .tcp_options = 12,
	  .tcp_flags = 0x99 },
	{ .name = "TCP4, options, tag",
	  .payload = 3000,
	  .gso_size = 1201,
	  .extra = 40,
	  .tcp_options = 40,
	  .tags = 1,
	  .tcp_flags = 0x18 },
	{ .name = "TCP4, two tags", .payload = 2, .gso_size = 1, .tags = 2 },
	{ .name = "TCP4, longest",
	  .payload = 65495,
	  .gso_size = 8948,
	  .tcp_flags = 0x11 },
	{ .name = "TCP4, most segments", .payload = 2048 * 5, .gso_size = 5 },
	{ .name = "TCP6",
	  .ip6 = true,
	  .payload = 64000,
	  .gso_size = 1428,
	  .tcp_options = 12,
	  .tcp_flags = 0x98 },
	{ .name = "TCP6, extensions, two tags",
	  .ip6 = true,
	  .payload = 8000,
	  .gso_size = 999,
	  .extra = 24,
	  .tcp_options = 40,
	  .tags = 2,
	  .tcp_flags = 0x90 },
	{ .name = "TCP6, routing header, tag",
	  .ip6 = true,
	  .routed = true,
	  .payload = 8001,
	  .gso_size = 1400,
	  .extra = 24,
	  .tags = 1 },
	{ .name = "TCP6, huge segment",
	  .ip6 = true,
	  .payload = 60001,
	  .gso_size = 60000 },
	{ .name = "UDP4", .udp = true, .payload = 6000, .gso_size = 1200 },
	{ .name = "UDP4, odd, options, tags",
	  .udp = true,
	  .payload = 65001,
	  .gso_size = 1471,
	  .extra = 8,
	  .tags = 2 },
	{ .name = "UDP6",
	  .ip6 = true,
	  .udp = true,
	  .payload = 12345,
	  .gso_size = 512 },
	{ .name = "UDP6, extensions, tag",
	  .ip6 = true,
	  .udp = true,
	  .payload = 65,
	  .gso_size = 1,
	  .extra = 8,
	  .tags = 1 },
};
#define TEST_GSOS (sizeof(test_gsos) / sizeof(test_gsos[0]))

#endif
