/* memname.h - mem.name: names of regions of fabric-attached memory
 *
 * An op of helpers for helpers, of rank 0's, who knows them. A name is its
 * region's until that is destroyed. Where the helper that kept it has ended, or
 * cannot be reached, who asks for the name next gets it.
 *
 * Owns:    the names, at rank 0. Borrows the task, the peers.
 * Thread:  the loop's.
 */
#ifndef VMSTEP_HELPER_MEMNAME_H
#define VMSTEP_HELPER_MEMNAME_H

#include <stdint.h>

#include "ops.h"
#include "peers.h"
#include "task.h"

#define MEMNAME_MAX 65536

struct memname;

extern const struct rpc_method memname_methods[];

/* 0 or -errno. */
int memname_new(const struct task *t, struct peers *p, struct ops *ops,
		struct memname **ret);
void memname_free(struct memname *m); /* NULL is fine */

/* Ask rank 0, as peers_request() does. E_EXIST: a region has it. */
void memname_give(struct memname *m, const char *name, uint64_t region,
		  peers_reply_fn fn, void *arg);
void memname_drop(struct memname *m, const char *name, uint64_t region,
		  peers_reply_fn fn, void *arg);

#endif
