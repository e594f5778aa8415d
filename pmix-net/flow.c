#include <config.h>

#include "flow.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "segment.h"
#include "offload.h"

/* Room for outlets that wait to be flushed: with more, the first ones are
 * flushed before the round ends. */
#define TOUCHED_MAX 64

struct flow {
	struct round *round;   /* borrowed */
	struct inlet *waiting; /* a port or link each */
	struct inlet *ready;   /* done waiting; resumed at the round's end */
	struct round_job resume;
	struct loop_timer *timer;
	int64_t due_ms; /* when it goes off; -1: not armed */
	struct round_job flush;
	struct outlet *touched[TOUCHED_MAX];
	size_t n_touched;
	uint8_t segment[SEGMENT_MAX];
};

/* -- flushing ------------------------------------------------------------- */

static void flush_all(struct flow *f)
{
	while (f->n_touched) {
		struct outlet *out = f->touched[--f->n_touched];

		out->touched = false;
		out->flush(out);
	}
}

static void on_flush(struct round_job *job)
{
	flush_all((struct flow *)((char *)job - offsetof(struct flow, flush)));
}

static void touch(struct flow *f, struct outlet *out)
{
	if (out->touched || !out->flush)
		return;
	if (f->n_touched == TOUCHED_MAX)
		flush_all(f);
	out->touched = true;
	f->touched[f->n_touched++] = out;
	round_want(f->round, &f->flush);
}

static void untouch(struct flow *f, struct outlet *out)
{
	size_t i = 0;

	if (!out->touched)
		return;
	while (f->touched[i] != out)
		i++;
	f->touched[i] = f->touched[--f->n_touched];
	out->touched = false;
}

/* -- waiting -------------------------------------------------------------- */

static void unlink_waiting(struct inlet **pp)
{
	struct inlet *in = *pp;

	*pp = in->next;
	in->next = NULL;
	in->awaits = NULL;
}

/* Not from here: this may be called out of the outlet itself. */
static void release(struct flow *f, const struct outlet *out)
{
	struct inlet **pp = &f->waiting, *in;

	while ((in = *pp)) {
		if (in->awaits != out) {
			pp = &in->next;
			continue;
		}
		unlink_waiting(pp);
		in->next = f->ready;
		f->ready = in;
		round_want(f->round, &f->resume);
	}
}

static void resume_ready(struct round_job *job)
{
	struct flow *f =
		(struct flow *)((char *)job - offsetof(struct flow, resume));
	struct inlet *in;

	while ((in = f->ready)) {
		f->ready = in->next;
		in->next = NULL;
		in->resume(in);
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

static struct inlet *find_due(const struct flow *f, int64_t now_ms)
{
	struct inlet *in = f->waiting;

	while (in && in->until_ms > now_ms)
		in = in->next;
	return in;
}

static void on_timer(void *arg)
{
	struct flow *f = arg;
	int64_t now = loop_now_ms();
	struct inlet *in;

	while ((in = find_due(f, now))) {
		struct outlet *out = in->awaits;

		out->slow = true;
		charge(out, now);
		release(f, out);
	}
	f->due_ms = -1;
	for (in = f->waiting; in; in = in->next)
		arm(f, in->until_ms, now);
}

static void forget_ready(struct flow *f, struct inlet *in)
{
	for (struct inlet **pp = &f->ready; *pp; pp = &(*pp)->next)
		if (*pp == in) {
			*pp = in->next;
			in->next = NULL;
			return;
		}
}

static int wait_for(struct flow *f, struct inlet *in, struct outlet *out)
{
	int64_t now = loop_now_ms();

	assert(!in->awaits);
	forget_ready(f, in); /* it read on before it was resumed */
	count(in->counts, COUNT_WAITED);
	in->awaits = out;
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

static int deliver_all(struct flow *f, struct outlet *out,
		       const struct packet *p, size_t *sent)
{
	if (offload_needs(&p->offload) & ~out->takes)
		return send_segments(f, out, p, sent);
	return send_one(out, p);
}

static int deliver(struct flow *f, struct outlet *out, const struct packet *p,
		   size_t *sent)
{
	int r = deliver_all(f, out, p, sent);

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

int flow_send(struct inlet *in, struct outlet *out, const struct packet *p)
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

void flow_copy(struct inlet *in, struct outlet *out, const struct packet *p)
{
	size_t sent = 0;
	int r = deliver(in->flow, out, p, &sent);

	if (r < 0)
		lose(out, r);
}

void flow_drained(struct flow *f, struct outlet *out)
{
	out->slow = false;
	release(f, out);
}

void flow_forget_outlet(struct flow *f, struct outlet *out)
{
	untouch(f, out);
	release(f, out); /* they find out what became of it */
}

void flow_forget_inlet(struct flow *f, struct inlet *in)
{
	in->sent = 0;
	in->shown = false;
	for (struct inlet **pp = &f->waiting; *pp; pp = &(*pp)->next)
		if (*pp == in) {
			unlink_waiting(pp);
			return;
		}
	forget_ready(f, in);
}

int flow_new(struct loop *l, struct round *r, struct flow **ret,
	     struct errmsg *err)
{
	struct flow *f = calloc(1, sizeof(*f));

	if (!f)
		return errmsg_set(err, -ENOMEM, "flow control");
	f->round = r;
	f->due_ms = -1;
	f->resume.fn = resume_ready;
	f->flush.fn = on_flush;
	f->flush.last = true;
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
	round_forget(f->round, &f->resume);
	round_forget(f->round, &f->flush);
	loop_timer_free(f->timer);
	free(f);
}
