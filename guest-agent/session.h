/* session.h - the agent's side of the conversation with the host
 *
 * Owns:    the port, the mux on it, and the methods' table; sets agent->mux and
 *          agent->rpc. Looks for the port until it is there, loads its driver
 *          where that is missing, and begins again when it has gone.
 * Thread:  the loop's.
 */
#ifndef VMSTEP_SESSION_H
#define VMSTEP_SESSION_H

#include "agent.h"

struct session;

/* @path: of the port, borrowed; NULL: port.h finds it. */
int session_new(struct agent *a, const char *path, struct session **ret,
		struct errmsg *err);
void session_free(struct session *s); /* NULL is fine */

#endif
