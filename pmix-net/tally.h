/* tally.h - what all nodes have counted, at the step's end
 *
 * Where it is asked for (--report), each node sends what it has counted along
 * the tree of the step's states to the node of rank 0 when all tasks are done.
 * The last helper there that ends gets all of it. Ports that have closed before
 * are kept; whom their guests sent to, too, as far as a node's part takes no
 * more than TALLY_PART_MAX.
 *
 *	REPORT: origin, offset, total (32 bits each, the latter two in words),
 *	then words of netstats.h
 *
 * Owns:    the parts. Borrows the rest of struct tally_env.
 * Thread:  the loop's.
 */
#ifndef VMSTEP_TALLY_H
#define VMSTEP_TALLY_H

#include <stddef.h>
#include <stdint.h>

#include "errmsg.h"
#include "loop.h"
#include "netstats.h"

#define TALLY_PART_MAX	(1024 * 1024)	   /* bytes of a node */
#define TALLY_TOTAL_MAX NETSTATS_BYTES_MAX /* of all; others are left out */
#define TALLY_WAIT_MS	2000		   /* for the others' parts */

struct tally;

struct tally_env {
	struct loop *loop;
	/* Send a REPORT one node further towards @node. 0 or -errno. */
	int (*send)(uint32_t node, const void *data, size_t len, void *arg);
	/* Add this node's, without more than @max bytes of peers. */
	void (*take)(struct netstats *to, size_t max, void *arg);
	/* What was asked for is in @memfd (borrowed; < 0: out of memory). */
	void (*ready)(int memfd, void *arg);
	void *arg;
};

int tally_new(const struct tally_env *env, struct tally **ret,
	      struct errmsg *err);
void tally_free(struct tally *r); /* NULL is fine */

/* This node is @self of @nnodes; rank 0 is on @home. -ENOMEM. */
int tally_start(struct tally *r, uint32_t self, uint32_t nnodes, uint32_t home);
/* All tasks are done: tell home. */
void tally_all_done(struct tally *r);
/* This node leaves, maybe before all are done: the same. */
void tally_leave(struct tally *r);
/* A REPORT came, maybe to be passed on. 0; -EPROTO with words: it is bad. */
int tally_received(struct tally *r, const uint8_t *data, size_t len,
		   struct errmsg *err);
/* A helper ends: ready() follows, with what there is after TALLY_WAIT_MS; at
 * once where not all tasks are done. */
void tally_want(struct tally *r);

/* A port that closes, and whom it has sent to. */
struct port;
void tally_keep(struct tally *r, const struct port *p);

#endif
