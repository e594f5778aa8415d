/* op_qga.h - ops of guests that have QEMU's guest agent (qga.h)
 *
 * Where that is the guest's agent, the ops on files, system and clock that it
 * can do are done by it; what it cannot is refused by E_NOTSUP. File systems
 * are frozen by it wherever it is there.
 */
#ifndef VMSTEP_OP_QGA_H
#define VMSTEP_OP_QGA_H

#include "ops.h"
#include "service.h"

struct op_qga;

extern const struct rpc_method op_qga_methods[]; /* nobody else's */
extern const struct rpc_method op_qga_others[];	 /* see ops_set_other() */

int op_qga_new(const struct service_conf *conf, struct ops *ops,
	       struct op_qga **ret);
void op_qga_free(struct op_qga *o); /* NULL is fine */

/* The agent, where it can be asked now; else NULL, and @call is answered. */
struct qga *op_qga_ready(const struct op_qga *o, struct rpc_call *call);
/* What qga_ask() returned: < 0 ends @call. */
void op_qga_failed(struct rpc_call *call, int r);

#endif
