#include <config.h>

#include "flow.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "segment.h"
#include "offload.h"

/* An inlet that waits is in its own flow's list, which only its own thread
 * touches. The outlet knows which flows have such inlets, and counts how often
 * it has let them go: because it drained, or because a wait ran out. Then each
 * of these flows looks for inlets whose outlet has counted on. Mark and count
 * change under the outlet's lock, as does what makes it say that it is full:
 * so nobody sleeps for an outlet that has drained already.
 */

/* Room for outlets that wait to be flushed: with more, the first ones are
 * flushed before the round ends. */
#define TOUCHED_MAX 64

struct flow {
	struct flow *first; /* of those that send to each other's outlets */
	struct flow *flows[FLOWS_MAX]; /* the first one's: all of them */
	unsigned int n_flows;
	unsigned int index;

	struct round *round;   /* borrowed */
	struct inlet *waiting; /* a port or link each */
	struct inlet *ready;   /* done waiting; resumed at the round's end */
	struct round_job look; /* who of those that wait may go on? */
	struct loop_timer *timer;
	int64_t due_ms; /* when it goes off; -1: not armed */
	struct round_job flush;
	struct outlet *touched[TOUCHED_MAX];
	size_t n_touched;
	uint8_t segment[SEGMENT_MAX];
};

static uint32_t bit_of(const struct flow *f)
{
	return 1u << f->index;
}

/* -- flushing ------------------------------------------------------------- */

static void flush_all(struct flow *f)
{
	while (f->n_touched) {
		struct outlet *out = f->touched[--f->n_touched];

		outlet_lock(out);
		out->touched &= ~bit_of(f);
		out->flush(out);
		outlet_unlock(out);
	}
}

static void on_flush(struct round_job *job)
{
	flush_all((struct flow *)((char *)job - offsetof(struct flow, flush)));
}

/* Not while an outlet is locked. */
static void make_room_to_touch(struct flow *f)
{
	if (f->n_touched == TOUCHED_MAX)
		flush_all(f);
}

static void touch(struct flow *f, struct outlet *out)
{
	if ((out->touched & bit_of(f)) || !out->flush)
		return;
	assert(f->n_touched < TOUCHED_MAX);
	out->touched |= bit_of(f);
	f->touched[f->n_touched++] = out;
	round_want(f->round, &f->flush);
}

static void untouch(struct flow *f, struct outlet *out)
{
	size_t i = 0;

	if (!(out->touched & bit_of(f)))
		return;
	while (f->touched[i] != out)
		i++;
	f->touched[i] = f->touched[--f->n_touched];
	out->touched &= ~bit_of(f);
}

/* -- waiting -------------------------------------------------------------- */

static void make_ready(struct flow *f, struct inlet **pp)
{
	struct inlet *in = *pp;

	*pp = in->next;
	in->awaits = NULL;
	in->next = f->ready;
	f->ready = in;
}

static bool may_go_on(const struct inlet *in)
{
	struct outlet *out = in->awaits;
	bool yes;

	outlet_lock(out);
	yes = in->let_go != out->let_go;
	outlet_unlock(out);
	return yes;
}

/* Not out of flow_drained(): that may be called out of the outlet itself. */
static void on_look(struct round_job *job)
{
	struct flow *f =
		(struct flow *)((char *)job - offsetof(struct flow, look));
	struct inlet **pp = &f->waiting, *in;

	while (*pp)
		if (may_go_on(*pp))
			make_ready(f, pp);
		else
			pp = &(*pp)->next;
	while ((in = f->ready)) {
		f->ready = in->next;
		in->next = NULL;
		in->resume(in);
	}
}

/* With the outlet's lock. */
static void let_go(struct flow *f, struct outlet *out)
{
	const struct flow *first = f->first;

	out->let_go++;
	for (unsigned int i = 0; out->awaited; i++) {
		struct flow *to = first->flows[i];

		if (out->awaited & bit_of(to))
			round_post(to->round, &to->look);
		out->awaited &= ~bit_of(to);
	}
}

static void arm(struct flow *f, int64_t until_ms, int64_t now_ms)
{
	if (f->due_ms >= 0 && f->due_ms <= until_ms)
		return;
	f->due_ms = until_ms;
	loop_timer_set(f->timer, until_ms - now_ms);
}

/* Each wait that ran out is to be paid for by FLOW_LOSSY times its length, of
 * which FLOW_BURST waits' worth may be owed. */
static void charge(struct outlet *out, int64_t now_ms)
{
	if (out->paid_until_ms < now_ms)
		out->paid_until_ms = now_ms;
	out->paid_until_ms += FLOW_LOSSY * out->wait_ms;
}

static bool may_wait(const struct outlet *out)
{
	return !out->slow &&
	       out->paid_until_ms - loop_now_ms() <=
		       (FLOW_BURST - 1) * FLOW_LOSSY * out->wait_ms;
}

/* Once, whoever's wait runs out first. */
static void run_out(struct flow *f, struct inlet *in, int64_t now_ms)
{
	struct outlet *out = in->awaits;

	outlet_lock(out);
	if (in->let_go == out->let_go) {
		out->slow = true;
		charge(out, now_ms);
		let_go(f, out);
	}
	outlet_unlock(out);
}

static void on_timer(void *arg)
{
	struct flow *f = arg;
	int64_t now = loop_now_ms();

	f->due_ms = -1;
	for (struct inlet *in = f->waiting; in; in = in->next)
		if (in->until_ms <= now)
			run_out(f, in, now);
		else
			arm(f, in->until_ms, now);
}

static void unlink_inlet(struct inlet **list, struct inlet *in)
{
	while (*list && *list != in)
		list = &(*list)->next;
	if (*list)
		*list = in->next;
}

static void forget(struct flow *f, struct inlet *in)
{
	unlink_inlet(&f->waiting, in);
	unlink_inlet(&f->ready, in);
	in->next = NULL;
	in->awaits = NULL;
}

static int wait_for(struct flow *f, struct inlet *in, struct outlet *out)
{
	int64_t now = loop_now_ms();

	forget(f, in); /* it read on before it was resumed */
	count(in->counts, COUNT_WAITED);
	in->awaits = out;
	in->let_go = out->let_go;
	out->awaited |= bit_of(f);
	in->until_ms = now + out->wait_ms;
	in->next = f->waiting;
	f->waiting = in;
	arm(f, in->until_ms, now);
	return -EAGAIN;
}

/* -- sending -------------------------------------------------------------- */

static int send_one(struct outlet *out, const struct packet *p)
{
	int r = out->send(out, p);

	if (r < 0)
		return r;
	out->counts->n[COUNT_OUT_FRAMES]++;
	out->counts->n[COUNT_OUT_BYTES] += p->len;
	if (out->capture)
		capture_frame(out->capture, p);
	return 0;
}

/* *sent: segments that were sent before, and in the end. */
static int send_segments(struct flow *f, struct outlet *out,
			 const struct packet *p, size_t *sent)
{
	struct segment s;
	struct packet one;
	size_t len;
	int r;

	segment_init(&s, p);
	segment_skip(&s, *sent);
	while ((len = segment_next(&s, f->segment))) {
		one = packet_flat(f->segment, len);
		one.flow = p->flow;
		r = send_one(out, &one);
		if (r < 0)
			return r;
		++*sent;
	}
	return 0;
}

static int deliver(struct flow *f, struct outlet *out, const struct packet *p,
		   size_t *sent)
{
	int r;

	if (offload_needs(&p->offload) & ~out->takes)
		r = send_segments(f, out, p, sent);
	else
		r = send_one(out, p);
	if (r == 0 || *sent)
		touch(f, out);
	return r;
}

static void lose(struct outlet *out, int why)
{
	count(out->counts, why == -ENOTCONN   ? COUNT_DOWN
			   : why == -EMSGSIZE ? COUNT_TOO_BIG
					      : COUNT_FULL);
}

static int send_or_wait(struct inlet *in, struct outlet *out,
			const struct packet *p)
{
	struct flow *f = in->flow;
	int r = deliver(f, out, p, &in->sent);

	if (r == -EAGAIN && may_wait(out))
		return wait_for(f, in, out);
	if (r < 0)
		lose(out, r);
	in->sent = 0;
	flow_took(in, p->len);
	return 0;
}

int flow_send(struct inlet *in, struct outlet *out, const struct packet *p)
{
	int r;

	make_room_to_touch(in->flow);
	outlet_lock(out);
	r = send_or_wait(in, out, p);
	outlet_unlock(out);
	return r;
}

void flow_copy(struct inlet *in, struct outlet *out, const struct packet *p)
{
	size_t sent = 0;
	int r;

	make_room_to_touch(in->flow);
	outlet_lock(out);
	r = deliver(in->flow, out, p, &sent);
	if (r < 0)
		lose(out, r);
	outlet_unlock(out);
}

void flow_drained(struct flow *f, struct outlet *out)
{
	out->slow = false;
	let_go(f, out);
}

/* -- coming and going ------------------------------------------------------ */

/* Those that wait find out what became of it. */
static void forget_outlet_in(struct flow *f, struct outlet *out)
{
	struct inlet **pp = &f->waiting;

	untouch(f, out);
	while (*pp)
		if ((*pp)->awaits == out) {
			make_ready(f, pp);
			round_post(f->round, &f->look);
		} else {
			pp = &(*pp)->next;
		}
}

void flow_forget_outlet(struct flow *f, struct outlet *out)
{
	for (unsigned int i = 0; i < f->first->n_flows; i++)
		forget_outlet_in(f->first->flows[i], out);
	out->awaited = 0;
}

void flow_forget_inlet(struct flow *f, struct inlet *in)
{
	in->sent = 0;
	in->shown = false;
	forget(f, in);
}

bool flow_is_shared(const struct flow *f)
{
	return f->first->n_flows > 1;
}

unsigned int flow_index(const struct flow *f)
{
	return f->index;
}

void flow_outlet(const struct flow *f, struct outlet *out)
{
	if (flow_is_shared(f))
		lock_share(&out->lock);
}

void flow_join(struct flow *first, struct flow *f)
{
	assert(first->n_flows < FLOWS_MAX);
	f->first = first;
	f->index = first->n_flows;
	first->flows[first->n_flows++] = f;
}

int flow_new(struct loop *l, struct round *r, struct flow **ret,
	     struct errmsg *err)
{
	struct flow *f = calloc(1, sizeof(*f));

	if (!f)
		return errmsg_set(err, -ENOMEM, "flow control");
	f->round = r;
	f->due_ms = -1;
	f->look.fn = on_look;
	f->flush.fn = on_flush;
	f->flush.last = true;
	flow_join(f, f);
	if (loop_timer_add(l, -1, on_timer, f, &f->timer) < 0) {
		free(f);
		return errmsg_set(err, -ENOMEM, "flow control");
	}
	*ret = f;
	return 0;
}

void flow_free(struct flow *f)
{
	if (!f)
		return;
	round_forget(f->round, &f->look);
	round_forget(f->round, &f->flush);
	loop_timer_free(f->timer);
	free(f);
}
