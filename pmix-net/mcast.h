/* mcast.h - multicast goes to ports and nodes that asked
 *
 * Overhears what guests report of their groups (snoop.h), keeps it (groups.h),
 * and asks them anew, as a router would, while they have any, so that what
 * nobody wants any more ages. Tells each neighbour in the tree of nodes what is
 * wanted on this side of it, so that frames for a group go along the tree, over
 * links that are there anyway, as far as somebody wants them. Groups that every
 * guest joins as it boots are not among these: a step whose applications use
 * no multicast sends nothing of all this.
 *
 * Owns:    the groups, its timers, what each neighbour was told last.
 * Borrows: the loop, and what is in struct mcast_env.
 * Thread:  the loop's.
 */
#ifndef VMSTEP_MCAST_H
#define VMSTEP_MCAST_H

#include "errmsg.h"
#include "groups.h"
#include "loop.h"

#define MCAST_ANSWER_MS 1000 /* for a guest to answer our question */
#define MCAST_SETTLE_MS 3000 /* until a port is believed to have answered */
#define MCAST_TELL_MS	100  /* between two messages to a neighbour */

struct mcast;

struct mcast_env {
	struct loop *loop;
	uint32_t service; /* its IPv4 address, which asks */
	int settle_ms;	  /* MCAST_SETTLE_MS, usually */
	/* Give @frame to the guest of @rank. */
	void (*send)(uint32_t rank, const uint8_t *frame, size_t len,
		     void *arg);
	/* Send GROUPS to @node. 0, or < 0: it has no link, or no memory. */
	int (*tell)(uint32_t node, const uint8_t *text, size_t len, void *arg);
	/* Call @fn for each neighbour of this node in the tree. */
	void (*neighbours)(void (*fn)(uint32_t node, void *fn_arg),
			   void *fn_arg, void *arg);
	void *arg;
};

int mcast_new(const struct mcast_env *env, struct mcast **ret,
	      struct errmsg *err);
void mcast_free(struct mcast *m); /* NULL is fine */

/* The port of @rank is there, or its guest's driver has started anew. -ENOMEM
 */
int mcast_port(struct mcast *m, uint32_t rank);
void mcast_forget_port(struct mcast *m, uint32_t rank);
/* Its guest sent a frame that is a report or a query by snoop_kind(); @cut:
 * there is more of it than @len bytes. */
void mcast_heard(struct mcast *m, uint32_t rank, enum snoop kind,
		 const uint8_t *frame, size_t len, bool cut);

/* A link to @node is up; it has said GROUPS; it is gone. */
void mcast_link_up(struct mcast *m, uint32_t node);
int mcast_told(struct mcast *m, uint32_t node, const uint8_t *text, size_t len,
	       struct errmsg *err);
void mcast_forget_node(struct mcast *m, uint32_t node);
/* Others may be neighbours now. */
void mcast_tree_changed(struct mcast *m);

/* Who wants what. */
const struct groups *mcast_groups(const struct mcast *m);

#endif
