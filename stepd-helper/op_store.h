/* op_store.h - store.*: values by name, of a task or of the step
 *
 * The step's values are kept by rank 0's helper, to which others' calls are
 * passed on (peers.h). Each change of a value gives it a version that is higher
 * than any before, also of another.
 *
 * Owns: the values: OP_STORE_KEYS and OP_STORE_BYTES at the most.
 */
#ifndef VMSTEP_HELPER_OP_STORE_H
#define VMSTEP_HELPER_OP_STORE_H

#include "ops.h"
#include "peers.h"

#define OP_STORE_KEYS	   4096
#define OP_STORE_BYTES	   (16 * 1024 * 1024)
#define OP_STORE_KEY_MAX   256
#define OP_STORE_VALUE_MAX (64 * 1024)

struct op_store;

extern const struct rpc_method op_store_methods[];

/* 0 or -errno. */
int op_store_new(const struct task *t, struct peers *p, struct ops *ops,
		 struct op_store **ret);
void op_store_free(struct op_store *s); /* NULL is fine */

#endif
