/* round.h - what is put off to the end of the event loop's round
 *
 * Frames and state that several events of one round produce leave together,
 * in one system call. A job asked for twice is done once; one asked for while
 * the jobs are being done is done in the next round, unless it is a last one:
 * those are done when all others are, in the same round.
 *
 * Here threads meet, too: a job may be posted to another thread's round.
 *
 * Owns:    its timer, what it is woken by. Borrows the loop and the jobs.
 * Thread:  the loop's, but for what says otherwise.
 */
#ifndef VMSTEP_ROUND_H
#define VMSTEP_ROUND_H

#include <stdbool.h>

#include "errmsg.h"
#include "loop.h"

struct round;

struct round_job {
	void (*fn)(struct round_job *job);
	struct round_job *next, *next_posted;
	bool wanted;
	bool last; /* done after those that are not */
	bool posted;
};

int round_new(struct loop *l, struct round **ret, struct errmsg *err);
void round_free(struct round *r); /* NULL is fine; jobs left are not done */

void round_want(struct round *r, struct round_job *job);
/* Before @job's memory goes. From the loop's thread, or while it stands. */
void round_forget(struct round *r, struct round_job *job);

/* From now on there are other threads. */
int round_share(struct round *r, struct errmsg *err);
/* The calling thread is the loop's from now on; before, who made it. */
void round_mine(struct round *r);
/* round_want(), from any thread. */
void round_post(struct round *r, struct round_job *job);
/* The loop is to look at its timers: somebody has set one while it stood. */
void round_wake(struct round *r);

#endif
