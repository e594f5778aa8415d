/* local_address.h - which of this machine's addresses other nodes reach us at
 */
#ifndef VMSTEP_LOCAL_ADDRESS_H
#define VMSTEP_LOCAL_ADDRESS_H

#include <sys/socket.h>

#include "errmsg.h"

/* @device: an interface's name, or a subnet as in 192.0.2.0/24; its first
 * address that can be routed, IPv4 before IPv6. Else @bind: a numeric address.
 * Else what @node resolves to. Any of these may be NULL. Returns 0, or -EINVAL
 * or another -errno with words that say what to give instead. */
int local_address(const char *device, const char *bind, const char *node,
		  struct sockaddr_storage *ret, struct errmsg *err);

#endif
