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
 * Owns:    the lists of who waits and of what is to be flushed, room for one
 *          segment.
 * Borrows: the loop, the rounds, inlets and outlets, which say when they go.
 * Thread:  the loop's.
 */
#ifndef VMSTEP_FLOW_H
#define VMSTEP_FLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "capture.h"
#include "counters.h"
#include "errmsg.h"
#include "loop.h"
#include "packet.h"
#include "round.h"
#include "traffic.h"

#define FLOW_PORT_MS 200
#define FLOW_LINK_MS 1000
#define FLOW_LOSSY   10
#define FLOW_BURST   5

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
	bool touched;		 /* it will be flushed */
	struct capture *capture; /* NULL: none; borrowed */
	bool slow;		 /* a wait ran out, and it has not drained */
	int64_t paid_until_ms;	 /* for waits that ran out; see may_wait() */
};

struct inlet {
	/* Offer again the frame that was not taken, and read on. */
	void (*resume)(struct inlet *in);
	struct counters *counts; /* borrowed */
	struct flow *flow;	 /* borrowed */
	struct outlet *awaits;	 /* NULL: it does not wait */
	int64_t until_ms;
	struct inlet *next;
	size_t sent;		 /* segments of the frame that waits */
	bool shown;		 /* it was captured */
	struct traffic *traffic; /* of a port; NULL: none; borrowed */
};

int flow_new(struct loop *l, struct round *r, struct flow **ret,
	     struct errmsg *err);
void flow_free(struct flow *f); /* NULL is fine */

/* A frame for one receiver. 0: it is sent, or dropped and counted. -EAGAIN: it
 * waits; @in keeps it and reads no further until resume() is called, from the
 * loop. */
int flow_send(struct inlet *in, struct outlet *out, const struct packet *p);
/* A copy for one of many: never waits. */
void flow_copy(struct inlet *in, struct outlet *out, const struct packet *p);

/* @out has room again, after it had none. */
void flow_drained(struct flow *f, struct outlet *out);
/* Before its memory goes. */
void flow_forget_inlet(struct flow *f, struct inlet *in);
/* The same. Who waits for it is resumed; it is not flushed. */
void flow_forget_outlet(struct flow *f, struct outlet *out);

static inline void flow_took(struct inlet *in, size_t len)
{
	in->counts->n[COUNT_IN_FRAMES]++;
	in->counts->n[COUNT_IN_BYTES] += len;
}

#endif
