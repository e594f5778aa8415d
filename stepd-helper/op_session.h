/* op_session.h - session.*, op.*, result.*: ops on their way (session.h)
 *
 * Owns: who waits for results.
 */
#ifndef VMSTEP_HELPER_OP_SESSION_H
#define VMSTEP_HELPER_OP_SESSION_H

#include "ops.h"
#include "session.h"

struct op_session;

extern const struct rpc_method op_session_methods[];

/* 0 or -errno. */
int op_session_new(struct loop *l, struct sessions *s, struct ops *ops,
		   struct op_session **ret);
void op_session_free(struct op_session *o); /* NULL is fine */

#endif
