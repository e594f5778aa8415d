/* netproc.h - this node's vmstep-net as a process: finding and starting it
 *
 * Whether one lives is told by a lock, net.lock in the step's directory: who
 * starts it takes the lock and hands it over, so that it is held until that
 * process ends, however it does. That its socket can be connected to says less:
 * helpers hold copies of the listening one.
 *
 * The same file is where vmstep-net keeps what another in its place needs to
 * know.
 */
#ifndef VMSTEP_NETPROC_H
#define VMSTEP_NETPROC_H

#include <sys/types.h>

#include "errmsg.h"
#include "spec.h"
#include "task.h"

/* @dir is the step's directory. */

/* The lock, for netproc_start() or to be closed. -EAGAIN: it is held, by a
 * vmstep-net or by who is about to start one. */
int netproc_lock(int dir, struct errmsg *err);
/* A connection to its socket. -ENOENT, -ECONNREFUSED: nobody listens, neither
 * vmstep-net nor a helper for the next one. */
int netproc_connect(int dir);
/* The socket, made anew. With the lock only, when nobody listens. */
int netproc_listen(int dir, struct errmsg *err);

struct netproc_fds {
	int lock, ctl, link; /* link -1: it listens for other nodes anew */
};

/* Start it with @fds, of which it gets copies. *ret is its pid. */
int netproc_start(const struct task *t, const struct spec *s,
		  const struct netproc_fds *fds, pid_t *ret,
		  struct errmsg *err);

/* The last error in its log, for a message; "" if none. */
void netproc_last_words(const struct task *t, char *text, size_t size);

#endif
