/* op_event.h - event.*: what happens in a task, for who wants to know
 *
 * Two feeds (feed.h): events, and the lines of the helper's log. They can be
 * taken by number (event.take), or subscribed to: then they come as
 * notifications, from this task, and from others of the step, which are asked
 * by event.take (subscription.h).
 *
 * Owns:   the feeds, who waits for them, the subscriptions; the log's sink.
 * Thread: the loop's.
 */
#ifndef VMSTEP_OP_EVENT_H
#define VMSTEP_OP_EVENT_H

#include <jansson.h>
#include <stdbool.h>

#include "feed.h"
#include "loop.h"
#include "ops.h"
#include "peers.h"
#include "task.h"

#define OP_EVENT_KEPT  256 /* of each feed */
#define OP_EVENT_TAKE  64  /* for one answer */
#define OP_EVENT_KINDS 16  /* patterns of a filter */

struct op_event;

extern const struct rpc_method op_event_methods[];

/* 0 or -errno. */
int op_event_new(struct loop *l, const struct task *t, struct peers *p,
		 struct ops *ops, struct op_event **ret);
void op_event_free(struct op_event *e); /* NULL is fine */
/* The task ends: that is the last event, and who waits gets it. */
void op_event_end(struct op_event *e);

/* @kind has happened, as in "vm.paused"; @more (stolen, NULL: nothing) has what
 * else there is to say. Before op_event_new() (NULL) nobody hears. */
void op_event_say(struct op_event *e, const char *kind, json_t *more);

/* {"kind", "rank", "time_ms"}; NULL: no memory. */
json_t *event_new(const char *kind, uint32_t rank);

/* What event.take and event.subscribe have in common. */
struct event_want {
	struct feed *feed;
	const char *feed_name;
	json_t *kinds; /* owned; NULL: all */
	int64_t after; /* < 0: not given */
};
/* -EINVAL with words; event_want_done() in any case. */
int event_want_parse(struct op_event *e, const json_t *params,
		     struct event_want *ret, struct errmsg *err);
void event_want_done(struct event_want *w);
bool event_is_wanted(const struct event_want *w, const json_t *entry);

#endif
