#include <config.h>

#include "flow.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

struct flow {
	struct round *round;   /* borrowed */
	struct inlet *waiting; /* a port or link each */
	struct inlet *ready;   /* done waiting; resumed at the round's end */
	struct round_job resume;
	struct loop_timer *timer;
	int64_t due_ms; /* when it goes off; -1: not armed */
};

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
		out->lossy_until_ms = now + FLOW_LOSSY * out->wait_ms;
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

static int deliver(struct outlet *out, const struct packet *p)
{
	int r = out->send(out, p);

	if (r < 0)
		return r;
	out->counts->n[COUNT_OUT_FRAMES]++;
	out->counts->n[COUNT_OUT_BYTES] += p->len;
	return 0;
}

static void lose(struct outlet *out, int why)
{
	count(out->counts, why == -ENOTCONN   ? COUNT_DOWN
			   : why == -EMSGSIZE ? COUNT_TOO_BIG
					      : COUNT_FULL);
}

int flow_send(struct flow *f, struct inlet *in, struct outlet *out,
	      const struct packet *p)
{
	int r = deliver(out, p);

	if (r == -EAGAIN && !out->slow && loop_now_ms() >= out->lossy_until_ms)
		return wait_for(f, in, out);
	if (r < 0)
		lose(out, r);
	flow_took(in, p->len);
	return 0;
}

void flow_copy(struct outlet *out, const struct packet *p)
{
	int r = deliver(out, p);

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
	release(f, out); /* they find out what became of it */
}

void flow_forget_inlet(struct flow *f, struct inlet *in)
{
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
	loop_timer_free(f->timer);
	free(f);
}
