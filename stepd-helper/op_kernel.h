/* op_kernel.h - kernel.*, op.* and KERNEL:OP: named sets of ops
 *
 * A kernel is a directory of executables in the guest, and its agent knows them
 * (doc/agent-port.md); here one is run: its params go to it as a line of JSON,
 * what it writes is the result. The kernel `core` is built in: names for ops
 * of the catalogue.
 */
#ifndef VMSTEP_OP_KERNEL_H
#define VMSTEP_OP_KERNEL_H

#include "ops.h"
#include "service.h"

struct op_kernel;

extern const struct rpc_method op_kernel_methods[];

int op_kernel_new(const struct service_conf *conf, struct ops *ops,
		  struct op_kernel **ret);
void op_kernel_free(struct op_kernel *k); /* NULL is fine */

/* Is there a kernel of that name? @fn is told, now or later: of the reply, that
 * it is no error. */
void op_kernel_check(struct op_kernel *k, const char *kernel, rpc_reply_fn fn,
		     void *arg);

/* What an op wrote: the value, NULL with words. Nothing at all is {}. */
json_t *op_kernel_value(const char *out, size_t len, struct errmsg *err);

#endif
