#include <config.h>

#include "outq.h"

#include <assert.h>
#include <errno.h>

#define PREFIX 4 /* a frame's length */

static_assert(sizeof(struct wire_header) + WIRE_PAYLOAD_MAX <= BUF_BYTES,
	      "a buffer takes any message");
static_assert(WIRE_BATCH_BYTES <= WIRE_PAYLOAD_MAX, "a peer takes a batch");

static void close_open(struct outq *q)
{
	struct buf *b = q->open;

	if (!b)
		return;
	wire_put32(b->data + 4,
		   (uint32_t)(b->end - sizeof(struct wire_header)));
	q->open = NULL;
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

int outq_frame(struct outq *q, const uint8_t *frame, size_t len)
{
	struct buf *b;

	assert(len >= WIRE_FRAME_MIN && len <= WIRE_FRAME_MAX);
	if (q->bytes >= OUTQ_BYTES || PREFIX + len > OUTQ_BYTES - q->bytes)
		return -EAGAIN;
	b = q->open;
	if (b && buf_len(b) + PREFIX + len > WIRE_BATCH_BYTES) {
		close_open(q);
		b = NULL;
	}
	if (!b)
		b = open_batch(q);
	if (!b)
		return -EAGAIN;
	wire_put32(b->data + b->end, (uint32_t)len);
	memcpy(b->data + b->end + PREFIX, frame, len);
	b->end += PREFIX + len;
	q->bytes += PREFIX + len;
	return 0;
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
	if (type == WIRE_BYE) {
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

	return type != WIRE_FRAMES && type != WIRE_BYE;
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
	size_t n = 0;

	for (size_t at = sizeof(struct wire_header); at < b->end;
	     at += PREFIX + wire_get32(b->data + at))
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
	q->bytes = 0;
	return n;
}

void outq_done(struct outq *q)
{
	outq_lose_frames(q);
	bufq_done(&q->control, q->pool);
}

int outq_next_frame(const uint8_t *batch, size_t len, size_t *at,
		    const uint8_t **ret, size_t *ret_len)
{
	size_t left = len - *at;
	uint32_t frame;

	if (!left)
		return 0;
	if (left < PREFIX)
		return -EPROTO;
	frame = wire_get32(batch + *at);
	if (frame < WIRE_FRAME_MIN || frame > WIRE_FRAME_MAX ||
	    frame > left - PREFIX)
		return -EPROTO;
	*ret = batch + *at + PREFIX;
	*ret_len = frame;
	*at += PREFIX + frame;
	return 1;
}
