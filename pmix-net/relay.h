/* relay.h - messages between tasks: from this node's helpers, and to them
 *
 * A helper hands us a socket for its messages (netctl.h: OPS). What comes from
 * it goes to helpers of this node, and once to each other node that has
 * receivers, over the link (WIRE_OPS); what comes over a link goes to helpers
 * of this node. How each ends is passed back the same way (lib/opmsg.h).
 *
 *   nobody waits  what has no room in a queue is refused (OPMSG_FULL): one
 *                 that does not read costs the others nothing
 *   a link broke  what had left over it is OPMSG_LOST; what had not waits for
 *                 the next link, for RELAY_LINK_MS
 *   a helper      that has not come yet is waited for, for what has room
 *
 * Owns:    the helpers' sockets, a queue for each, and for each other node
 *          that was sent to.
 * Borrows: what is in struct relay_env, the table.
 * Thread:  worker 0's.
 */
#ifndef VMSTEP_RELAY_H
#define VMSTEP_RELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "errmsg.h"
#include "loop.h"
#include "rankset.h"
#include "table.h"

#define RELAY_HELPER_MSGS  8192 /* that one has not taken */
#define RELAY_HELPER_BYTES (4 * 1024 * 1024)
#define RELAY_NODE_MSGS	   8192 /* that have not left for a node */
#define RELAY_NODE_BYTES   (8 * 1024 * 1024)
#define RELAY_PARTS	   8	/* see opq.h */
#define RELAY_LINK_MS	   5000 /* then a node without a link is unreachable */

struct relay;

struct relay_env {
	struct loop *loop;
	const struct rankset *local; /* ranks of this node */
	uint32_t nranks;
	int link_ms; /* RELAY_LINK_MS */
	/* Something is to go to @node, by relay_fill(). -errno: it cannot. */
	int (*want)(uint32_t node, void *arg);
	/* @rank's helper broke the rules: its socket is closed. */
	void (*refused)(uint32_t rank, const char *why, void *arg);
	void *arg;
};

int relay_new(const struct relay_env *env, struct relay **ret,
	      struct errmsg *err);
void relay_free(struct relay *o); /* NULL is fine */

/* Where the others are, this node being @self; before, nothing is read. @t is
 * NULL where all are here. -ENOMEM. */
int relay_start(struct relay *o, const struct table *t, uint32_t self);

/* @fd (owned from now on) is for @rank's messages; it may be a further one. */
int relay_come(struct relay *o, uint32_t rank, int fd);
/* Its helper is gone, or will never come. */
void relay_leave(struct relay *o, uint32_t rank);
/* Who has not come by now will not. */
void relay_waited(struct relay *o);

/* What the mesh asks for and reports. */
bool relay_has(const struct relay *o, uint32_t node);
size_t relay_fill(struct relay *o, uint32_t node, uint8_t *batch, size_t size);
int relay_came(struct relay *o, uint32_t node, const uint8_t *batch, size_t len,
	       struct errmsg *err);
void relay_up(struct relay *o, uint32_t node);
void relay_closed(struct relay *o, uint32_t node); /* idle */
void relay_broken(struct relay *o, uint32_t node);
/* @left: its helpers are gone. Else no link can be made. */
void relay_gone(struct relay *o, uint32_t node, bool left);

#endif
