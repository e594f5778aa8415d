/* quiet.h - whose CPU time was it?
 *
 * A measurement during which others used the CPUs shows their load. It is
 * repeated, a few times; what is disturbed nevertheless is counted, and the
 * report says so.
 */
#ifndef VMSTEP_BENCH_QUIET_H
#define VMSTEP_BENCH_QUIET_H

#include <stdbool.h>
#include <stdint.h>

#include "bench.h"

struct quiet {
	unsigned int tries;
	int64_t start_ns, busy_ns, own_ns;
};

/* for (struct quiet q = { 0 }; quiet_again(&q, b);) measure();
 * What it starts has ended, and was waited for, when it returns. */
bool quiet_again(struct quiet *q, const struct bench *b);

#endif
