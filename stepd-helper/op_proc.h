/* op_proc.h - proc.*: processes in the guest, for the step's user
 *
 * vmstep-api(7) has the parameters. Where the agent is gone in the middle, what
 * waits is answered by E_LOST.
 */
#ifndef VMSTEP_OP_PROC_H
#define VMSTEP_OP_PROC_H

#include "ops.h"
#include "service.h"

#define OP_PROC_OUTPUT	   (1 << 20) /* bytes that are kept of each stream */
#define OP_PROC_OUTPUT_MAX (8 << 20)
#define OP_PROC_INPUT_MAX  (32 << 10) /* of proc.run's input */

struct op_proc;

extern const struct rpc_method op_proc_methods[];

int op_proc_new(const struct service_conf *conf, struct ops *ops,
		struct op_proc **ret);
void op_proc_free(struct op_proc *p); /* NULL is fine */

#endif
