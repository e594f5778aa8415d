/* op_agent.h - ops that the guest's agent carries out as they are
 *
 * Passed on to it, with its answer (doc/agent-port.md has the parameters).
 */
#ifndef VMSTEP_OP_AGENT_H
#define VMSTEP_OP_AGENT_H

#include "machine.h"
#include "ops.h"

struct op_agent;

extern const struct rpc_method op_agent_methods[];

int op_agent_new(struct machine *m, struct ops *ops, struct op_agent **ret);
void op_agent_free(struct op_agent *a); /* NULL is fine */

/* The guest of @m where its agent can be asked now; else NULL, and @call (NULL:
 * none) is answered by why not. */
struct guest *op_agent_guest(struct machine *m, struct rpc_call *call);
/* The same, where QEMU's agent does, too. */
struct guest *op_agent_any(struct machine *m, struct rpc_call *call);

/* Ask the agent, and answer @call with what it says; @params are stolen. */
void op_agent_ask(struct machine *m, struct rpc_call *call, const char *method,
		  json_t *params);
/* A rpc_reply_fn that ends the rpc_call @arg. */
void op_agent_answer(const struct rpc_reply *reply, void *call);
/* What guest_request() and the like returned: < 0 ends @call. */
void op_agent_failed(struct rpc_call *call, int r);

#endif
