/* mesh.h - this node's links to the others
 *
 * Opens a link when something has to go to a node, tries again where that
 * fails, makes it anew where it breaks, closes it when it is idle, and settles
 * which of two connections of one pair lives: the one that the node with the
 * lower number dialled.
 *
 * Owns:    the links, and for each node that was ever talked to a queue
 *          (outq.h) and an inlet and outlet.
 * Borrows: the table, and what is in struct mesh_env.
 * Thread:  worker 0's; mesh_outlet() is for any.
 */
#ifndef VMSTEP_MESH_H
#define VMSTEP_MESH_H

#include "buf.h"
#include "counters.h"
#include "flow.h"
#include "fwd.h"
#include "link.h"
#include "loop.h"
#include "outq.h"
#include "round.h"
#include "table.h"
#include "workers.h"

#define MESH_REACH_MS 30000 /* then a node never met is unreachable */
#define MESH_BYE_MS   1000  /* for the others to take our BYE */
#define MESH_IDLE_MS  30000 /* without a message, and a link is closed */

struct mesh;

struct mesh_ops {
	/* There is a link to @node now. */
	void (*up)(uint32_t node, bool again, void *arg);
	/* STATE, BYE, ACK or GROUPS came from @node. -EPROTO ends the link. */
	int (*control)(uint32_t node, enum wire_type type, const uint8_t *data,
		       size_t len, struct errmsg *err, void *arg);
	/* Messages between tasks: is there something for @node? Fill a batch,
	 * and return its length. What came is as with control(). */
	bool (*has_ops)(uint32_t node, void *arg);
	size_t (*fill_ops)(uint32_t node, uint8_t *batch, size_t size,
			   void *arg);
	int (*came_ops)(uint32_t node, const uint8_t *batch, size_t len,
			struct errmsg *err, void *arg);
	/* The link to @node broke, with no BYE before. It is made anew: up() or
	 * unreachable() follows. */
	void (*broken)(uint32_t node, const char *why, void *arg);
	/* The link to @node was idle, and both ends have closed it. It is made
	 * anew as soon as something has to go there. */
	void (*closed)(uint32_t node, void *arg);
	/* Is the link to @node to stay, also when it is idle? */
	bool (*needed)(uint32_t node, void *arg);
	/* No link to @node could be made, or it broke the rules; we try none
	 * any more. It may still come to us. */
	void (*unreachable)(uint32_t node, const char *why, void *arg);
	/* After mesh_leave(): everyone has our BYE, or had the time to. */
	void (*left)(void *arg);
	/* Someone did not prove the key; -ECONNRESET: it hung up. */
	void (*stranger)(const char *who, int code, const char *why, void *arg);
};

struct mesh_env {
	struct loop *loop;
	struct round *round;
	struct buf_pool *pool;
	struct flow *flow; /* worker 0's, as are loop and round */
	struct fwd *fwd;
	struct workers *workers; /* NULL: there is one */
	const struct auth *auth; /* complete before mesh_start() */
	int lost_after_ms;	 /* then a node once met is unreachable */
	int idle_ms;		 /* a link is closed that was idle so long */
	const struct mesh_ops *ops;
	void *arg;
};

int mesh_new(const struct mesh_env *env, struct mesh **ret, struct errmsg *err);
void mesh_free(struct mesh *m); /* NULL is fine */

/* What link_tcp_listen() and its like need to report to this mesh. */
struct link_env mesh_link_env(struct mesh *m);
/* Gives @host (owned from now on, also on failure) and the table of nodes. */
int mesh_start(struct mesh *m, struct link_host *host, const struct table *t,
	       uint32_t self, struct errmsg *err);

/* For the forwarder: see fwd_node_fn. @arg is the mesh. */
struct outlet *mesh_outlet(uint32_t node, unsigned int worker, void *arg);

/* Open a link to @node where there is none; up(), unreachable() follow if
 * not yet. */
void mesh_reach(struct mesh *m, uint32_t node);
/* Send a control message to @node, which has a link. @len up to
 * WIRE_PAYLOAD_MAX. Returns 0 or -ENOMEM. */
int mesh_send(struct mesh *m, uint32_t node, enum wire_type type,
	      const void *data, size_t len);
/* has_ops() is true of @node, which is called on where there is no link.
 * -EHOSTUNREACH: no link is made any more. */
int mesh_want_ops(struct mesh *m, uint32_t node);
/* @node has said BYE: nothing is sent to it any more. */
void mesh_gone(struct mesh *m, uint32_t node);
/* Say BYE, with @text, on every link, accept no new one; left() follows within
 * MESH_BYE_MS. */
void mesh_leave(struct mesh *m, const char *text);

/* The counters of each link, for the log. */
typedef void (*mesh_count_fn)(uint32_t node, const char *name,
			      const struct counters *c, void *arg);
void mesh_each(const struct mesh *m, mesh_count_fn fn, void *arg);
/* A record for each. */
void mesh_stats(const struct mesh *m, struct netstats *s);
/* "node03"; "node 2 (192.0.2.7:40123)" where it was never met. */
void mesh_node_text(const struct mesh *m, uint32_t node, char *text,
		    size_t size);

#endif
