/* opq.h - messages on their way to one place, until it is known how they ended
 *
 * A place is a node's vmstep-net or a helper. What is pushed leaves in order,
 * packed into batches of records (opmsg.h); how messages that came the other
 * way have ended leaves before all else. Pure: no socket, no clock.
 *
 * Owns:    a reference to each message that has not left, who its receivers
 *          are, and how many of them have not ended.
 *
 * Bounds:  what is in struct opq_limits.
 */
#ifndef VMSTEP_OPQ_H
#define VMSTEP_OPQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "opmsg.h"

#define OPQ_SENT_MAX (64 * 1024) /* that have left, and have not ended */
#define OPQ_ENDS_MAX (64 * 1024) /* ends that wait to leave */

struct opq_limits {
	size_t msgs, bytes; /* one message always fits into bytes */
	/* Those that have left count until they have ended: what the place
	 * holds is what it is trusted with. */
	bool until_ended;
	/* While more than half is taken, no sender may have more than one part
	 * of so many: one that floods a place shuts itself out first. 1: it
	 * may have all. */
	unsigned int parts;
};

/* What counts of a sender's. */
struct opq_share {
	uint32_t src;
	size_t msgs, bytes;
};

/* ... and what counts of what a receiver has not ended. */
struct opq_receiver {
	size_t msgs, bytes;
};

struct opq_entry;
TAILQ_HEAD(opq_list, opq_entry);

struct opq {
	struct opq_limits limits;
	struct opq_list list;
	struct opq_entry *next;	  /* the first that has not left; NULL: none */
	size_t msgs, bytes;	  /* that count */
	struct opq_share *shares; /* of these; in no order */
	size_t n_shares, shares_size;
	struct opq_receiver *receivers; /* by rank; NULL: nobody asks */
	size_t n_sent;
	struct opmsg_ended *ends;
	size_t ends_at, n_ends, ends_size;
};

typedef void (*opq_ended_fn)(const struct opmsg_ended *e, void *arg);

void opq_init(struct opq *q, const struct opq_limits *limits);
void opq_done(struct opq *q); /* tells nobody */

/* 0; -ENOBUFS, also for one more than limits allow; -E2BIG: @to's text is
 * longer than OPMSG_SET_MAX; -ENOMEM. @m and @to are borrowed, @to is not
 * empty. */
int opq_push(struct opq *q, struct opmsg *m, const struct rankset *to);
/* -ENOBUFS when OPQ_ENDS_MAX wait: nobody reads them. */
int opq_push_end(struct opq *q, const struct opmsg_ended *e);

/* Is there something to leave? to be waited for, too? */
bool opq_has(const struct opq *q);
static inline bool opq_has_message(const struct opq *q)
{
	return q->next != NULL;
}
static inline bool opq_is_empty(const struct opq *q)
{
	return TAILQ_EMPTY(&q->list) && !q->n_ends;
}
/* The next batch, of OPMSG_BATCH at most (@size, no less than that). Its
 * length; 0: nothing is to leave. */
size_t opq_fill(struct opq *q, uint8_t *batch, size_t size);

/* opq_receiver() will be asked, for ranks below @nranks, to which alone
 * messages go; before the first. -ENOMEM. */
int opq_count_receivers(struct opq *q, uint32_t nranks);
struct opq_receiver opq_receiver(const struct opq *q, uint32_t rank);

/* The place says so. false: it was not awaited (any more). */
bool opq_ended(struct opq *q, const struct opmsg_ended *e);

enum opq_which {
	OPQ_ALL,
	OPQ_BEGUN, /* those that have left, as a whole or in part */
	OPQ_NOT_BEGUN,
};
/* These end so, for all receivers for whom they had not: @fn, which must not
 * free @q, is told of each. With OPQ_ALL and OPQ_BEGUN ends that wait are
 * forgotten: who asked was told that all is lost. */
void opq_fail(struct opq *q, enum opq_which which, enum opmsg_end how,
	      opq_ended_fn fn, void *arg);

#endif
