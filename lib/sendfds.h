/* sendfds.h - bytes to a unix socket, and descriptors along with the first
 */
#ifndef VMSTEP_SENDFDS_H
#define VMSTEP_SENDFDS_H

#include <stddef.h>
#include <sys/types.h>

#define SENDFDS_MAX 16

/* As send(2) with @flags and MSG_NOSIGNAL; @n_fds of @fds, at most SENDFDS_MAX,
 * stay the caller's. What was sent, or -errno. */
ssize_t send_with_fds(int sock, const void *p, size_t n, const int *fds,
		      size_t n_fds, int flags);

#endif
