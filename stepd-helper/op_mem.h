/* op_mem.h - mem.*: fabric-attached memory of all nodes
 *
 * Regions, items in them, and what is done to items, by where they are kept:
 *
 *	op_mem.c       asks who keeps them, by name or number
 *	op_mem_data.c  put, get, scatter, gather, atomics, and their order
 *	op_mem_word.c  words as JSON has them
 *	memhome.h      the keeper's answers
 *	memname.h      names of regions, at rank 0
 *	memlink.h      data under way
 *	memkeep.h      ... and what is done with it
 *
 * Owns:    all of these. Borrows the loop, the task, the spec, the peers.
 * Thread:  the loop's.
 */
#ifndef VMSTEP_HELPER_OP_MEM_H
#define VMSTEP_HELPER_OP_MEM_H

#include "loop.h"
#include "ops.h"
#include "peers.h"
#include "spec.h"
#include "task.h"

#define OP_MEM_DATA (64 * 1024) /* bytes in a request or an answer */

struct op_mem;

extern const struct rpc_method op_mem_methods[], op_mem_data_methods[];

/* 0 or -errno. */
int op_mem_new(struct loop *l, const struct task *t, const struct spec *s,
	       struct peers *p, struct ops *ops, struct op_mem **ret);
void op_mem_free(struct op_mem *m); /* NULL is fine */

#endif
