/* buf.h - the buffers that frames wait in
 *
 * One size, lent from a pool: a port or link holds one while it reads and as
 * many as its queue has; an idle one holds none.
 *
 * Owns:    the memory. POOL_BYTES bound what queues may hold; readers and
 *          control messages, of which there are few, are always served.
 * Thread:  any, if the lock is shared (buf_pool_share()); a buffer is its
 *          lender's.
 */
#ifndef VMSTEP_BUF_H
#define VMSTEP_BUF_H

#include <stddef.h>
#include <stdint.h>

#include "lock.h"

#define BUF_BYTES     (128 * 1024 - 64) /* one largest frame, and then some */
#define BUF_POOL_MAX  (128 * 1024 * 1024)
#define BUF_POOL_KEEP 32 /* unused ones that are kept for the next burst */

struct buf {
	struct buf *next;
	size_t start, end; /* the bytes that count: data[start..end) */
	uint8_t data[BUF_BYTES];
};

struct buf_pool { /* all 0: a pool for one thread, with nothing in it */
	struct lock lock;
	struct buf *unused;
	size_t n_unused, n_lent;
};

void buf_pool_share(struct buf_pool *pool); /* while it is empty */
/* For a queue: NULL when the pool's bound is reached, or without memory. */
struct buf *buf_lend(struct buf_pool *pool);
/* For a reader or a control message: NULL only without memory. */
struct buf *buf_lend_always(struct buf_pool *pool);
void buf_return(struct buf_pool *pool, struct buf *b); /* NULL is fine */
void buf_pool_done(struct buf_pool *pool); /* all were returned before */

static inline size_t buf_len(const struct buf *b)
{
	return b->end - b->start;
}

static inline size_t buf_room(const struct buf *b)
{
	return sizeof(b->data) - b->end;
}

/* Move what counts to the front, for the most room behind it. */
void buf_compact(struct buf *b);

/* First in, first out. */
struct bufq {
	struct buf *head, *tail;
};

void bufq_push(struct bufq *q, struct buf *b);
void bufq_push_front(struct bufq *q, struct buf *b);
struct buf *bufq_pop(struct bufq *q); /* NULL when empty */
void bufq_done(struct bufq *q, struct buf_pool *pool);

#endif
