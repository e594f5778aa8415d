/* census.h - which tasks are ready, done, failed, agreed on by all nodes
 *
 * A state machine of one node. Each node keeps a roll (roll.h) and tells news
 * to its parent in a tree of nodes; the root sees the whole step and decides;
 * what it decides travels down. The tree repairs itself as nodes leave:
 *
 *   parent(n) is the first living node of (n-1)/16, ((n-1)/16-1)/16 ... 0;
 *   where none of these lives, the lowest living node below n;
 *   where there is none below n, n is the root.
 *
 * Every parent is lower than its child, so there are no circles, whatever two
 * nodes believe of a third. A node that leaves hands what it knows to its
 * parent (the root: to the lowest other) and waits for the ACK of one that
 * stays; only then it says BYE to the rest. So nothing that was known is lost
 * in whatever order nodes leave, and what one node knows of who has left
 * reaches the root. When all is done no one needs to know more: then a node
 * goes as soon as its children have that news, and its BYE says so, upon which
 * they look for no other parent. A child connects to its parent; a parent that
 * misses one for CENSUS_CHILD_MS connects to it instead, so that no node dies
 * unnoticed.
 *
 * A link that breaks changes nothing by itself: when it is up again both ends
 * tell everything again. A node that somebody could not reach, and that is not
 * known to have left, is missing. The root hears of it, and gives the knowledge
 * that it left grace_ms to arrive. Before all tasks were ready it then
 * declares the step lost. After that a node that the root itself can reach is
 * fine; the tasks of one that it cannot reach either have failed, and the rest
 * goes on. In the tree a missing node is as dead, but to those that it has a
 * link to.
 *
 * Pure: no sockets, no clock. Functions only note what happened and ask for
 * census_sync() by soon(); that one acts.
 */
#ifndef VMSTEP_CENSUS_H
#define VMSTEP_CENSUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "errmsg.h"
#include "netctl.h"
#include "rankset.h"

#define CENSUS_FANOUT	16
#define CENSUS_GRACE_MS 5000 /* usually */
#define CENSUS_CHILD_MS 10000

struct census;

enum census_timer { CENSUS_GRACE, CENSUS_CHILD, CENSUS_TIMERS };

struct census_ops {
	/* Call census_sync() when this round of events is over. */
	void (*soon)(void *arg);
	/* Have a link to @node: census_up() or census_unreachable() follows,
	 * unless it was up already. */
	void (*reach)(uint32_t node, void *arg);
	/* To @node, which is up. 0 or -errno. */
	int (*send_state)(uint32_t node, const char *text, size_t len,
			  void *arg);
	void (*send_ack)(uint32_t node, void *arg);
	void (*send_bye)(uint32_t node, bool all_done, void *arg);
	/* Call census_timeout() for @which in @ms; < 0: never mind. */
	void (*timer)(enum census_timer which, int64_t ms, void *arg);
	/* News for this node's tasks: each once. */
	void (*all)(enum netctl_state state, void *arg);
	void (*lost)(uint32_t rank, const char *text, void *arg);
	/* After census_leave(): BYE may be said to everyone now. @all_done: say
	 * so, and that our children know. */
	void (*handed_over)(bool all_done, void *arg);
	/* The step goes on without @node: its ranks are added to @ranks. 0 or
	 * -ENOMEM. */
	int (*without)(uint32_t node, struct rankset *ranks, void *arg);
	/* Keep what census_restore() is to be told if this process is killed.
	 * 0 or -errno: tell it again. */
	int (*record)(const char *text, size_t len, void *arg);
	/* What to call @node in a message. */
	void (*node_text)(uint32_t node, char *text, size_t size, void *arg);
};

int census_new(uint32_t nranks, int grace_ms, const struct census_ops *ops,
	       void *arg, struct census **ret, struct errmsg *err);
void census_free(struct census *c); /* NULL is fine */

/* The nodes are known: this one is @self of @nnodes. -ENOMEM. */
int census_start(struct census *c, uint32_t self, uint32_t nnodes);

/* After census_start(): what a killed predecessor had recorded. -EPROTO with
 * words in @err, or -ENOMEM; what came before that holds. */
int census_restore(struct census *c, const char *text, size_t len,
		   struct errmsg *err);

/* What a local task says; one that was done cannot fail any more; with
 * NETCTL_FAILED, why, as in "vm[3]@node07: ...". -ENOMEM. */
int census_state(struct census *c, uint32_t rank, enum netctl_state state,
		 const char *why);

/* What happens to links: a broken one comes up again, or its node is
 * unreachable. census_recv() and census_bye() return 0, or -EPROTO with words
 * in
 * @err, or -ENOMEM. */
void census_up(struct census *c, uint32_t node);
int census_recv(struct census *c, uint32_t node, const char *text, size_t len,
		struct errmsg *err);
int census_bye(struct census *c, uint32_t node, bool all_done);
void census_ack(struct census *c, uint32_t node);
void census_broken(struct census *c, uint32_t node);
void census_unreachable(struct census *c, uint32_t node);
void census_timeout(struct census *c, enum census_timer which);

/* The tree, for frames that go to all nodes: what came from @from (our own:
 * self) goes on to all neighbours but that one. Two nodes are neighbours where
 * the one takes the other for its parent and has told it so; a parent is the
 * lower of the two, so what goes along the tree never meets itself. */
typedef void (*census_node_fn)(uint32_t node, void *arg);
void census_spread(const struct census *c, uint32_t from, census_node_fn fn,
		   void *arg);
/* The neighbour behind which @node is; UINT32_MAX: none. */
uint32_t census_toward(const struct census *c, uint32_t node);

/* Is the link to @node to stay, also when nothing goes over it: a neighbour's
 * in the tree, or one that shows that a missing node lives. */
bool census_needs(const struct census *c, uint32_t node);

/* This node's tasks are gone. handed_over() follows, at once where nobody
 * needs what is known here. */
void census_leave(struct census *c);

void census_sync(struct census *c);

#endif
