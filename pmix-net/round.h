/* round.h - what is put off to the end of the event loop's round
 *
 * Frames and state that several events of one round produce leave together,
 * in one system call. A job asked for twice is done once; one asked for while
 * the jobs are being done is done in the next round, unless it is a last one:
 * those are done when all others are, in the same round.
 *
 * Owns:    its timer. Borrows the loop and the jobs.
 * Thread:  the loop's.
 */
#ifndef VMSTEP_ROUND_H
#define VMSTEP_ROUND_H

#include <stdbool.h>

#include "errmsg.h"
#include "loop.h"

struct round;

struct round_job {
	void (*fn)(struct round_job *job);
	struct round_job *next;
	bool wanted;
	bool last; /* done after those that are not */
};

int round_new(struct loop *l, struct round **ret, struct errmsg *err);
void round_free(struct round *r); /* NULL is fine; jobs left are not done */

void round_want(struct round *r, struct round_job *job);
/* Before @job's memory goes. */
void round_forget(struct round *r, struct round_job *job);

#endif
