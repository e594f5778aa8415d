/* port_vhost.h - a port in the guest's own memory, by vhost-user
 *
 * A frame is copied once: from the sender's transmit ring into the receiver's
 * receive ring, or into a link's batch. See port.h, and vhost.h for what QEMU
 * says.
 */
#ifndef VMSTEP_PORT_VHOST_H
#define VMSTEP_PORT_VHOST_H

#include "errmsg.h"
#include "port.h"

/* @fd: a unix stream socket whose other end is the front end's, owned from now
 * on, also on failure. Joins the forwarder as @rank. -EEXIST when that rank
 * has a port; -EINVAL when @fd is no such socket; else -errno. */
int port_vhost_new(const struct port_env *env, uint32_t rank, int fd,
		   struct port **ret, struct errmsg *err);

#endif
