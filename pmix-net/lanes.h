/* lanes.h - other workers' frames on their way to links
 *
 * Links are worker 0's. Another worker packs its frames for a node into
 * batches of its own, as the link sends them (outq.h), in a lane that it has
 * for that node; worker 0 takes them batch by batch. So a frame is copied once,
 * as if its sender were worker 0's. One lane more of each worker, LANES_CRIES,
 * is for what worker 0 is to look at itself.
 *
 * Owns:    the lanes, made when they are first used; OUTQ_BYTES at most are in
 *          each.
 * Borrows: what is in struct lanes_conf.
 * Thread:  worker 0's; lanes_outlet() is for the worker that it names.
 */
#ifndef VMSTEP_LANES_H
#define VMSTEP_LANES_H

#include <stdbool.h>
#include <stdint.h>

#include "batches.h"
#include "buf.h"
#include "counters.h"
#include "flow.h"
#include "workers.h"

#define LANES_CRIES UINT32_MAX /* the node that is none */

struct lanes;

struct lanes_conf {
	struct workers *workers; /* NULL: there is one */
	struct buf_pool *pool;
	uint32_t nnodes;
	/* A lane to @node, which had no frames, has some. */
	void (*came)(uint32_t node, void *arg);
	void *arg;
};

/* NULL without memory. */
struct lanes *lanes_new(const struct lanes_conf *conf);
/* While the other workers stand, or have ended. NULL is fine. */
void lanes_free(struct lanes *ls);

/* @worker's lane to @node, for frames; NULL: that takes none. */
struct outlet *lanes_outlet(struct lanes *ls, unsigned int worker,
			    uint32_t node);

/* The next batch for @node from any of its lanes, in turns, ready for the
 * link; NULL: there is none now. */
struct buf *lanes_take(struct lanes *ls, uint32_t node);
bool lanes_has(const struct lanes *ls, uint32_t node);
/* Throw away what is in them, counted as COUNT_NODE_GONE. */
void lanes_lose(struct lanes *ls, uint32_t node);

enum lanes_state {
	LANES_OPEN,
	LANES_BROKEN, /* nobody waits for room in them */
	LANES_SHUT,   /* they take no frames */
};

void lanes_set(struct lanes *ls, uint32_t node, enum lanes_state state);
/* Add what they have counted, and bytes in them; while the other workers
 * stand. */
void lanes_count(const struct lanes *ls, uint32_t node, struct counters *counts,
		 struct batches *batches, uint64_t *queued);

#endif
