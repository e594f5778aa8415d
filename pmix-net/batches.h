/* batches.h - how many frames and bytes are dealt with at a time
 *
 * Of a port: taken from the guest at one look, given to it before it is told.
 * Of a link: in one message. lib/netstats.h has the buckets.
 */
#ifndef VMSTEP_BATCHES_H
#define VMSTEP_BATCHES_H

#include "netstats.h"

static inline unsigned int batches_bucket(uint64_t n, unsigned int buckets)
{
	unsigned int i = n ? 63u - (unsigned int)__builtin_clzll(n) : 0;

	return i < buckets ? i : buckets - 1;
}

static inline void batches_add(struct batches *b, uint64_t frames,
			       uint64_t bytes)
{
	b->frames[batches_bucket(frames, BATCHES_FRAMES)]++;
	b->bytes[batches_bucket(bytes, BATCHES_BYTES)]++;
}

#endif
