/* op_msg.h - msg.* and queue.*: messages for this task
 *
 * A queue is where its receiver is: msg.send comes here from wherever it was
 * said (peers.h). A queue that nobody has opened is made by its first use, with
 * the defaults of queue.h.
 *
 * Owns: the queues, OP_MSG_QUEUES and OP_MSG_BYTES at the most.
 */
#ifndef VMSTEP_HELPER_OP_MSG_H
#define VMSTEP_HELPER_OP_MSG_H

#include "loop.h"
#include "op_event.h"
#include "ops.h"
#include "task.h"

#define OP_MSG_QUEUES 256
#define OP_MSG_BYTES  (64 * 1024 * 1024)
#define OP_MSG_EACH   1024 /* messages of one msg.send */

struct op_msg;

extern const struct rpc_method op_msg_methods[];

/* 0 or -errno. @events (borrowed) hears of queues;
 * NULL: nobody does. */
int op_msg_new(struct loop *l, const struct task *t, struct op_event *events,
	       struct ops *ops, struct op_msg **ret);
void op_msg_free(struct op_msg *m); /* NULL is fine */

#endif
