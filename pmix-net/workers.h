/* workers.h - the threads that carry frames
 *
 * Each worker has a loop, a round, a flow and a spin of its own, and the ports
 * that were given to it. Worker 0 is the main thread: it has the links and all
 * that helpers and other nodes say, too. With one worker there is no thread
 * besides, no lock and no guard.
 *
 * What they share, they share under the world's lock: each holds its own part
 * of it while it runs callbacks, and lets it go while it waits for events.
 * Whoever changes what others look at (ports that come and go, memory and
 * rings of a guest, the table of nodes, reading all counters) stops the world:
 * he lets his own part go and takes all of them, before anybody else can. So
 * only frames themselves need finer locks: an outlet's (flow.h), and those of
 * what learns, captures and lends buffers.
 *
 * Owns:    the threads, and what each worker has, but worker 0's loop.
 * Thread:  worker 0's, but for what says otherwise.
 */
#ifndef VMSTEP_WORKERS_H
#define VMSTEP_WORKERS_H

#include <stddef.h>

#include "errmsg.h"
#include "flow.h"
#include "loop.h"
#include "round.h"
#include "spin.h"

#define WORKERS_MAX FLOWS_MAX

struct workers;

struct worker {
	struct loop *loop;
	struct round *round;
	struct flow *flow;
	struct spin spin;
	unsigned int index;
	size_t n_ports; /* that it was given */
};

/* @n of them, 1..WORKERS_MAX. @main (borrowed) is worker 0's loop; the threads
 * of the others begin with workers_start(). */
int workers_new(struct loop *main, unsigned int n, struct workers **ret,
		struct errmsg *err);
/* Threads take no signal but those that are theirs. */
int workers_start(struct workers *ws, struct errmsg *err);
/* Ends the threads. NULL is fine. */
void workers_end(struct workers *ws);
/* After workers_end(), and after all that was made with a worker. */
void workers_free(struct workers *ws); /* NULL is fine */

unsigned int workers_n(const struct workers *ws);
struct worker *workers_get(struct workers *ws, unsigned int i);
/* The one with the fewest ports; among such, not worker 0. */
struct worker *workers_least(struct workers *ws);

/* From now on they run on these CPUs, too, a list as in "0-3,8"; before the
 * first time, where they were started. -EINVAL, or what the kernel says. */
int workers_use_cpus(struct workers *ws, const char *cpus, struct errmsg *err);

/* Stop the world and let it go on, from worker 0. What it found out before it
 * may not hold any more, its own things aside. May be nested. NULL: there is
 * no other. */
void workers_stop(struct workers *ws);
void workers_go(struct workers *ws);

#endif
