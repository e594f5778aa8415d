/* usernet.h - the guest's second card, on QEMU's user network
 *
 * It leads through QEMU's own sockets to where the node's leads
 * (--vm-outbound), to files of the node (--vm-tftp), and from the node's
 * loopback address into the guest (--vm-publish). The network is a /24 apart
 * from the step's; DHCP, which QEMU answers there, gives the guest its address,
 * and the agent sets the same.
 */
#ifndef VMSTEP_USERNET_H
#define VMSTEP_USERNET_H

#include <netinet/in.h>

#include "args.h"
#include "spec.h"

#define USERNET_ID   "out0" /* QEMU's name for it */
#define USERNET_HOST "vmhost"

struct usernet {
	char mac[18];
	char guest[INET_ADDRSTRLEN], host[INET_ADDRSTRLEN],
		dns[INET_ADDRSTRLEN];
	int prefix;
};

/* False: this guest has no second card. */
bool usernet_of(const struct task *t, const struct spec *s,
		struct usernet *ret);
void usernet_args(struct args *a, const struct task *t, const struct spec *s);

#endif
