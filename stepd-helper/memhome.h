/* memhome.h - mem.home: what is asked of who keeps memory
 *
 * An op of helpers for helpers. It goes to the helper that keeps a region, or
 * by way of a task of the node where one is to be made, and has in it who asks
 * for what.
 *
 * Owns:    the names (memname.h). Borrows the rest.
 * Thread:  the loop's.
 */
#ifndef VMSTEP_HELPER_MEMHOME_H
#define VMSTEP_HELPER_MEMHOME_H

#include <jansson.h>

#include "memkeep.h"
#include "memlink.h"
#include "ops.h"
#include "peers.h"

struct memhome;

extern const struct rpc_method memhome_methods[];

/* 0 or -errno. */
int memhome_new(const struct task *t, struct peers *p, struct memkeep *k,
		struct memlink *l, struct ops *ops, struct memhome **ret);
void memhome_free(struct memhome *h); /* NULL is fine */

/* What mem.home is asked with. @params are stolen. */
json_t *memhome_ask(const char *op, const struct mem_who *who, json_t *params);

#endif
