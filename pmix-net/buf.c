#include <config.h>

#include "buf.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static_assert(sizeof(struct buf) <= 128 * 1024, "a buffer is 128 KiB at most");

/* With the lock. */
static struct buf *lend(struct buf_pool *pool)
{
	struct buf *b = pool->unused;

	if (b) {
		pool->unused = b->next;
		pool->n_unused--;
	} else {
		b = malloc(sizeof(*b));
		if (!b)
			return NULL;
	}
	pool->n_lent++;
	b->next = NULL;
	b->start = b->end = 0;
	return b;
}

struct buf *buf_lend_always(struct buf_pool *pool)
{
	struct buf *b;

	lock_take(&pool->lock);
	b = lend(pool);
	lock_drop(&pool->lock);
	return b;
}

struct buf *buf_lend(struct buf_pool *pool)
{
	struct buf *b = NULL;

	lock_take(&pool->lock);
	if (pool->n_lent < BUF_POOL_MAX / sizeof(struct buf))
		b = lend(pool);
	lock_drop(&pool->lock);
	return b;
}

void buf_return(struct buf_pool *pool, struct buf *b)
{
	if (!b)
		return;
	lock_take(&pool->lock);
	pool->n_lent--;
	if (pool->n_unused < BUF_POOL_KEEP) {
		b->next = pool->unused;
		pool->unused = b;
		pool->n_unused++;
		b = NULL;
	}
	lock_drop(&pool->lock);
	free(b);
}

void buf_pool_share(struct buf_pool *pool)
{
	lock_share(&pool->lock);
}

void buf_pool_done(struct buf_pool *pool)
{
	struct buf *b;

	assert(pool->n_lent == 0);
	while ((b = pool->unused)) {
		pool->unused = b->next;
		free(b);
	}
	pool->n_unused = 0;
	lock_done(&pool->lock);
}

void buf_compact(struct buf *b)
{
	if (!b->start)
		return;
	memmove(b->data, b->data + b->start, buf_len(b));
	b->end -= b->start;
	b->start = 0;
}

void bufq_push(struct bufq *q, struct buf *b)
{
	b->next = NULL;
	if (q->tail)
		q->tail->next = b;
	else
		q->head = b;
	q->tail = b;
}

void bufq_push_front(struct bufq *q, struct buf *b)
{
	b->next = q->head;
	q->head = b;
	if (!q->tail)
		q->tail = b;
}

struct buf *bufq_pop(struct bufq *q)
{
	struct buf *b = q->head;

	if (!b)
		return NULL;
	q->head = b->next;
	if (!q->head)
		q->tail = NULL;
	b->next = NULL;
	return b;
}

void bufq_done(struct bufq *q, struct buf_pool *pool)
{
	struct buf *b;

	while ((b = bufq_pop(q)))
		buf_return(pool, b);
}
