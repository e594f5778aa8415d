/* traffic.h - what a guest has sent, by who it is for
 *
 * A row of the step's traffic matrix, counted where a frame leaves its source:
 * whatever became of it later. Grows with the ranks that were talked to, up to
 * TRAFFIC_PEERS_MAX, by powers of two; those that come later are summed up as
 * others. With 10,000 ranks that is TRAFFIC_BYTES_MAX at the most.
 *
 * Owns:    the table.
 * Thread:  the port's.
 */
#ifndef VMSTEP_TRAFFIC_H
#define VMSTEP_TRAFFIC_H

#include <stddef.h>
#include <stdint.h>

#include "netstats.h"

#define TRAFFIC_SLOTS_MAX 8192
#define TRAFFIC_PEERS_MAX (TRAFFIC_SLOTS_MAX / 4 * 3)
#define TRAFFIC_BYTES_MAX (TRAFFIC_SLOTS_MAX * sizeof(struct traffic_slot))
#define TRAFFIC_NOBODY	  UINT32_MAX /* no rank, but a machine behind one */

struct traffic_slot {
	uint32_t rank; /* TRAFFIC_NOBODY: vacant */
	struct netstats_sum sum;
};

/* All 0 to begin with. */
struct traffic {
	struct traffic_slot *slots; /* NULL: none yet */
	struct traffic_slot *last;  /* found: frames come in rows */
	uint32_t room, n;
	struct netstats_sum to_all, others;
};

/* Where frames for @rank are summed up; never NULL. */
struct netstats_sum *traffic_find(struct traffic *t, uint32_t rank);
void traffic_done(struct traffic *t);

static inline void traffic_add(struct traffic *t, uint32_t rank, size_t bytes)
{
	struct netstats_sum *sum = t->last && t->last->rank == rank
					   ? &t->last->sum
					   : traffic_find(t, rank);

	sum->frames++;
	sum->bytes += bytes;
}

static inline void traffic_add_all(struct traffic *t, size_t bytes)
{
	t->to_all.frames++;
	t->to_all.bytes += bytes;
}

#endif
