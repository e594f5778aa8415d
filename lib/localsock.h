/* localsock.h - unix sockets in the step's directory
 *
 * Addressed by way of the directory's descriptor: the path of a socket may be
 * too long for sun_path.
 */
#ifndef VMSTEP_LOCALSOCK_H
#define VMSTEP_LOCALSOCK_H

#include <stdbool.h>

/* A new socket @name of @type (SOCK_STREAM, SOCK_SEQPACKET) in @dir, for its
 * owner only, in place of what is there. It listens. -errno. */
int localsock_listen(int dir, const char *name, int type);
/* A connection to it. -ENOENT, -ECONNREFUSED: nobody listens. */
int localsock_connect(int dir, const char *name, int type);
/* Is the other end a process of our user's, or root's? */
bool localsock_is_trusted(int fd);

#endif
