/* subscription.h - events as notifications for a client (event.subscribe)
 *
 * A subscription reads feeds at its client's pace: what is overtaken meanwhile
 * is told as event.lost. Of another task the events come by event.take, which
 * waits there for the next; a task that cannot be reached is an event of its
 * own, once, and is asked again.
 *
 * Owns:    the subscriptions. Borrows loop, task, peers.
 * Thread:  the loop's.
 */
#ifndef VMSTEP_SUBSCRIPTION_H
#define VMSTEP_SUBSCRIPTION_H

#include <jansson.h>

#include "loop.h"
#include "peers.h"
#include "rpc.h"
#include "task.h"

#define SUBSCRIPTIONS_MAX     64   /* of all clients */
#define SUBSCRIPTION_RETRY_MS 5000 /* for a task that cannot be reached */

struct subscriptions;
struct event_want;

int subscriptions_new(struct loop *l, const struct task *t, struct peers *p,
		      struct subscriptions **ret);
void subscriptions_free(struct subscriptions *s); /* NULL is fine */
/* Other tasks are asked no more. */
void subscriptions_end(struct subscriptions *s);

/* Answer @call by a new one, of this task or of those that @to means (NULL:
 * this one); @want is taken. */
void subscriptions_add(struct subscriptions *s, struct rpc_call *call,
		       const json_t *to, struct event_want *want);
/* Answer @call: its client's subscription @id has ended. */
void subscriptions_remove(struct subscriptions *s, struct rpc_call *call,
			  json_int_t id);

#endif
