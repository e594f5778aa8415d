#include <config.h>

#include "frames.h"

#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <string.h>

#include "addr.h"
#include "bench.h"
#include "link_wire.h"

#define ETH	     14
#define TYPE_IPV4    0x0800
#define TYPE_CHECKED 0x88b5 /* "local experimental" */
#define MSS	     1448

static void put_eth(uint8_t *at, uint32_t to, uint32_t from, uint16_t type)
{
	addr_mac(to, at);
	addr_mac(from, at + ADDR_MAC_LEN);
	at[12] = (uint8_t)(type >> 8);
	at[13] = (uint8_t)type;
}

/* -- what a guest's CPU does ---------------------------------------------- */

void dirty(uint8_t *p, size_t len, uint64_t seed)
{
	memset(p, (int)(seed & 0xff), len);
	if (len >= sizeof(seed))
		memcpy(p, &seed, sizeof(seed));
}

static uint64_t word(const uint8_t *p)
{
	uint64_t w;

	memcpy(&w, p, sizeof(w));
	return w;
}

uint64_t digest(const uint8_t *p, size_t len)
{
	uint64_t a = 0, b = 0, c = 0, d = 0;

	for (; len >= 32; len -= 32, p += 32) {
		a += word(p);
		b += word(p + 8);
		c += word(p + 16);
		d += word(p + 24);
	}
	for (; len; len--)
		a += *p++;
	return a + b * 3 + c * 5 + d * 7;
}

/* -- plain load ----------------------------------------------------------- */

static uint16_t fold(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)((sum & 0xffff) + (sum >> 16));
}

static uint32_t sum16(const void *p, size_t len)
{
	const uint8_t *b = p;
	uint32_t sum = 0;

	for (size_t i = 0; i + 1 < len; i += 2)
		sum += (uint32_t)(b[i] << 8 | b[i + 1]);
	return sum;
}

/* Headers of a TCP segment that a card would cut and sum up. */
static void put_tcp(const struct load *l, uint8_t *at,
		    struct virtio_net_hdr_v1 *hdr)
{
	uint16_t ip_len = (uint16_t)(l->len - ETH);
	uint16_t tcp_len = (uint16_t)(ip_len - sizeof(struct iphdr));
	struct iphdr ip = {
		.version = 4,
		.ihl = 5,
		.tot_len = htons(ip_len),
		.ttl = 64,
		.protocol = IPPROTO_TCP,
		.saddr = htonl(0x0a000001 + l->from),
		.daddr = htonl(0x0a000001 + l->to),
	};
	struct tcphdr tcp = {
		.source = htons(5001),
		.dest = htons(5001),
		.seq = htonl((uint32_t)(l->sent * 45 * MSS)),
		.doff = 5,
		.ack = 1,
		.window = htons(65535),
	};

	ip.check = htons((uint16_t)~fold(sum16(&ip, sizeof(ip))));
	tcp.check = htons(fold(sum16(&ip.saddr, 8) + IPPROTO_TCP + tcp_len));
	put_eth(at, l->to, l->from, TYPE_IPV4);
	memcpy(at + ETH, &ip, sizeof(ip));
	memcpy(at + ETH + sizeof(ip), &tcp, sizeof(tcp));
	hdr->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	hdr->gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
	hdr->gso_size = MSS;
	hdr->hdr_len = ETH + sizeof(ip) + sizeof(tcp);
	hdr->csum_start = ETH + sizeof(ip);
	hdr->csum_offset = offsetof(struct tcphdr, check);
}

size_t load_fill(uint8_t *at, size_t max, unsigned int pair,
		 struct virtio_net_hdr_v1 *hdr, void *load)
{
	struct load *l = load;
	size_t header = ETH;

	if (l->len > max)
		die("a frame of %zu bytes does not fit", l->len);
	if (l->len == TSO_BYTES) {
		put_tcp(l, at, hdr);
		header = hdr->hdr_len;
	} else {
		put_eth(at, l->to, l->from, TYPE_CHECKED);
	}
	dirty(at + header, l->len - header, l->sent++);
	return l->len;
}

void sink_take(const struct iovec *piece, unsigned int n, size_t len,
	       const struct virtio_net_hdr_v1 *hdr, void *sink)
{
	struct sink *s = sink;

	for (unsigned int i = 0; i < n; i++)
		s->digest += digest(piece[i].iov_base, piece[i].iov_len);
	s->frames++;
	s->bytes += len;
}

/* -- checked frames ------------------------------------------------------- */

/* Behind the Ethernet header; then bytes by chance. */
struct label {
	uint32_t flow, len;
	uint64_t seq, seed, hash;
};

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Depends on the place of each byte. */
static uint64_t hash_bytes(uint64_t h, const uint8_t *p, size_t len)
{
	for (; len >= 8; len -= 8, p += 8)
		h = (h ^ word(p)) * 0x9e3779b97f4a7c15ull, h ^= h >> 29;
	for (; len; len--)
		h = (h ^ *p++) * 0x9e3779b97f4a7c15ull, h ^= h >> 29;
	return h;
}

static uint64_t hash_frame(const uint8_t *frame, const struct label *l)
{
	struct label blank = *l;

	blank.hash = 0;
	return hash_bytes(hash_bytes(hash_bytes(1, frame, ETH),
				     (const uint8_t *)&blank, sizeof(blank)),
			  frame + ETH + sizeof(*l), l->len - ETH - sizeof(*l));
}

static void fill_random(uint8_t *p, size_t len, uint64_t seed)
{
	for (; len >= 8; len -= 8, p += 8) {
		uint64_t w = next_random(&seed);

		memcpy(p, &w, 8);
	}
	for (; len; len--)
		*p++ = (uint8_t)next_random(&seed);
}

size_t checked_fill(uint8_t *at, size_t max, unsigned int pair,
		    struct virtio_net_hdr_v1 *hdr, void *checked)
{
	struct checked *c = checked;
	struct label l = { .flow = pair, .seq = c->sent[pair]++ };

	l.seed = next_random(&c->random) | 1;
	l.len = (uint32_t)(c->min + l.seed % (c->max - c->min + 1));
	if (l.len > max || l.len < ETH + sizeof(l))
		die("a checked frame of %u bytes", l.len);
	put_eth(at, c->to, c->from, TYPE_CHECKED);
	fill_random(at + ETH + sizeof(l), l.len - ETH - sizeof(l), l.seed);
	l.hash = hash_frame(at, &l);
	memcpy(at + ETH, &l, sizeof(l));
	return l.len;
}

static void check_label(struct checked *c, const struct label *l)
{
	uint64_t *next = &c->received[l->flow];

	if (l->seq < *next) {
		c->reordered++;
		c->lost -= c->lost > 0; /* it was counted as that */
		return;
	}
	c->lost += l->seq - *next;
	*next = l->seq + 1;
}

void checked_take(const struct iovec *piece, unsigned int n, size_t len,
		  const struct virtio_net_hdr_v1 *hdr, void *checked)
{
	struct checked *c = checked;
	uint8_t flat[WIRE_FRAME_MAX];
	struct label l = { 0 };
	size_t at = 0;

	for (unsigned int i = 0; i < n && len <= sizeof(flat); i++) {
		memcpy(flat + at, piece[i].iov_base, piece[i].iov_len);
		at += piece[i].iov_len;
	}
	if (at == len && len >= ETH + sizeof(l))
		memcpy(&l, flat + ETH, sizeof(l));
	if (l.len != len || l.len < ETH + sizeof(l) ||
	    l.flow >= CHECKED_FLOWS || l.hash != hash_frame(flat, &l))
		c->altered++;
	else
		check_label(c, &l);
}
