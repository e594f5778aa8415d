/* op_sync.h - sync.barrier: tasks that wait for each other
 *
 * The lowest of the ranks that are to meet keeps the barrier; another's call is
 * passed on to it (peers.h). One that waits in vain is told who is missing, and
 * is not there any more.
 *
 * Owns: the barriers that somebody waits at, OP_SYNC_BARRIERS at the most.
 */
#ifndef VMSTEP_HELPER_OP_SYNC_H
#define VMSTEP_HELPER_OP_SYNC_H

#include "ops.h"
#include "peers.h"

#define OP_SYNC_BARRIERS   1024
#define OP_SYNC_TIMEOUT_MS 300000 /* if nothing else is said */

struct op_sync;

extern const struct rpc_method op_sync_methods[];

/* 0 or -errno. */
int op_sync_new(struct loop *l, const struct task *t, struct peers *p,
		struct ops *ops, struct op_sync **ret);
void op_sync_free(struct op_sync *s); /* NULL is fine */

#endif
