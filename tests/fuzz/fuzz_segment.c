/* fuzz_segment.c - what a guest leaves for a card to do, checked and done
 *
 * Input: flags, gso (1 byte each), gso_size, csum_start, csum_offset (2 each,
 * big endian); the length of the pieces behind the head (1 byte, 0: one piece);
 * how many bytes shall follow the frame (2); the frame.
 */
#include <config.h>

#include <stdlib.h>

#include "headers.h"
#include "offload.h"
#include "segment.h"

#define INPUT_HEADER 11

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t frame[SEGMENT_MAX], got[SEGMENT_MAX], other[SEGMENT_MAX];
static struct iovec pieces[SEGMENT_MAX];

static void must(bool holds)
{
	if (!holds)
		abort();
}

static struct packet scatter(size_t len, size_t piece)
{
	struct packet p = packet_flat(frame, len);

	if (len <= PACKET_HEAD)
		return p;
	p.head_len = PACKET_HEAD;
	p.rest = pieces;
	for (size_t at = PACKET_HEAD, n; at < len; at += n) {
		n = piece && piece < len - at ? piece : len - at;
		pieces[p.n_rest++] = (struct iovec){ frame + at, n };
	}
	return p;
}

static void check_truth(const struct packet *p)
{
	const struct offload *o = &p->offload;
	struct packet again = *p;

	must(offload_check(&again) == 0);
	must(memcmp(&again.offload, o, sizeof(*o)) == 0);
	must(offload_longest(p) <= p->len);
	must(!(offload_needs(o) & OFFLOAD_CSUM) || o->csum_start >= 34);
	if (o->gso)
		must(o->hdr_len > o->csum_start && o->hdr_len <= PACKET_HEAD &&
		     offload_longest(p) < p->len);
}

/* What comes of it has the sender's addresses and its payload, but for the
 * checksum. */
static void check_frame(const struct packet *p, size_t payload_at, size_t len)
{
	const struct offload *o = &p->offload;
	size_t sum = (size_t)o->csum_start + o->csum_offset;

	must(len > o->hdr_len && len <= offload_longest(p));
	must(memcmp(got, frame, ETH_TYPE) == 0);
	if (!o->gso && o->flags)
		memcpy(got + sum, frame + sum, 2);
	must(memcmp(got + o->hdr_len, frame + payload_at, len - o->hdr_len) ==
	     0);
}

/* Taken up again at segment @n, it is the same. */
static void check_skip(const struct packet *p, size_t n, size_t len)
{
	struct segment s;

	segment_init(&s, p);
	segment_skip(&s, n);
	must(segment_next(&s, other) == len && memcmp(got, other, len) == 0);
}

static void segment_all(const struct packet *p, size_t again)
{
	size_t at = p->offload.hdr_len, len;
	struct segment s;
	size_t n = 0;

	segment_init(&s, p);
	while ((len = segment_next(&s, got))) {
		if (n++ == again)
			check_skip(p, again, len);
		check_frame(p, at, len);
		at += len - p->offload.hdr_len;
	}
	must(at == p->len && segment_next(&s, got) == 0);
	must(p->offload.gso ? n >= 2 && n <= OFFLOAD_SEGMENTS_MAX : n == 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct packet p;
	size_t more, len;

	if (size < INPUT_HEADER + WIRE_FRAME_MIN)
		return 0;
	more = header_get16(data + 9);
	len = size - INPUT_HEADER;
	if (len > SEGMENT_MAX || more > SEGMENT_MAX - len)
		return 0;
	memcpy(frame, data + INPUT_HEADER, len);
	for (size_t i = 0; i < more; i++)
		frame[len + i] = (uint8_t)(i * 3 + (i >> 8));
	p = scatter(len + more, data[8]);
	p.offload = (struct offload){
		.flags = data[0],
		.gso = data[1],
		.hdr_len = header_get16(data + 3),
		.gso_size = header_get16(data + 2),
		.csum_start = header_get16(data + 4),
		.csum_offset = header_get16(data + 6),
	};
	if (offload_check(&p) < 0)
		return 0;
	check_truth(&p);
	segment_all(&p, data[8]);
	return 0;
}
