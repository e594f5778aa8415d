#include <config.h>

#include "segment.h"

#include <assert.h>
#include <string.h>

#include "checksum.h"
#include "headers.h"
#include "offload.h"

/* Go on @n bytes; pieces that lie behind are let go, so that a frame in a
 * thousand pieces is not searched from its start for each segment. */
static void advance(struct segment *s, size_t n)
{
	struct packet *p = &s->packet;

	s->left -= n;
	s->at += n;
	if (s->at < p->head_len)
		return;
	s->at -= p->head_len;
	p->head_len = 0; /* the headers at p->head are still needed */
	while (p->n_rest && s->at >= p->rest->iov_len) {
		s->at -= p->rest->iov_len;
		p->rest++;
		p->n_rest--;
	}
}

void segment_init(struct segment *s, const struct packet *p)
{
	assert(p->len <= SEGMENT_MAX);
	*s = (struct segment){ .packet = *p, .left = p->len, .step = p->len };
	if (p->offload.gso == VIRTIO_NET_HDR_GSO_NONE)
		return;
	s->ip = header_packet(p->head, p->head_len, &s->type);
	s->step = p->offload.gso_size;
	advance(s, p->offload.hdr_len);
}

/* -- headers -------------------------------------------------------------- */

/* Segments count up in the identification, as those of most cards do. */
static void put_ip4(const struct segment *s, uint8_t *ip, size_t len)
{
	size_t bytes = (size_t)(ip[0] & 15) * 4;
	uint16_t id = header_get16(ip + IP4_ID);

	header_put16(ip + IP4_LENGTH, (uint16_t)len);
	header_put16(ip + IP4_ID, (uint16_t)(id + s->index));
	header_put16(ip + IP4_CHECKSUM, 0);
	header_put16(ip + IP4_CHECKSUM, (uint16_t)~checksum_sum(ip, bytes));
}

static void put_ip6(uint8_t *ip, size_t len)
{
	header_put16(ip + IP6_LENGTH, (uint16_t)(len - IP6_BYTES));
}

/* The first says that the window was reduced (RFC 3168, 6.1.2), the last that
 * this is all. */
static void put_tcp(const struct segment *s, uint8_t *tcp)
{
	uint32_t seq = wire_get32(tcp + TCP_SEQ);

	wire_put32(tcp + TCP_SEQ, seq + s->index * (uint32_t)s->step);
	if (s->left)
		tcp[TCP_FLAGS] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
	if (s->index)
		tcp[TCP_FLAGS] &= (uint8_t)~TCP_CWR;
}

/* @frame has the headers of the whole packet and the payload of one segment.
 * The checksum's field has the sum of the pseudo header (virtio 1.2, 5.1.6.2),
 * of which only the length is another now. So the address that counts with an
 * IPv6 routing header (RFC 8200, 8.1) need not be known. */
static void put_headers(const struct segment *s, uint8_t *frame, size_t len)
{
	const struct offload *o = &s->packet.offload;
	uint8_t *ip = frame + s->ip, *l4 = frame + o->csum_start;
	uint16_t whole = (uint16_t)(s->packet.len - o->csum_start);
	uint16_t part = (uint16_t)(len - o->csum_start);
	uint32_t sum = header_get16(l4 + o->csum_offset);

	if (s->type == ETH_TYPE_IP4)
		put_ip4(s, ip, len - s->ip);
	else
		put_ip6(ip, len - s->ip);
	if (o->gso == VIRTIO_NET_HDR_GSO_UDP_L4)
		header_put16(l4 + UDP_LENGTH, part);
	else
		put_tcp(s, l4);
	sum += (uint16_t)~whole;
	header_put16(l4 + o->csum_offset, checksum_fold(sum + part));
}

/* In UDP 0 says that there is none, and 0xffff stands for it (RFC 768). TCP
 * has it: there 0xffff never comes of a sum (RFC 1624, 3), and is taken for a
 * bad one by some. */
static void put_checksum(const struct offload *o, uint8_t *frame, size_t len)
{
	uint16_t sum = checksum_sum(frame + o->csum_start, len - o->csum_start);
	bool none = sum == 0xffff && o->csum_offset == UDP_CHECKSUM;

	header_put16(frame + o->csum_start + o->csum_offset,
		     none ? sum : (uint16_t)~sum);
}

size_t segment_next(struct segment *s, uint8_t *frame)
{
	const struct offload *o = &s->packet.offload;
	size_t n = s->left < s->step ? s->left : s->step;

	if (!n)
		return 0;
	memcpy(frame, s->packet.head, o->hdr_len);
	packet_read(&s->packet, s->at, frame + o->hdr_len, n);
	advance(s, n);
	n += o->hdr_len;
	if (o->gso != VIRTIO_NET_HDR_GSO_NONE)
		put_headers(s, frame, n);
	if (o->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
		put_checksum(o, frame, n);
	s->index++;
	return n;
}

void segment_skip(struct segment *s, size_t n)
{
	if (!s->left)
		return;
	if (n > s->left / s->step) /* the last may be short */
		advance(s, s->left);
	else
		advance(s, n * s->step);
	s->index += (uint32_t)n;
}
