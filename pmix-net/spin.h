/* spin.h - to sleep, or to look again for a while
 *
 * A sleeper is woken some 8 us after the event; one that looks again sees it at
 * once, and takes a CPU for it. So a worker spins only where that has just
 * been worth it: after a sleep that was over within SPIN_MAX_NS, twice as long
 * as the last time, up to that; after a longer sleep not at all. It never does
 * while the kernel takes its CPU away for somebody else.
 *
 * Thread: the worker's.
 */
#ifndef VMSTEP_SPIN_H
#define VMSTEP_SPIN_H

#include <stdbool.h>
#include <stdint.h>

#define SPIN_MIN_NS  10000
#define SPIN_MAX_NS  50000
#define SPIN_SHUN_NS 100000000 /* after somebody else wanted the CPU */

struct spin {
	int64_t for_ns; /* 0: do not */
	int64_t worked_ns, slept_ns, shun_until_ns;
	long preempted; /* so often when last looked at */
};

int64_t spin_now_ns(void);
/* There was work just now. */
void spin_worked(struct spin *s);
/* There is none: look again? */
bool spin_on(struct spin *s);
/* What is to wake us is armed; it has woken us. */
void spin_slept(struct spin *s);
void spin_woke(struct spin *s);

#endif
