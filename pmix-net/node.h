/* node.h - this node's part of the step's network, put together
 *
 * Joins the parts: what helpers say (ctl) becomes ports, the table of nodes
 * and states; what links bring goes to the forwarder (fwd) and the census.
 *
 *	helpers -- ctl -- node -- states -- mesh -- link (tcp)
 *	                   |                 |
 *	QEMU ----------- port ---- fwd ------+
 *
 * Owns:    all of these. Borrows the options and the loop.
 */
#ifndef VMSTEP_NODE_H
#define VMSTEP_NODE_H

#include "errmsg.h"
#include "loop.h"
#include "options.h"

#define NODE_HELPERS_MS 30000 /* for all helpers of this node to come */

struct node;

/* Takes o->ctl_fd, if it succeeds, and o->lock_fd and o->link_fd. After the
 * last helper has left the loop is stopped; while one has not come yet,
 * NODE_HELPERS_MS after the start at the earliest. */
int node_new(const struct options *o, struct loop *loop, struct node **ret,
	     struct errmsg *err);
void node_free(struct node *n); /* NULL is fine */

/* One line for each port and link. */
void node_log_counters(const struct node *n);

#endif
