/* op_plain.h - log.write and sleep: ops that need neither guest nor QEMU
 *
 * Owns: sleeps that have not ended.
 */
#ifndef VMSTEP_OP_PLAIN_H
#define VMSTEP_OP_PLAIN_H

#include "loop.h"
#include "ops.h"

#define OP_SLEEP_MAX_S 86400

struct op_plain;

extern const struct rpc_method op_plain_methods[];

int op_plain_new(struct loop *l, struct ops *ops, struct op_plain **ret);
void op_plain_free(struct op_plain *p); /* NULL is fine */

#endif
