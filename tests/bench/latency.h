/* latency.h - samples of a round trip */
#ifndef VMSTEP_BENCH_LATENCY_H
#define VMSTEP_BENCH_LATENCY_H

#include <stdint.h>
#include <stdlib.h>

#define LATENCY_MAX 100000

struct latency {
	unsigned int n;
	int32_t ns[LATENCY_MAX];
};

static inline void latency_add(struct latency *l, int64_t ns)
{
	if (l->n < LATENCY_MAX)
		l->ns[l->n++] = (int32_t)ns;
}

static inline int latency_cmp(const void *a, const void *b)
{
	int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;

	return (x > y) - (x < y);
}

static inline void latency_sort(struct latency *l)
{
	qsort(l->ns, l->n, sizeof(l->ns[0]), latency_cmp);
}

/* Of sorted samples, in us: @part 0.5 is the median. */
static inline double latency_us(const struct latency *l, double part)
{
	return l->n ? l->ns[(unsigned int)(part * (l->n - 1))] / 1e3 : 0;
}

#endif
