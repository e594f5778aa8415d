#include <config.h>

#include "boot.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <netinet/in.h>
#include <netinet/icmp6.h>

#include "addr.h"
#include "bench.h"
#include "checksum.h"
#include "headers.h"

#define MAGIC_NS   0xa1b23c4d
#define FILE_HEAD  24
#define FRAMES_MAX 256
#define ICMP_SUM   2 /* of ICMPv6 and IGMP */
#define HOP_BY_HOP 0

struct boot {
	uint32_t rank;
	unsigned int n;
	size_t len[FRAMES_MAX];
	uint8_t frame[FRAMES_MAX][BOOT_FRAME_MAX];
};

/* -- the file ------------------------------------------------------------- */

struct record {
	uint32_t s, ns, len, wire_len;
};

static bool read_record(FILE *f, const char *path, struct record *r,
			uint8_t frame[BOOT_FRAME_MAX])
{
	if (fread(r, sizeof(*r), 1, f) != 1)
		return false;
	if (r->len > BOOT_FRAME_MAX || r->len != r->wire_len ||
	    fread(frame, r->len, 1, f) != 1)
		die("%s: a frame of %u bytes", path, r->len);
	return true;
}

/* A guest's first frame is its own: nobody knows it before. */
static void take(struct boot *b, const uint8_t *frame, size_t len,
		 const char *path)
{
	uint32_t rank;

	if (!addr_mac_rank(frame + ADDR_MAC_LEN, &rank))
		return; /* the service's answers */
	if (!b->n)
		b->rank = rank;
	if (rank != b->rank)
		return;
	if (b->n == FRAMES_MAX)
		die("%s: more than %d frames", path, FRAMES_MAX);
	memcpy(b->frame[b->n], frame, len);
	b->len[b->n++] = len;
}

struct boot *boot_load(const char *path)
{
	struct boot *b = calloc(1, sizeof(*b));
	uint8_t frame[BOOT_FRAME_MAX];
	uint32_t head[FILE_HEAD / 4];
	FILE *f = fopen(path, "re");
	struct record r;

	if (!b)
		die("out of memory");
	if (!f || fread(head, FILE_HEAD, 1, f) != 1 || head[0] != MAGIC_NS)
		die("%s: no capture of ours", path);
	while (read_record(f, path, &r, frame))
		take(b, frame, r.len, path);
	fclose(f);
	if (!b->n)
		die("%s: no guest's frame", path);
	return b;
}

void boot_free(struct boot *b)
{
	free(b);
}

unsigned int boot_frames(const struct boot *b)
{
	return b->n;
}

/* -- another guest's ------------------------------------------------------ */

static void replace(uint8_t *p, size_t len, const uint8_t *from,
		    const uint8_t *to, size_t n)
{
	for (size_t i = 0; i + n <= len; i++)
		if (memcmp(p + i, from, n) == 0)
			memcpy(p + i, to, n);
}

/* Wherever they are: in headers, in what ARP, neighbour discovery and DHCP
 * carry, in the group that neighbours ask. */
static void replace_addresses(uint8_t *p, size_t len, uint32_t from,
			      uint32_t to)
{
	const struct addr_net net = { 0x0a000000, 8 };
	uint8_t old[2][16], group[2][6] = { { 0x33, 0x33, 0xff } };
	const uint32_t ranks[2] = { from, to };
	uint32_t ip[2];

	memcpy(group[1], group[0], sizeof(group[0]));
	for (int i = 0; i < 2; i++)
		addr_mac(ranks[i], old[i]);
	replace(p, len, old[0], old[1], ADDR_MAC_LEN);
	for (int i = 0; i < 2; i++)
		addr_ip6(ranks[i], old[i]);
	replace(p, len, old[0] + 8, old[1] + 8, 8);
	for (int i = 0; i < 2; i++)
		memcpy(group[i] + 3, old[i] + 13, 3);
	replace(p, len, group[0], group[1], 6);
	/* ff02::1:ffXX:XXXX ends with 1, 255 and these three bytes */
	for (int i = 0; i < 2; i++)
		memcpy(group[i], (uint8_t[]){ 0, 1, 0xff }, 3);
	replace(p, len, group[0], group[1], 6);
	for (int i = 0; i < 2; i++)
		ip[i] = htonl(addr_ip(&net, ranks[i]));
	replace(p, len, (uint8_t *)&ip[0], (uint8_t *)&ip[1], sizeof(ip[0]));
}

/* -- checksums ------------------------------------------------------------ */

/* @at: the checksum of the @len bytes at @p, to which @pseudo is added. */
static void put_sum(uint8_t *p, size_t len, size_t at, uint32_t pseudo)
{
	uint16_t sum;

	header_put16(p + at, 0);
	sum = (uint16_t)~checksum_fold(pseudo + checksum_sum(p, len));
	header_put16(p + at, sum ? sum : 0xffff);
}

static void sum_transport(uint8_t *p, size_t len, uint8_t proto,
			  uint32_t addresses)
{
	uint32_t pseudo = addresses + proto + (uint32_t)len;

	if (proto == IPPROTO_UDP && header_get16(p + UDP_CHECKSUM))
		put_sum(p, len, UDP_CHECKSUM, pseudo);
	else if (proto == IPPROTO_TCP)
		put_sum(p, len, TCP_CHECKSUM, pseudo);
	else if (proto == IPPROTO_ICMPV6)
		put_sum(p, len, ICMP_SUM, pseudo);
	else if (proto == IPPROTO_IGMP || proto == IPPROTO_ICMP)
		put_sum(p, len, ICMP_SUM, 0);
}

static void sum_ip4(uint8_t *p, size_t len)
{
	size_t head = (size_t)(p[0] & 15) * 4, total = header_get16(p + 2);

	if (head < IP4_BYTES || total < head || total > len)
		die("a boot's frame with bad IPv4");
	put_sum(p, head, IP4_CHECKSUM, 0);
	sum_transport(p + head, total - head, p[IP4_PROTO],
		      checksum_sum(p + IP4_SRC, 8));
}

static void sum_ip6(uint8_t *p, size_t len)
{
	size_t at = IP6_BYTES, end = IP6_BYTES + header_get16(p + IP6_LENGTH);
	uint8_t next = p[IP6_NEXT];

	if (end > len)
		die("a boot's frame with bad IPv6");
	if (next == HOP_BY_HOP) {
		next = p[at];
		at += ((size_t)p[at + 1] + 1) * 8;
	}
	sum_transport(p + at, end - at, next, checksum_sum(p + 8, 32));
}

size_t boot_frame(const struct boot *b, unsigned int n, uint32_t rank,
		  uint8_t frame[BOOT_FRAME_MAX])
{
	size_t len = b->len[n], at;
	uint16_t type = 0;

	memcpy(frame, b->frame[n], len);
	replace_addresses(frame, len, b->rank, rank);
	at = header_packet(frame, len, &type);
	if (type == ETH_TYPE_IP4)
		sum_ip4(frame + at, len - at);
	else if (type == ETH_TYPE_IP6)
		sum_ip6(frame + at, len - at);
	return len;
}
