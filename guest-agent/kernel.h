/* kernel.h - kernels: directories of executables, each an op
 *
 * A kernel comes with the image (KERNEL_SHIPPED/KERNEL/OP) or is made while
 * the step runs (KERNEL_ADDED/KERNEL/OP, which goes with the guest); where both
 * have an op the latter counts. What others than root could have written is
 * refused: ops run as root. The host runs them, by proc.start, with what
 * op.find tells it; doc/agent-port.md has the methods.
 *
 * Methods of rpc.h; each is a job (job.h).
 */
#ifndef VMSTEP_KERNEL_H
#define VMSTEP_KERNEL_H

#include <stdbool.h>

#include "agent.h"
#include "errmsg.h"
#include "ophead.h"

#define KERNEL_SHIPPED "/etc/vmstep/ops.d"
#define KERNEL_ADDED   "/run/vmstep/ops.d"

/* Others than those, for a test: borrowed, once, before there are jobs. */
void kernel_set_dirs(const char *added, const char *shipped);

void kernel_find_op(struct rpc_call *call, const json_t *params, void *agent);
void kernel_get(struct rpc_call *call, const json_t *params, void *agent);
void kernel_list(struct rpc_call *call, const json_t *params, void *agent);

/* kernelset.c */
void kernel_add(struct rpc_call *call, const json_t *params, void *agent);
void kernel_copy(struct rpc_call *call, const json_t *params, void *agent);
void kernel_drop(struct rpc_call *call, const json_t *params, void *agent);
void kernel_register(struct rpc_call *call, const json_t *params, void *agent);
void kernel_unregister(struct rpc_call *call, const json_t *params,
		       void *agent);

/* -- for those who do it: in a job ----------------------------------------- */

enum kernel_where { KERNEL_IS_ADDED, KERNEL_IS_SHIPPED, KERNEL_WHERES };

/* Parameter @name, a kernel's or an op's, which has to be there. */
int kernel_need(const json_t *params, const char *name, char **ret,
		struct errmsg *err);
/* The path of a kernel, or of an op of it; to be freed, NULL without memory. */
char *kernel_path(enum kernel_where where, const char *kernel, const char *op);
bool kernel_has(enum kernel_where where, const char *kernel);
/* -ENOENT with words where there is none of that name. */
int kernel_check(const char *kernel, struct errmsg *err);

/* Each op of @kernel, which may be in one place or both: once, by name. */
typedef int (*kernel_op_fn)(const char *op, const char *path, void *arg,
			    struct errmsg *err);
int kernel_each(const char *kernel, kernel_op_fn fn, void *arg,
		struct errmsg *err);

#endif
