/* proc.h - the processes that the host has started
 *
 * Owns them, from proc.start to the end of their output. They go on when the
 * host is gone, with their output read to nowhere; a host that comes later
 * finds them by proc.list. When the agent ends they are left alone, but for
 * those that were asked for as bound to it.
 *
 * Thread: the loop's. The handlers are methods of rpc.h, in the table of
 * methods.c; doc/agent-port.md says what they take and give.
 */
#ifndef VMSTEP_PROC_H
#define VMSTEP_PROC_H

#include "agent.h"

#define PROC_MAX 256

unsigned int procs_running(const struct procs *ps);

/* The host is gone. What ends now is not told, for a while, to nobody: see
 * procio.h. */
void procs_host_gone(struct procs *ps);
/* One has come that has no use for them. */
void procs_let_go(struct procs *ps);

struct procs *procs_new(struct agent *a); /* NULL without memory */
void procs_free(struct procs *ps);	  /* NULL is fine */

void proc_start(struct rpc_call *call, const json_t *params, void *agent);
void proc_attach(struct rpc_call *call, const json_t *params, void *agent);
void proc_signal(struct rpc_call *call, const json_t *params, void *agent);
void proc_resize(struct rpc_call *call, const json_t *params, void *agent);
void proc_list(struct rpc_call *call, const json_t *params, void *agent);
void proc_usage(struct rpc_call *call, const json_t *params, void *agent);
void proc_kill_all(struct rpc_call *call, const json_t *params, void *agent);

/* A number from 1 to 64, or a name as "TERM" or "SIGTERM". */
int proc_parse_signal(const json_t *value, int *ret, struct errmsg *err);

#endif
