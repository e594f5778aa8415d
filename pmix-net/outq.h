/* outq.h - what waits to be sent to a node, as messages ready for the wire
 *
 * Frames are packed into batches of up to WIRE_BATCH_BYTES (or one longer
 * frame); control messages overtake them. Pure: no link, no clock.
 *
 * Owns:    the buffers in it, lent from the pool, which is borrowed. Frames
 *          take OUTQ_BYTES at most; control messages are few and always fit.
 */
#ifndef VMSTEP_OUTQ_H
#define VMSTEP_OUTQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "batches.h"
#include "buf.h"
#include "link_wire.h"
#include "packet.h"

#define OUTQ_BYTES (4 * 1024 * 1024)

struct outq {
	struct buf_pool *pool;
	struct bufq control, frames;
	struct buf *open;	 /* the last of frames, still growing */
	size_t bytes;		 /* in frames */
	size_t n_open;		 /* frames in open */
	struct batches *batches; /* NULL: they are not counted; borrowed */
};

/* 0; -EAGAIN: no room. p->len is from WIRE_FRAME_MIN to WIRE_FRAME_MAX. */
int outq_frame(struct outq *q, const struct packet *p);
/* @len up to WIRE_PAYLOAD_MAX. BYE and REST go behind the frames: they are the
 * last. 0 or -ENOMEM. */
int outq_control(struct outq *q, enum wire_type type, const void *data,
		 size_t len);

static inline bool outq_is_empty(const struct outq *q)
{
	return !q->control.head && !q->frames.head;
}

/* The next message, now the caller's; NULL: none. It may be put back, before
 * anything else is done with the queue. */
struct buf *outq_take(struct outq *q);
void outq_put_back(struct outq *q, struct buf *b);

/* Throw the frames away; returns how many. */
size_t outq_lose_frames(struct outq *q);
void outq_done(struct outq *q);

/* The receiver's side: the frame at *at of a batch, which moves on; it lies in
 * the batch, in one piece, and what it says of offloads is not checked. 1; 0 at
 * the end; -EPROTO when there is no frame of a possible length. */
int outq_next_frame(const uint8_t *batch, size_t len, size_t *at,
		    struct packet *ret);

#endif
