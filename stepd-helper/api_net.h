/* api_net.h - a task's methods about the network
 *
 *	net.stats             node, ports and links: netjson_stats()
 *	net.peers {rank: R}   who the guest of R, of this node, has sent to
 *
 * Both ask vmstep-net, which copies its counters and goes on forwarding; the
 * JSON is made here. While it is being started again they wait for the next.
 *
 * Borrows the loop and the task's network.
 */
#ifndef VMSTEP_HELPER_API_NET_H
#define VMSTEP_HELPER_API_NET_H

#include <jansson.h>
#include <stdint.h>

#include "errmsg.h"
#include "loop.h"
#include "net.h"
#include "ops.h"

#define API_NET_MS 5000 /* for vmstep-net to answer */

struct api_net;

extern const struct rpc_method api_net_methods[];

int api_net_new(struct loop *l, struct net *n, struct ops *ops,
		struct api_net **ret);
void api_net_free(struct api_net *a); /* NULL is fine; before the net's end */

/* The parameter of net.peers. */
int api_net_rank(const json_t *params, uint32_t *ret, struct errmsg *err);

#endif
