#include <config.h>

#include "round.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lock.h"

struct round {
	struct loop_timer *timer;
	struct round_job *jobs;	 /* of the next round */
	struct round_job *doing; /* not done yet in this one */
	struct round_job *last;	 /* at the end of this one, or of the next */
	struct loop *loop;	 /* borrowed */
	pthread_t thread;
	struct lock lock;	  /* of the posted ones */
	struct round_job *posted; /* by other threads */
	int wake;		  /* an eventfd; -1: one thread */
	struct loop_io *wake_io;
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
	r->loop = l;
	r->wake = -1;
	r->thread = pthread_self();
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
	loop_io_free(r->wake_io);
	if (r->wake >= 0)
		close(r->wake);
	lock_done(&r->lock);
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

static void unlink_posted(struct round *r, struct round_job *job)
{
	struct round_job **list = &r->posted;

	lock_take(&r->lock);
	while (*list && *list != job)
		list = &(*list)->next_posted;
	if (*list)
		*list = job->next_posted;
	job->posted = false;
	lock_drop(&r->lock);
}

void round_forget(struct round *r, struct round_job *job)
{
	unlink_posted(r, job);
	if (!job->wanted)
		return;
	job->wanted = false;
	unlink_job(&r->jobs, job);
	unlink_job(&r->doing, job);
	unlink_job(&r->last, job);
}

/* -- other threads --------------------------------------------------------- */

static void on_wake(uint32_t events, void *arg)
{
	struct round *r = arg;
	struct round_job *job, *next;
	uint64_t times;

	/* empty it first: who posts from here on wakes us again */
	if (read(r->wake, &times, sizeof(times)) < 0 && errno != EAGAIN)
		loop_io_set(r->wake_io, 0);
	lock_take(&r->lock);
	for (job = r->posted; job; job = next) {
		next = job->next_posted;
		job->posted = false;
		round_want(r, job);
	}
	r->posted = NULL;
	lock_drop(&r->lock);
}

int round_share(struct round *r, struct errmsg *err)
{
	int e;

	r->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (r->wake < 0)
		return errmsg_set(err, -errno, "eventfd of a worker");
	e = loop_io_add(r->loop, r->wake, EPOLLIN, on_wake, r, &r->wake_io);
	if (e < 0)
		return errmsg_set(err, e, "watch a worker's eventfd");
	lock_share(&r->lock);
	return 0;
}

void round_mine(struct round *r)
{
	r->thread = pthread_self();
}

void round_wake(struct round *r)
{
	const uint64_t one = 1;

	/* It cannot fail but where it is full, and then it wakes anyway. */
	if (r->wake >= 0 && write(r->wake, &one, sizeof(one)) < 0)
		return;
}

void round_post(struct round *r, struct round_job *job)
{
	bool first;

	if (!r->lock.shared || pthread_equal(r->thread, pthread_self())) {
		round_want(r, job);
		return;
	}
	lock_take(&r->lock);
	first = !r->posted;
	if (!job->posted) {
		job->posted = true;
		job->next_posted = r->posted;
		r->posted = job;
	}
	lock_drop(&r->lock);
	if (first)
		round_wake(r);
}
