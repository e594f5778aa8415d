/* link_ucx.h - links over UCX: InfiniBand and RoCE without IP in the way
 *
 * A connection of link_tcp.h, on which both ends prove the key before anything
 * of UCX is touched, and which then only tells that the other end lives. Over
 * it each end gives the other what it takes to reach it by UCX: the address of
 * its worker (opaque, some hundred bytes, and never in the table of nodes), and
 * a secret. All messages then go as active messages.
 *
 * UCX has its ports open to everyone, and no flow control. So each message says
 * the secret that its receiver gave out, and its number: what does not is a
 * stranger's. And a sender has no more than UCX_WINDOW messages on their way
 * that the receiver's owner has not taken. In each message is how many of the
 * other's were taken, and where none goes that way one goes for that alone.
 *
 *	0        16      20       24      28     32
 *	┌────────┬───────┬────────┬───────┬──────┬─────────────────────┐
 *	│ secret │ index │ number │ taken │ kind │ message of link_wire │
 *	└────────┴───────┴────────┴───────┴──────┴─────────────────────┘
 *
 * Numbers are big endian. Index is the receiver's, to find the link by. Number
 * and taken count messages from 0 on and wrap; kind is 1, or 2 for one that
 * only says what was taken: it has no number of its own and no message.
 *
 * Each message is sent by UCX's eager protocol. Shared memory is never used,
 *and what UCX finds in the environment (UCX_*) does not count. A link takes two
 *or three descriptors where UCX itself goes over TCP, one with RDMA.
 */
#ifndef VMSTEP_LINK_UCX_H
#define VMSTEP_LINK_UCX_H

#include <errno.h>
#include <stdbool.h>

#include "link.h"

#define UCX_WINDOW 16 /* messages */

/* Links of @host, which is of link_tcp.h and has none yet, go over UCX: by RDMA
 * where @rdma, else over UCX's own TCP, both at the interface that has @host's
 * address. -ENOTSUP with words in a build without UCX; -ENOENT where the
 * library is not there; -EIO where it does not work. */
#ifdef HAVE_UCX
int link_ucx_over(struct link_host *host, const struct link_env *env, bool rdma,
		  struct errmsg *err);
#else
static inline int link_ucx_over(struct link_host *host,
				const struct link_env *env, bool rdma,
				struct errmsg *err)
{
	return errmsg_say(
		err, -ENOTSUP,
		"net_link = ucx, but vmstep was built without UCX: say tcp, or build it --with-ucx");
}
#endif

#endif
