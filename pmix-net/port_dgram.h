/* port_dgram.h - a port behind QEMU's -netdev dgram
 *
 * A datagram is a frame. Nothing tells that QEMU has gone, unless something is
 * sent to it: the port's helper does. See port.h.
 */
#ifndef VMSTEP_PORT_DGRAM_H
#define VMSTEP_PORT_DGRAM_H

#include "errmsg.h"
#include "port.h"

/* @fd: one end of a pair of datagram sockets, owned from now on, also on
 * failure; its flags, which others may share, are left alone. Joins the
 * forwarder as @rank. -EEXIST when that rank has a port; -EINVAL when @fd is no
 * such socket; else -errno. */
int port_dgram_new(const struct port_env *env, uint32_t rank, int fd,
		   struct port **ret, struct errmsg *err);

#endif
