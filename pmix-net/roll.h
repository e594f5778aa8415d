/* roll.h - what is known of the step's tasks and nodes
 *
 * Facts that never become untrue: "rank 3 is ready", "node 7 has left". So
 * merging two rolls is a union, and it does not matter in which order, how
 * often, or by which way a fact arrives.
 *
 * On the wire a roll is lines of text:
 *
 *	ready 0-3,7		these ranks are ready (done, failed likewise)
 *	gone 1			these nodes have left in order
 *	missing 4		these could not be reached by somebody
 *	all ready		holds for the whole step (or: all done)
 *	why 7 TEXT		what became of the failed rank, the lowest such
 *	lost RANK TEXT		the step cannot go on (RANK 4294967295: no rank)
 */
#ifndef VMSTEP_ROLL_H
#define VMSTEP_ROLL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "errmsg.h"
#include "netctl.h"
#include "rankset.h"

#define ROLL_NO_RANK  UINT32_MAX
#define ROLL_TEXT_MAX (32 * 1024) /* bytes of one text; more make several */

enum roll_set {
	ROLL_READY,
	ROLL_DONE,
	ROLL_FAILED,
	ROLL_GONE, /* of nodes */
	ROLL_MISSING,
	ROLL_SETS
};

enum roll_flag { ROLL_ALL_READY = 1 << 0, ROLL_ALL_DONE = 1 << 1 };

struct roll_words {
	uint32_t rank;
	char text[NETCTL_TEXT_LEN]; /* "": nothing said */
};

struct roll {
	struct rankset sets[ROLL_SETS];
	unsigned int flags; /* of enum roll_flag */
	struct roll_words why, lost;
};

struct roll_limits { /* what a text may speak of */
	uint32_t nranks, nnodes;
};

void roll_done(struct roll *r);

/* 0 or -ENOMEM. */
int roll_add(struct roll *r, enum roll_set set, uint32_t member);
int roll_merge(struct roll *r, const struct roll *other);
/* The words of the lowest rank stay. */
void roll_say(struct roll_words *w, uint32_t rank, const char *text);

/* Add what @text says to @r. -EPROTO with words in @err where it is not a
 * roll's text, or speaks of what is beyond @limits; -ENOMEM. @r may then have
 * a part of it. */
int roll_parse(struct roll *r, const char *text, size_t len,
	       const struct roll_limits *limits, struct errmsg *err);

enum roll_what { ROLL_EVENTS_ONLY, ROLL_EVERYTHING };

/* Give what @r has and @known has not as texts to @fn, each up to
 * ROLL_TEXT_MAX, none when there is no difference; then add it to @known.
 * ROLL_EVENTS_ONLY leaves the sets out. Returns 0, -ENOMEM, or what @fn
 * returned below 0. */
typedef int (*roll_text_fn)(const char *text, size_t len, void *arg);
int roll_tell(const struct roll *r, struct roll *known, enum roll_what what,
	      roll_text_fn fn, void *arg);

/* Does every rank below @nranks belong to @a or @b? */
bool roll_covers(const struct rankset *a, const struct rankset *b,
		 uint32_t nranks);

#endif
