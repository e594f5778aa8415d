#include <config.h>

#include "outq.h"

#include <assert.h>
#include <errno.h>

#define PREFIX	   4 /* a frame's length */
#define ORIGIN	   4
#define PREFIX_MAX (PREFIX + sizeof(struct wire_offload) + ORIGIN)

static_assert(sizeof(struct wire_header) + WIRE_PAYLOAD_MAX + WIRE_TAG <=
		      BUF_BYTES,
	      "a buffer takes any message");
static_assert(WIRE_BATCH_BYTES <= WIRE_PAYLOAD_MAX, "a peer takes a batch");

static void close_open(struct outq *q)
{
	struct buf *b = q->open;

	if (!b)
		return;
	wire_put32(b->data + 4,
		   (uint32_t)(b->end - sizeof(struct wire_header)));
	if (q->batches)
		batches_add(q->batches, q->n_open,
			    b->end - sizeof(struct wire_header));
	q->open = NULL;
	q->n_open = 0;
}

/* Its length is written when it is closed. */
static struct buf *open_batch(struct outq *q)
{
	struct buf *b = buf_lend(q->pool);

	if (!b)
		return NULL;
	wire_put32(b->data, WIRE_FRAMES);
	b->end = sizeof(struct wire_header);
	q->bytes += b->end;
	bufq_push(&q->frames, b);
	q->open = b;
	return b;
}

/* Most frames have nothing to say of offloads, and spare the bytes. */
static bool has_offload(const struct packet *p)
{
	return p->offload.flags || p->offload.gso || p->flow;
}

static uint16_t big(uint16_t v)
{
	return htobe16(v);
}

static size_t put_offload(uint8_t *at, const struct packet *p)
{
	const struct offload *o = &p->offload;
	const struct wire_offload wire = {
		o->flags,	    o->gso,
		big(o->hdr_len),    big(o->gso_size),
		big(o->csum_start), big(o->csum_offset),
		big(p->flow),
	};

	memcpy(at, &wire, sizeof(wire));
	return sizeof(wire);
}

static size_t put_prefix(uint8_t *at, const struct packet *p)
{
	uint32_t word = (uint32_t)p->len;
	size_t n = PREFIX;

	if (has_offload(p)) {
		word |= WIRE_OFFLOADED;
		n += put_offload(at + n, p);
	}
	if (p->relayed) {
		word |= WIRE_RELAYED;
		wire_put32(at + n, p->origin);
		n += ORIGIN;
	}
	wire_put32(at, word);
	return n;
}

int outq_frame(struct outq *q, const struct packet *p)
{
	size_t need = PREFIX_MAX + p->len;
	struct buf *b = q->open;

	assert(p->len >= WIRE_FRAME_MIN && p->len <= WIRE_FRAME_MAX);
	if (q->bytes >= OUTQ_BYTES || need > OUTQ_BYTES - q->bytes)
		return -EAGAIN;
	if (b && buf_len(b) + need > WIRE_BATCH_BYTES) {
		close_open(q);
		b = NULL;
	}
	if (!b)
		b = open_batch(q);
	if (!b)
		return -EAGAIN;
	q->bytes -= buf_len(b);
	b->end += put_prefix(b->data + b->end, p);
	packet_read(p, 0, b->data + b->end, p->len);
	b->end += p->len;
	q->bytes += buf_len(b);
	q->n_open++;
	return 0;
}

static bool is_last(uint32_t type)
{
	return type == WIRE_BYE || type == WIRE_REST;
}

int outq_control(struct outq *q, enum wire_type type, const void *data,
		 size_t len)
{
	struct buf *b = buf_lend_always(q->pool);

	assert(len <= WIRE_PAYLOAD_MAX);
	if (!b)
		return -ENOMEM;
	wire_put32(b->data, type);
	wire_put32(b->data + 4, (uint32_t)len);
	if (len)
		memcpy(b->data + sizeof(struct wire_header), data, len);
	b->end = sizeof(struct wire_header) + len;
	if (is_last(type)) {
		close_open(q);
		q->bytes += b->end;
		bufq_push(&q->frames, b);
	} else {
		bufq_push(&q->control, b);
	}
	return 0;
}

struct buf *outq_take(struct outq *q)
{
	struct buf *b = bufq_pop(&q->control);

	if (b)
		return b;
	b = bufq_pop(&q->frames);
	if (!b)
		return NULL;
	if (b == q->open)
		close_open(q);
	q->bytes -= buf_len(b);
	return b;
}

static bool is_control(const struct buf *b)
{
	uint32_t type = wire_get32(b->data);

	return type != WIRE_FRAMES && !is_last(type);
}

void outq_put_back(struct outq *q, struct buf *b)
{
	if (is_control(b)) {
		bufq_push_front(&q->control, b);
	} else {
		bufq_push_front(&q->frames, b);
		q->bytes += buf_len(b);
	}
}

static size_t frames_in(const struct buf *b)
{
	const uint8_t *batch = b->data + sizeof(struct wire_header);
	size_t len = b->end - sizeof(struct wire_header), at = 0, n = 0;
	struct packet p;

	while (outq_next_frame(batch, len, &at, &p) > 0)
		n++;
	return n;
}

size_t outq_lose_frames(struct outq *q)
{
	struct buf *b;
	size_t n = 0;

	while ((b = bufq_pop(&q->frames))) {
		n += frames_in(b);
		buf_return(q->pool, b);
	}
	q->open = NULL;
	q->n_open = 0;
	q->bytes = 0;
	return n;
}

void outq_done(struct outq *q)
{
	outq_lose_frames(q);
	bufq_done(&q->control, q->pool);
}

static void get_offload(const uint8_t *at, struct packet *p)
{
	struct wire_offload wire;

	memcpy(&wire, at, sizeof(wire));
	p->offload = (struct offload){
		.flags = wire.flags,
		.gso = wire.gso,
		.hdr_len = be16toh(wire.hdr_len),
		.gso_size = be16toh(wire.gso_size),
		.csum_start = be16toh(wire.csum_start),
		.csum_offset = be16toh(wire.csum_offset),
	};
	p->flow = be16toh(wire.flow);
}

int outq_next_frame(const uint8_t *batch, size_t len, size_t *at,
		    struct packet *ret)
{
	const uint8_t *p = batch + *at;
	size_t left = len - *at, prefix = PREFIX;
	uint32_t word, frame;

	if (!left)
		return 0;
	if (left < PREFIX)
		return -EPROTO;
	word = wire_get32(p);
	frame = word & ~(WIRE_OFFLOADED | WIRE_RELAYED);
	prefix += word & WIRE_OFFLOADED ? sizeof(struct wire_offload) : 0;
	prefix += word & WIRE_RELAYED ? ORIGIN : 0;
	if (frame < WIRE_FRAME_MIN || frame > WIRE_FRAME_MAX || left < prefix ||
	    frame > left - prefix)
		return -EPROTO;
	*ret = packet_flat(p + prefix, frame);
	if (word & WIRE_OFFLOADED)
		get_offload(p + PREFIX, ret);
	ret->relayed = word & WIRE_RELAYED;
	if (ret->relayed)
		ret->origin = wire_get32(p + prefix - ORIGIN);
	*at += prefix + frame;
	return 1;
}
