#include <config.h>

#include "begin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "call.h"
#include "cleanup.h"
#include "log.h"
#include "loop.h"
#include "slurm.h"

#define TRY_S	     1 /* Slurm tells nobody when a step begins */
#define SAY_AFTER_MS 5000
#define SAY_AGAIN_MS 30000

/* What is waited for, and how long. */
struct begin {
	const char *what; /* "12", "12.0" */
	int64_t since_ms, until_ms, say_ms;
	bool all;
};

static int over(const struct begin *b, const char *state)
{
	log_err("waited %lld s for step %s%s, and its job is %s (--timeout)",
		(long long)(b->until_ms - b->since_ms) / 1000, b->what,
		b->all ? " to begin, all of it" : " to begin", state);
	return EXIT_NO_STEP;
}

static void say(struct begin *b, const char *state)
{
	int64_t now = loop_now_ms();

	if (now < b->say_ms)
		return;
	b->say_ms = now + SAY_AGAIN_MS;
	fprintf(stderr,
		"vmstep: waiting for a VM step of %s to begin, for %lld s now: its job is %s\n",
		b->what, (long long)(now - b->since_ms) / 1000, state);
}

/* A step of a job that runs, which is not there, has ended as likely as not:
 * who waits for its end need not wait for its begin. */
static bool may_begin(const struct begin *b, const struct call_where *w,
		      const char *state)
{
	return b->all || !w->step.step[0] || strncmp(state, "PEND", 4) == 0 ||
	       strncmp(state, "CONF", 4) == 0;
}

static int wait_for(const struct invocation *inv, const struct call_where *w,
		    struct begin *b)
{
	while (!call_has_begun(inv, w, b->all)) {
		_cleanup_free_ char *state = NULL;
		struct errmsg err;

		if (slurm_job_state(&w->step, &state, &err) < 0)
			return EXIT_DONE; /* the op says what is wrong */
		if (!may_begin(b, w, state))
			return EXIT_DONE;
		if (loop_now_ms() >= b->until_ms)
			return over(b, state);
		say(b, state);
		nanosleep(&(struct timespec){ .tv_sec = TRY_S }, NULL);
	}
	return EXIT_DONE;
}

int begin_wait(const struct invocation *inv, bool all, unsigned int *timeout_s,
	       char **ret_job)
{
	struct begin b = { .since_ms = loop_now_ms(), .all = all };
	struct call_where w;
	int64_t left;
	int status = call_where(inv, &w);

	b.until_ms = b.since_ms + (int64_t)*timeout_s * 1000;
	b.say_ms = b.since_ms + SAY_AFTER_MS;
	b.what = w.step.step[0] ? w.step.step : w.step.job;
	if (status == EXIT_DONE)
		status = wait_for(inv, &w, &b);
	*ret_job = status == EXIT_DONE ? strdup(b.what) : NULL;
	left = b.until_ms - loop_now_ms();
	*timeout_s = left > 0 ? (unsigned int)(left + 999) / 1000 : 0;
	call_where_done(&w);
	return status;
}
