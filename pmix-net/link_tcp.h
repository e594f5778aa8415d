/* link_tcp.h - links over TCP, one connection a pair of nodes
 *
 * See link.h. Nothing of what a peer sends is looked at before it has proved
 * the key, its hello's fixed fields aside. Peers that have not may be
 * LINK_PENDING_MAX at a time: the one that is oldest makes room.
 */
#ifndef VMSTEP_LINK_TCP_H
#define VMSTEP_LINK_TCP_H

#include <sys/socket.h>

#include "link.h"
#include "tcp_socket.h"

/* Listen at @address (its port is not looked at) on a port of @ports. Nothing
 * is accepted before link_host_start(): who comes earlier waits in the
 * kernel's queue. Returns 0 with *ret, or -errno. */
int link_tcp_listen(const struct link_env *env,
		    const struct sockaddr_storage *address,
		    struct port_range ports, struct link_host **ret,
		    struct errmsg *err);

/* The same over @fd, which listens already; owned from now on, also on failure.
 */
int link_tcp_adopt(const struct link_env *env, int fd, struct link_host **ret,
		   struct errmsg *err);

#endif
