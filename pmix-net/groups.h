/* groups.h - who wants which multicast groups
 *
 * Ports of this node, by what their guests report, and neighbours in the tree
 * of nodes, by what they tell us of what lies behind them. A port's wishes age;
 * a neighbour's hold until it tells others. Whoever wants more groups than are
 * kept of it gets all: so does a port that was just opened, whose guest we have
 * not asked yet, a router, and a neighbour that has told us nothing.
 *
 * Owns:    its tables: 32 bytes a group and member.
 * Thread:  the caller's. No I/O; the caller says what time it is.
 */
#ifndef VMSTEP_GROUPS_H
#define VMSTEP_GROUPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "snoop.h"

#define GROUPS_PORT_MAX	   64	  /* groups of one guest */
#define GROUPS_NODE_MAX	   256	  /* of a node and all behind it */
#define GROUPS_MEMBER_MS   260000 /* RFC 3376, 8.4: two questions and 10 s */
#define GROUPS_LEAVE_MS	   2000	  /* for others behind a port to answer */
#define GROUPS_INTERVAL_MS 125000 /* between questions */

struct groups;

struct groups *groups_new(void); /* NULL: out of memory */
void groups_free(struct groups *g);

/* -- ports. True: what this node wants may be another now ------------------ */

/* It was opened, or its guest's driver has started anew: it is to be asked at
 * once, and again after half of @settle_ms, for which it gets all. As above, or
 * -ENOMEM. */
int groups_port(struct groups *g, uint32_t rank, int64_t now_ms, int settle_ms);
bool groups_forget_port(struct groups *g, uint32_t rank);
bool groups_join(struct groups *g, uint32_t rank, const struct group *group,
		 int64_t now_ms);
/* It ends in GROUPS_LEAVE_MS unless it joins again. *ask: somebody is to be
 * asked whether it does. */
bool groups_leave(struct groups *g, uint32_t rank, const struct group *group,
		  int64_t now_ms, bool *ask);
/* It is to get all for a while: a router, which also gets reports; or one that
 * has reported more than we can know. */
bool groups_all(struct groups *g, uint32_t rank, bool router, int64_t now_ms);
/* What has aged is gone. *ask_port is called for ports that are to be asked
 * which groups they have. */
bool groups_tick(struct groups *g, int64_t now_ms,
		 void (*ask_port)(uint32_t rank, void *arg), void *arg);
/* When groups_tick() is to be called next; INT64_MAX: need not be. */
int64_t groups_due(const struct groups *g);

/* -- neighbours ------------------------------------------------------------ */

/* What node @node says it wants, as groups_tell() wrote it. -EPROTO, -ENOMEM:
 * it gets all. */
int groups_told(struct groups *g, uint32_t node, const uint8_t *text,
		size_t len);
/* It gets all until it tells. */
bool groups_forget_node(struct groups *g, uint32_t node);

/* What is wanted here, and by neighbours but @node, at @text; returns its
 * length. */
#define GROUPS_TEXT_MAX (4 + GROUPS_NODE_MAX * 16)
size_t groups_tell(const struct groups *g, uint32_t node,
		   uint8_t text[GROUPS_TEXT_MAX]);

/* -- frames ---------------------------------------------------------------- */

/* Call @fn for each port that wants @group; NULL: a report, for routers. */
void groups_each_port(const struct groups *g, const struct group *group,
		      void (*fn)(uint32_t rank, void *arg), void *arg);
/* The same of a neighbour; one that has told nothing wants all but reports. */
bool groups_node_wants(const struct groups *g, uint32_t node,
		       const struct group *group);

#endif
