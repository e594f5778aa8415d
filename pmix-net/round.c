#include <config.h>

#include "round.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

struct round {
	struct loop_timer *timer;
	struct round_job *jobs;	 /* of the next round */
	struct round_job *doing; /* not done yet in this one */
	struct round_job *last;	 /* at the end of this one, or of the next */
};

static void do_all(struct round_job **list)
{
	struct round_job *job;

	while ((job = *list)) {
		*list = job->next;
		job->wanted = false;
		job->fn(job);
	}
}

static void on_timer(void *arg)
{
	struct round *r = arg;

	r->doing = r->jobs;
	r->jobs = NULL;
	do_all(&r->doing);
	do_all(&r->last);
}

int round_new(struct loop *l, struct round **ret, struct errmsg *err)
{
	struct round *r = calloc(1, sizeof(*r));
	int e;

	if (!r)
		return errmsg_set(err, -ENOMEM, "round");
	e = loop_timer_add(l, -1, on_timer, r, &r->timer);
	if (e < 0) {
		free(r);
		return errmsg_set(err, e, "timer of the round");
	}
	*ret = r;
	return 0;
}

void round_free(struct round *r)
{
	if (!r)
		return;
	loop_timer_free(r->timer);
	free(r);
}

void round_want(struct round *r, struct round_job *job)
{
	struct round_job **list = job->last ? &r->last : &r->jobs;

	if (job->wanted)
		return;
	job->wanted = true;
	job->next = *list;
	*list = job;
	if (!job->next) /* timers run after the round's events */
		loop_timer_set(r->timer, 0);
}

static void unlink_job(struct round_job **list, struct round_job *job)
{
	for (; *list; list = &(*list)->next)
		if (*list == job) {
			*list = job->next;
			return;
		}
}

void round_forget(struct round *r, struct round_job *job)
{
	if (!job->wanted)
		return;
	job->wanted = false;
	unlink_job(&r->jobs, job);
	unlink_job(&r->doing, job);
	unlink_job(&r->last, job);
}
