/* port.h - the two ends of this task's network port
 *
 * One end is QEMU's, the other vmstep-net's:
 *
 *   stream, dgram  a pair of sockets
 *   vhost-user     QEMU listens in the step's directory, of which it gets a
 *                  descriptor, and vmstep-net gets a connection. QEMU serves
 *                  one at a time; when that is gone it takes the next one at
 *                  once (as the client it would look once a second). It makes
 *                  the socket itself: over one that it was given it would take
 *                  no descriptors.
 *
 * So that a vmstep-net that is started anew can have the port back, what it is
 * given can be asked for again, where the kind allows it: a stream may have
 * broken off within a frame.
 *
 * Owns: its descriptors, and the socket's name.
 */
#ifndef VMSTEP_HELPER_PORT_H
#define VMSTEP_HELPER_PORT_H

#include <inttypes.h>
#include <stdbool.h>

#include "errmsg.h"
#include "netctl.h"
#include "spec.h"

/* The name of QEMU's socket, with the rank, and where QEMU finds it: in the
 * directory that is its descriptor number so-and-so. */
#define PORT_SOCKET	 "port-%" PRIu32 ".sock"
#define PORT_SOCKET_PATH "/proc/self/fd/%d/" PORT_SOCKET

struct port;

/* @net: enum spec_net, but NET_NONE. @dir: the step's directory, borrowed
 * while the port lives. */
int port_new(int net, int dir, uint32_t rank, struct port **ret,
	     struct errmsg *err);
void port_free(struct port *p); /* NULL is fine */

enum netctl_port port_kind(const struct port *p);
/* QEMU's end, from now on the caller's; once. -1 after that. It has to be
 * closed here when QEMU has it, so that QEMU's death shows. */
int port_take_qemu(struct port *p);
/* Can vmstep-net have its end, and so can another after it? */
bool port_can_connect(const struct port *p);
/* vmstep-net's end, a descriptor of the caller's. -EAGAIN: QEMU does not
 * listen, not yet or no more. -ENOTSUP for a stream's second time. */
int port_connect(struct port *p, struct errmsg *err);

#endif
