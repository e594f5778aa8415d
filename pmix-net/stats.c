#include <config.h>

#include "stats.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cleanup.h"

static void add_node(const struct stats_env *env, struct netstats *s)
{
	struct netstats_node node = {
		.node = env->node,
		.nnodes = env->nnodes,
		.nranks = env->nranks,
		.up_ms = (uint64_t)(loop_now_ms() - env->started_ms),
	};

	netstats_name_set(&node.name, env->name);
	memcpy(node.counts, env->counts->n, sizeof(node.counts));
	netstats_add(s, NETSTATS_NODE, &node);
}

static void add_port(const struct port *p, void *arg)
{
	port_stats(p, arg);
}

void stats_peers(const struct port *p, struct netstats *s)
{
	const struct traffic *t = &p->traffic;
	const struct netstats_peers peers = {
		.rank = p->rank,
		.to_all = t->to_all,
		.others = t->others,
	};

	netstats_add(s, NETSTATS_PEERS, &peers);
	for (uint32_t i = 0; i < t->room; i++) {
		const struct netstats_peer peer = {
			.rank = t->slots[i].rank,
			.sum = t->slots[i].sum,
		};

		if (t->slots[i].rank != TRAFFIC_NOBODY)
			netstats_add(s, NETSTATS_PEER, &peer);
	}
}

struct one {
	uint32_t rank;
	const struct port *port;
};

static void find(const struct port *p, void *arg)
{
	struct one *one = arg;

	if (p->rank == one->rank)
		one->port = p;
}

int stats_take(const struct stats_env *env, uint32_t rank, struct netstats *ret)
{
	struct one one = { .rank = rank };

	*ret = (struct netstats){ 0 };
	if (rank != STATS_ALL)
		ports_each(env->ports, find, &one);
	if (rank != STATS_ALL && !one.port)
		return -ENOENT;
	add_node(env, ret);
	if (one.port) {
		stats_peers(one.port, ret);
	} else {
		ports_each(env->ports, add_port, ret);
		mesh_stats(env->mesh, ret);
	}
	if (ret->failed) {
		netstats_done(ret);
		return -ENOMEM;
	}
	return 0;
}

struct whole {
	struct netstats *to;
	size_t words; /* that it may have */
};

static void add_peers(const struct port *p, void *arg)
{
	struct whole *w = arg;

	if (w->to->n < w->words)
		stats_peers(p, w->to);
}

void stats_take_whole(const struct stats_env *env, size_t max,
		      struct netstats *s)
{
	struct whole whole = { s, max / sizeof(uint64_t) };

	add_node(env, s);
	ports_each(env->ports, add_port, s);
	mesh_stats(env->mesh, s);
	ports_each(env->ports, add_peers, &whole);
}

int stats_memfd(const struct stats_env *env, uint32_t rank)
{
	_cleanup_close_ int fd = -1;
	struct netstats s;
	size_t len;
	ssize_t n;
	int r = stats_take(env, rank, &s);

	if (r < 0)
		return r;
	len = s.n * sizeof(uint64_t);
	fd = memfd_create("vmstep-stats", MFD_CLOEXEC);
	n = fd < 0 ? -1 : write(fd, s.words, len);
	if (n != (ssize_t)len)
		r = n < 0 ? -errno : -ENOSPC;
	netstats_done(&s);
	return r < 0 ? r : TAKE_FD(fd);
}
