#include <config.h>

#include "api_net.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "cleanup.h"
#include "netjson.h"
#include "netstats.h"

struct api_net {
	struct loop *loop;
	struct net *net;
	LIST_HEAD(, query) queries;
};

/* A call that waits for vmstep-net. */
struct query {
	LIST_ENTRY(query) next;
	struct api_net *owner;
	struct rpc_call *call; /* ended before this is freed */
	bool peers;
	struct loop_timer *timer;
};

static void query_free(struct query *q)
{
	LIST_REMOVE(q, next);
	net_forget_stats(q->owner->net, q);
	loop_timer_free(q->timer);
	free(q);
}

static void on_timeout(void *arg)
{
	struct query *q = arg;

	rpc_fail(q->call, RPC_E_TIMEOUT,
		 "vmstep-net of this node does not answer");
	query_free(q);
}

static void answer(struct query *q, int fd)
{
	_cleanup_free_ uint64_t *words = NULL;
	struct errmsg err;
	json_t *result;
	size_t n;
	int r = netstats_read(fd, &words, &n);

	if (r < 0) {
		errmsg_set(&err, r, "statistics of vmstep-net");
		rpc_fail_os(q->call, RPC_E_OS, -r, NULL, err.text);
		return;
	}
	result = q->peers ? netjson_peers(words, n, &err)
			  : netjson_stats(words, n, &err);
	if (result)
		rpc_result(q->call, result);
	else
		rpc_fail(q->call, RPC_INTERNAL, err.text);
}

static void on_stats(int fd, void *arg)
{
	struct query *q = arg;

	if (fd >= 0)
		answer(q, fd);
	else
		rpc_fail(q->call, RPC_E_NOENT,
			 q->peers ? "this rank has no port on this node"
				  : "vmstep-net is out of memory");
	query_free(q);
}

static void refuse(struct rpc_call *call, int r)
{
	if (r == -EBUSY)
		rpc_fail(call, RPC_E_BUSY,
			 "too many questions wait for vmstep-net");
	else if (r == -ENOTCONN)
		rpc_fail(call, RPC_E_UNREACHABLE,
			 "this node's vmstep-net is gone");
	else
		rpc_fail(call, RPC_INTERNAL, "out of memory");
}

static void ask(struct api_net *a, struct rpc_call *call, bool peers,
		uint32_t rank)
{
	struct query *q = calloc(1, sizeof(*q));
	int r;

	if (!q) {
		refuse(call, -ENOMEM);
		return;
	}
	*q = (struct query){ .owner = a, .call = call, .peers = peers };
	LIST_INSERT_HEAD(&a->queries, q, next);
	r = loop_timer_add(a->loop, API_NET_MS, on_timeout, q, &q->timer);
	if (r == 0)
		r = net_ask_stats(a->net, rank, on_stats, q);
	if (r < 0) {
		refuse(call, r);
		query_free(q);
	}
}

static void net_stats(struct rpc_call *call, const json_t *params, void *arg)
{
	if (json_object_size(params))
		rpc_fail(call, RPC_INVALID_PARAMS,
			 "net.stats has no parameters");
	else
		ask(arg, call, false, UINT32_MAX);
}

int api_net_rank(const json_t *params, uint32_t *ret, struct errmsg *err)
{
	const json_t *rank = json_object_get(params, "rank");

	if (json_object_size(params) != 1 || !json_is_integer(rank) ||
	    json_integer_value(rank) < 0 ||
	    json_integer_value(rank) > (json_int_t)RANK_MAX)
		return errmsg_say(
			err, -EINVAL,
			"net.peers has one parameter, rank, a number");
	*ret = (uint32_t)json_integer_value(rank);
	return 0;
}

static void net_peers(struct rpc_call *call, const json_t *params, void *arg)
{
	struct errmsg err;
	uint32_t rank;

	if (api_net_rank(params, &rank, &err) < 0)
		rpc_fail(call, RPC_INVALID_PARAMS, err.text);
	else
		ask(arg, call, true, rank);
}

const struct rpc_method api_net_methods[] = {
	{ "net.peers", net_peers },
	{ "net.stats", net_stats },
	{ 0 },
};

int api_net_new(struct loop *l, struct net *n, struct ops *ops,
		struct api_net **ret)
{
	struct api_net *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	a->loop = l;
	a->net = n;
	LIST_INIT(&a->queries);
	*ret = a;
	return ops_add(ops, api_net_methods, a);
}

void api_net_free(struct api_net *a)
{
	struct query *q;

	if (!a)
		return;
	while ((q = LIST_FIRST(&a->queries))) {
		rpc_fail(q->call, RPC_E_STATE, "the task has ended");
		query_free(q);
	}
	free(a);
}
