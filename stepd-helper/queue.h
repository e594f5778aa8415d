/* queue.h - a message queue of a task
 *
 * Bounded by messages and bytes. What its policy says happens where there is no
 * room: a sender is refused, or waits, or the oldest message goes, which is
 * counted and which its sender is told if that waits for it to be taken.
 * Nothing else is ever dropped.
 *
 * Owns:    its messages, and the calls of who waits: to put, to take, or for
 *          its message to be taken. Each is answered by QUEUE's functions.
 * Borrows: the loop.
 */
#ifndef VMSTEP_HELPER_QUEUE_H
#define VMSTEP_HELPER_QUEUE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "loop.h"
#include "rpc.h"

#define QUEUE_NAME_MAX	 64
#define QUEUE_DEPTH	 64
#define QUEUE_DEPTH_MAX	 65536
#define QUEUE_BYTES	 (4 * 1024 * 1024)
#define QUEUE_BYTES_MAX	 (64 * 1024 * 1024)
#define QUEUE_DATA_MAX	 (1024 * 1024 + 2) /* of one: a text has its quotes */
#define QUEUE_REF_MAX	 256		   /* of ref and reply_to */
#define QUEUE_WAITERS	 1024		   /* who waits to put; to take */
#define QUEUE_ANSWER_MAX (1024 * 1024 + 3500) /* fits lib/opmsg.h */

enum queue_policy { QUEUE_REJECT, QUEUE_BLOCK, QUEUE_DROP_OLDEST };
extern const char *const queue_policies[]; /* their names; NULL at the end */

struct queue;

struct queue_conf {
	size_t depth, bytes;
	enum queue_policy policy;
};

struct queue *queue_new(struct loop *l, const char *name,
			const struct queue_conf *conf); /* NULL: no memory */
/* Who waits is told that the task has ended. */
void queue_free(struct queue *q);
const char *queue_name(const struct queue *q);
/* For the queues of a task; in no order. */
struct queue *queue_next(const struct queue *q);
void queue_link(struct queue *q, struct queue **list);

struct queue_msg {
	uint32_t from;
	char *data; /* JSON: a tree takes many times the memory; owned */
	char *ref, *reply_to; /* owned; NULL: none */
	size_t bytes;	      /* of the three */
};

struct queue_how {
	bool until_taken; /* the answer comes when the last is taken */
	bool may_wait;	  /* for room, whatever the policy */
};
/* All @n messages of @m (owned, and what is in them), in their order, or none.
 * Answers @call: with the number of the last when that is in the queue, or when
 * it is taken; RPC_E_FULL. */
void queue_put(struct queue *q, struct rpc_call *call, struct queue_msg *m,
	       size_t n, struct queue_how how);

struct queue_want {
	size_t count, max_bytes; /* of messages in the answer */
	int64_t wait_ms;	 /* -1: for ever */
	int64_t from;		 /* -1: any */
	char *ref;		 /* owned; NULL: any */
	bool peek;
};
/* Answers @call with messages, RPC_E_TIMEOUT when there are none in time,
 * RPC_E_TOOBIG when the first of them does not fit, and stays. What is in @w is
 * stolen. */
void queue_take(struct queue *q, struct rpc_call *call, struct queue_want *w);

json_t *queue_stat(const struct queue *q);
/* Throw all away; how many there were. */
size_t queue_clear(struct queue *q);
/* A frozen queue gives nothing away. */
void queue_freeze(struct queue *q, bool frozen);
/* Has a message found no room since this was asked? Once, until the queue has
 * been emptied. */
bool queue_overflowed(struct queue *q);
/* With those that wait for room. */
size_t queue_bytes(const struct queue *q);

#endif
