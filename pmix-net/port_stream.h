/* port_stream.h - a port behind QEMU's -netdev stream
 *
 * Each frame has its length before it, 32 bits, big endian. See port.h.
 */
#ifndef VMSTEP_PORT_STREAM_H
#define VMSTEP_PORT_STREAM_H

#include "errmsg.h"
#include "port.h"

/* @fd: a connected stream socket, owned from now on, also on failure; its
 * flags, which others may share, are left alone. Joins the forwarder as
 * @rank. -EEXIST when that rank has a port; -EINVAL when @fd is no such
 * socket; else -errno. */
int port_stream_new(const struct port_env *env, uint32_t rank, int fd,
		    struct port **ret, struct errmsg *err);

/* The length of the frame that begins at data[0], which is there up to @len:
 * > 0 it is all there, 0 more is needed, -EPROTO this is no frame. */
int port_stream_next(const uint8_t *data, size_t len);

#endif
