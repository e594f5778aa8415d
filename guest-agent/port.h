/* port.h - where the host is reached */
#ifndef VMSTEP_PORT_H
#define VMSTEP_PORT_H

#include "errmsg.h"

#define PORT_NAME "org.vmstep.agent.0"

/* Open @path: a device, or a unix socket to connect to (for tests); NULL: the
 * virtio port called PORT_NAME. -ENOENT where there is none (yet), else -errno;
 * with words. */
int port_open(const char *path, int *ret_fd, struct errmsg *err);

/* Be the one agent for this port. -EADDRINUSE where there is one already, else
 * a descriptor that holds the place as long as it is open. */
int port_claim(const char *path);

#endif
