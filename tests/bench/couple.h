/* couple.h - the pairs of guests that the parts of the benchmark use */
#ifndef VMSTEP_BENCH_COUPLE_H
#define VMSTEP_BENCH_COUPLE_H

#include "bench.h"
#include "frames.h"
#include "guest.h"
#include "latency.h"

/* One node, or two; a guest on each or two on one. */
struct couple {
	struct nodes *nodes;
	uint32_t nnodes;
	struct guest *guests[2]; /* ranks 0 and 1 */
};

/* Start it: both guests as @conf says, but for the rank. @netns NULL: one
 * node, its worker on WORKER_CPU; else node i there, on CPU i. */
void couple_start(struct couple *c, const struct bench *b,
		  const struct guest_conf *conf, const int netns[2]);
void couple_end(struct couple *c);
/* CPU time of the vmstep-net so far. */
int64_t couple_cpu_ns(const struct couple *c);
/* Do both of them offer @bit? Always false for streams. */
bool couple_has(const struct couple *c, unsigned int bit);

/* What a guest is that sends and receives frames of @len bytes. */
struct guest_conf guest_conf_for(enum netctl_port kind, size_t len);

/* One frame of 64 bytes there and back: samples of @l for @ms. @polling: the
 * guests look at their rings instead of sleeping. @rest_us between them. */
void couple_trips(struct couple *c, bool polling, unsigned int rest_us,
		  unsigned int ms, struct latency *l);

#endif
