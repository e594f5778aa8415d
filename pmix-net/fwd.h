/* fwd.h - where a frame goes
 *
 * Knows ranks, nodes and MAC addresses; neither sockets nor kinds of port or
 * link. A frame for a rank's address goes to that rank's port, or to its node;
 * for an address that is none of the step's, where it was last seen (learn.h);
 * a broadcast or multicast to every other port here, and once to every other
 * node: in a step of FWD_FLAT_NODES from here, in a larger one along a tree of
 * nodes, each passing it on. What has one receiver never travels on. A frame
 * for a group whose members are known goes to these, along the tree (mcast.h).
 *
 * Owns:    the list of ports, the learnt addresses.
 * Borrows: the rest of struct fwd_conf, the table, inlets and outlets.
 * Thread:  frames: any worker's, each with inlets of its own flow; the rest
 *          while the others stand. What is for many is worker 0's business:
 *          others hand it over.
 */
#ifndef VMSTEP_FWD_H
#define VMSTEP_FWD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "buf.h"
#include "errmsg.h"
#include "flow.h"
#include "mcast.h"
#include "names.h"
#include "rankset.h"
#include "table.h"
#include "workers.h"

struct fwd;

struct fwd_conf {
	struct addr_net net;
	unsigned int mtu; /* 68..65521 */
	uint32_t nranks;
	const struct rankset *local; /* ranks of this node; borrowed */
	struct flow *flow;	     /* borrowed */
	struct names names;	     /* its texts are borrowed */
	struct mcast *mcast;	     /* borrowed; NULL: groups are broadcast */
	struct workers *workers;     /* borrowed; NULL: one */
	struct buf_pool *pool;	     /* borrowed; for what they send */
};

/* The outlet to a node, whose link is opened where there is none yet; NULL
 * when that node has left or cannot be reached. @worker: whose frame it is. */
typedef struct outlet *(*fwd_node_fn)(uint32_t node, unsigned int worker,
				      void *arg);

int fwd_new(const struct fwd_conf *conf, struct fwd **ret, struct errmsg *err);
void fwd_free(struct fwd *f); /* NULL is fine */

#define FWD_FLAT_NODES 16

struct fwd_tree {
	/* Call @fn for our neighbours but @from. */
	void (*spread)(uint32_t from, void (*fn)(uint32_t node, void *fn_arg),
		       void *fn_arg, void *arg);
	/* The neighbour behind which @node is; UINT32_MAX: none. */
	uint32_t (*toward)(uint32_t node, void *arg);
	void *arg;
};

/* The nodes of the step, and which of them is ours. Before, frames for other
 * nodes are dropped. @t is borrowed. */
void fwd_set_table(struct fwd *f, const struct table *t, uint32_t self,
		   fwd_node_fn node, void *arg, const struct fwd_tree *tree);

/* The port of @rank, a local one. -EEXIST when it has one; -ENOMEM. */
int fwd_add_port(struct fwd *f, uint32_t rank, struct outlet *out);
/* Its guest's driver has started, also anew. */
void fwd_port_started(struct fwd *f, uint32_t rank);
/* A frame of our own for the guest of @rank; never waits. */
void fwd_tell_port(struct fwd *f, uint32_t rank, const uint8_t *frame,
		   size_t len);
/* Forgets its outlet, too, not its inlets; none is fine. */
void fwd_remove_port(struct fwd *f, uint32_t rank);

/* One frame from the guest of @rank, or from @node. 0: done with it, wherever
 * it went. -EAGAIN: it waits, see flow_send(). */
int fwd_from_port(struct fwd *f, uint32_t rank, struct inlet *in,
		  const struct packet *p);
int fwd_from_node(struct fwd *f, uint32_t node, struct inlet *in,
		  const struct packet *p);

#endif
