/* flow.h - frames that wait for room
 *
 * Frames come out of an inlet and go into an outlet; a port has one of each,
 * and so has every link to a node. A frame that does not fit waits in its
 * inlet, which then reads no further, for up to the outlet's wait_ms. If that
 * does not help, the outlet is slow: what it has no room for is dropped until
 * it has drained. That may happen FLOW_BURST times in a row, and once in
 * FLOW_LOSSY waits' time in the long run; beyond that nobody waits for it. So
 * nothing is lost between two that keep up; one that does not keep up holds the
 * others up for a tenth of the time, and once if it has stopped; nothing
 * grows. A link is waited for longer: behind it, a port may be waited for.
 *
 * A frame with work left for a card goes to an outlet that takes that as it is,
 * and is cut into segments and summed up for others.
 *
 * What a round has put into an outlet leaves when the round ends, by its
 * flush(): the guest is told once, or there is one system call.
 *
 * Each worker has a flow of its own, to which its inlets belong; any of them
 * may send into any outlet. An outlet's lock is held while that is done, and
 * by its owner wherever it touches what send() and flush() touch.
 *
 * Owns:    the lists of who waits and of what is to be flushed, room for one
 *          segment.
 * Borrows: the loop, the rounds, inlets and outlets, which say when they go.
 * Thread:  the loop's, but for what says otherwise.
 */
#ifndef VMSTEP_FLOW_H
#define VMSTEP_FLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "capture.h"
#include "counters.h"
#include "errmsg.h"
#include "lock.h"
#include "loop.h"
#include "packet.h"
#include "round.h"
#include "traffic.h"

#define FLOW_PORT_MS 200
#define FLOW_LINK_MS 1000
#define FLOW_LOSSY   10
#define FLOW_BURST   5
#define FLOWS_MAX    16 /* that send to each other's outlets */

struct flow;

struct outlet {
	/* Copy the frame. 0; -EAGAIN: no room, flow_drained() follows;
	 * -ENOTCONN, -EMSGSIZE: it will never be taken. */
	int (*send)(struct outlet *out, const struct packet *p);
	struct counters *counts; /* borrowed */
	int wait_ms;
	unsigned int takes; /* OFFLOAD_*: the rest is done here first */
	/* What was sent may leave now. Nobody is freed by this. NULL: it sees
	 * to that itself. */
	void (*flush)(struct outlet *out);
	struct capture *capture; /* NULL: none; borrowed */
	struct lock lock;	 /* of what follows, and of the owner's side */
	uint32_t touched;	 /* bits: the flows that will flush it */
	uint32_t awaited;	 /* bits: those that have an inlet waiting */
	uint32_t let_go;	 /* how often those were told to look again */
	bool slow;		 /* a wait ran out, and it has not drained */
	int64_t paid_until_ms;	 /* for waits that ran out; see may_wait() */
};

struct inlet {
	/* Offer again the frame that was not taken, and read on. */
	void (*resume)(struct inlet *in);
	struct counters *counts; /* borrowed */
	struct flow *flow;	 /* borrowed */
	struct outlet *awaits;	 /* NULL: it does not wait */
	uint32_t let_go;	 /* awaits->let_go, when it began to */
	int64_t until_ms;
	struct inlet *next;
	size_t sent;		 /* segments of the frame that waits */
	bool shown;		 /* it was captured */
	struct traffic *traffic; /* of a port; NULL: none; borrowed */
};

int flow_new(struct loop *l, struct round *r, struct flow **ret,
	     struct errmsg *err);
void flow_free(struct flow *f); /* NULL is fine */
/* @f, which is new, sends where @first does, and the other way. Before there
 * are threads, inlets or outlets; @first is freed last. */
void flow_join(struct flow *first, struct flow *f);
bool flow_is_shared(const struct flow *f);
unsigned int flow_index(const struct flow *f); /* the first one's is 0 */

/* Before the first frame for @out: it has a lock if there are other flows. */
void flow_outlet(const struct flow *f, struct outlet *out);

static inline void outlet_lock(struct outlet *out)
{
	lock_take(&out->lock);
}

static inline void outlet_unlock(struct outlet *out)
{
	lock_drop(&out->lock);
}

/* A frame for one receiver. 0: it is sent, or dropped and counted. -EAGAIN: it
 * waits; @in keeps it and reads no further until resume() is called, from the
 * loop. */
int flow_send(struct inlet *in, struct outlet *out, const struct packet *p);
/* A copy for one of many: never waits. */
void flow_copy(struct inlet *in, struct outlet *out, const struct packet *p);

/* @out has room again, after it had none. With its lock, from any thread. */
void flow_drained(struct flow *f, struct outlet *out);
/* Before its memory goes. */
void flow_forget_inlet(struct flow *f, struct inlet *in);
/* The same, while other threads stand. Who waits for it is resumed; it is not
 * flushed. */
void flow_forget_outlet(struct flow *f, struct outlet *out);

static inline void flow_took(struct inlet *in, size_t len)
{
	in->counts->n[COUNT_IN_FRAMES]++;
	in->counts->n[COUNT_IN_BYTES] += len;
}

#endif
