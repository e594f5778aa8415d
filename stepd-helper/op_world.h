/* op_world.h - world.*, task.ping, task.list: who is there
 */
#ifndef VMSTEP_HELPER_OP_WORLD_H
#define VMSTEP_HELPER_OP_WORLD_H

#include "ops.h"
#include "peers.h"
#include "service.h"

#define OP_WORLD_LIST_MS 2000 /* for each task to answer task.list */
#define OP_WORLD_PING_MS 2000 /* for an agent to answer task.ping */

struct op_world;

extern const struct rpc_method op_world_methods[];

/* 0 or -errno. */
int op_world_new(const struct service_conf *conf, struct peers *p,
		 struct ops *ops, struct op_world **ret);
void op_world_free(struct op_world *w); /* NULL is fine */

#endif
