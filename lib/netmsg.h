/* netmsg.h - messages of lib/netctl.h, and the descriptors that ride along
 */
#ifndef VMSTEP_NETMSG_H
#define VMSTEP_NETMSG_H

#include <sys/types.h>

#include "netctl.h"

static inline struct netctl netmsg(enum netctl_type type)
{
	return (struct netctl){ .version = NETCTL_VERSION, .type = type };
}

/* Over @fd, with @pass_fd (borrowed; -1: none). 0 or -errno. */
int netmsg_send(int fd, const struct netctl *m, int pass_fd);

/* Its length, 0 at the end, -EAGAIN, or another -errno. What came along is in
 * @fds and the caller's, the rest of which is -1. */
ssize_t netmsg_receive(int fd, struct netctl *ret, int fds[NETCTL_FDS_MAX]);

#endif
