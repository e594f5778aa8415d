/* opsock.h - where programs of the guest ask the host: vmop(1), for one
 *
 * A unix socket with JSON-RPC 2.0, a line each. What is asked is passed on to
 * the host as the agent's own request, and the answer back; what a guest may
 * ask the host knows (vmstep-api(7)). Root and the step's user may connect; ops
 * of kernels (op.call, KERNEL:OP) that the latter asks for run as that user.
 *
 * Owns:    the socket, the connections. Borrows the agent.
 * Thread:  the loop's.
 */
#ifndef VMSTEP_OPSOCK_H
#define VMSTEP_OPSOCK_H

#include <sys/types.h>

#include "agent.h"
#include "errmsg.h"

#define OPSOCK_PATH	"/run/vmstep/ops.sock"
#define OPSOCK_ENV	"VMSTEP_OPS_SOCKET" /* another path, for vmop */
#define OPSOCK_LINE_MAX (1028 * 1024)	    /* a MiB, and what is around it */
#define OPSOCK_CLIENTS	32
#define OPSOCK_CALL	"op.call" /* an op of a kernel */

struct opsock;

/* Listen at @path, whose last directory is made if need be. */
int opsock_new(struct agent *a, const char *path, struct opsock **ret,
	       struct errmsg *err);
void opsock_free(struct opsock *o); /* NULL is fine */

/* The step's user, as the host calls it. */
void opsock_set_user(struct opsock *o, const char *user);

#endif
