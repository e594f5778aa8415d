#include <config.h>

#include "mesh_node.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "census.h"
#include "link_tcp.h"
#include "link_ucx.h"
#include "relay.h"

#define WAIT_MS 5000

static struct mesh_node n;
static struct loop *loop;
static struct loop_timer *stop;

void must(int r)
{
	if (r < 0)
		abort();
}

static void on_stop(void *arg)
{
	loop_stop(loop, 0);
}

void mesh_node_settle(void)
{
	for (int i = 0; i < 3; i++) {
		loop_timer_set(stop, 0);
		loop_run(loop);
	}
}

/* -- the census ----------------------------------------------------------- */

static void on_soon(void *arg)
{
	round_want(n.round, &n.sync);
}

static void on_sync(struct round_job *job)
{
	census_sync(n.census);
}

static void on_reach(uint32_t node, void *arg)
{
}

static int on_send_state(uint32_t node, const char *text, size_t len, void *arg)
{
	return mesh_send(n.mesh, node, WIRE_STATE, text, len);
}

static void on_send_ack(uint32_t node, void *arg)
{
	mesh_send(n.mesh, node, WIRE_ACK, NULL, 0);
}

static void on_send_bye(uint32_t node, bool all_done, void *arg)
{
}

static void on_timer(enum census_timer which, int64_t ms, void *arg)
{
}

static void on_all(enum netctl_state state, void *arg)
{
}

static void on_lost(uint32_t rank, const char *text, void *arg)
{
	if (strlen(text) >= NETCTL_TEXT_LEN)
		abort();
}

static void on_handed_over(bool all_done, void *arg)
{
}

static void node_text(uint32_t node, char *text, size_t size, void *arg)
{
	mesh_node_text(n.mesh, node, text, size);
}

static int without(uint32_t node, struct rankset *ranks, void *arg)
{
	return table_ranks(n.table, node, ranks);
}

static int record(const char *text, size_t len, void *arg)
{
	return 0;
}

static const struct census_ops census_ops = {
	.soon = on_soon,
	.reach = on_reach,
	.send_state = on_send_state,
	.send_ack = on_send_ack,
	.send_bye = on_send_bye,
	.timer = on_timer,
	.all = on_all,
	.lost = on_lost,
	.without = without,
	.record = record,
	.handed_over = on_handed_over,
	.node_text = node_text,
};

/* -- the mesh ------------------------------------------------------------- */

static void on_up(uint32_t node, bool again, void *arg)
{
	census_up(n.census, node);
	relay_up(n.relay, node);
}

static int on_control(uint32_t node, enum wire_type type, const uint8_t *data,
		      size_t len, struct errmsg *err, void *arg)
{
	int r = 0;

	if (type == WIRE_STATE)
		return census_recv(n.census, node, (const char *)data, len,
				   err);
	if (type == WIRE_BYE) {
		r = census_bye(n.census, node, len > 0);
		mesh_gone(n.mesh, node);
		relay_gone(n.relay, node, true);
	} else if (type == WIRE_ACK) {
		census_ack(n.census, node);
	} /* fuzz_groups has GROUPS */
	return r;
}

static bool has_ops(uint32_t node, void *arg)
{
	return relay_has(n.relay, node);
}

static size_t fill_ops(uint32_t node, uint8_t *batch, size_t size, void *arg)
{
	return relay_fill(n.relay, node, batch, size);
}

static int came_ops(uint32_t node, const uint8_t *batch, size_t len,
		    struct errmsg *err, void *arg)
{
	return relay_came(n.relay, node, batch, len, err);
}

static void on_broken(uint32_t node, const char *why, void *arg)
{
	relay_broken(n.relay, node);
	census_broken(n.census, node);
}

static void on_closed(uint32_t node, void *arg)
{
	relay_closed(n.relay, node);
	census_broken(n.census, node);
}

static bool is_needed(uint32_t node, void *arg)
{
	return census_needs(n.census, node);
}

static void on_unreachable(uint32_t node, const char *why, void *arg)
{
	relay_gone(n.relay, node, false);
	census_unreachable(n.census, node);
}

static void on_left(void *arg)
{
}

static void on_stranger(const char *who, int code, const char *why, void *arg)
{
}

static const struct mesh_ops mesh_ops = {
	.up = on_up,
	.control = on_control,
	.has_ops = has_ops,
	.fill_ops = fill_ops,
	.came_ops = came_ops,
	.broken = on_broken,
	.closed = on_closed,
	.needed = is_needed,
	.unreachable = on_unreachable,
	.left = on_left,
	.stranger = on_stranger,
};

static void spread(uint32_t from, void (*fn)(uint32_t node, void *fn_arg),
		   void *fn_arg, void *arg)
{
	census_spread(n.census, from, fn, fn_arg);
}

static uint32_t toward(uint32_t node, void *arg)
{
	return census_toward(n.census, node);
}

/* -- a node --------------------------------------------------------------- */

static void make_loop(void)
{
	if (loop)
		return;
	loop_clock_stop(); /* it waits for nobody */
	must(loop_new(&loop, NULL));
	must(loop_timer_add(loop, -1, on_stop, NULL, &stop));
}

static void make_table(const char *node1)
{
	char nodes[128];
	int len = snprintf(nodes, sizeof(nodes), "a:1 0-1\n%s 2-3\nc:3 4-5\n",
			   node1);

	must(rankset_add(&n.local, 0, 1));
	must(table_parse(nodes, (size_t)len, 3, 6, &n.table, NULL));
}

static int want_ops(uint32_t node, void *arg)
{
	return mesh_want_ops(n.mesh, node);
}

static void on_ops_refused(uint32_t rank, const char *why, void *arg)
{
}

static void make_relay(void)
{
	const struct relay_env env = {
		.loop = loop,
		.local = &n.local,
		.nranks = 6,
		.link_ms = RELAY_LINK_MS,
		.want = want_ops,
		.refused = on_ops_refused,
	};

	must(relay_new(&env, &n.relay, NULL));
	must(relay_start(n.relay, n.table, 0));
	relay_leave(n.relay, 1); /* rank 0's helper is waited for */
}

static void make_mesh(void)
{
	struct fwd_conf fwd = { { 0x0a000000, 8 }, 9000, 6, &n.local };
	struct mesh_env env = { .ops = &mesh_ops };

	must(round_new(loop, &n.round, NULL));
	must(flow_new(loop, n.round, &n.flow, NULL));
	fwd.flow = n.flow;
	must(fwd_new(&fwd, &n.fwd, NULL));
	must(census_new(6, CENSUS_GRACE_MS, &census_ops, NULL, &n.census,
			NULL));
	env.loop = loop;
	env.round = n.round;
	env.pool = &n.pool;
	env.flow = n.flow;
	env.fwd = n.fwd;
	env.auth = &n.auth;
	env.idle_ms = 1000000;
	must(mesh_new(&env, &n.mesh, NULL));
}

static struct link_host *make_host(const struct mesh_node_conf *c)
{
	struct link_env env = mesh_link_env(n.mesh);
	struct sockaddr_storage sa = { 0 };
	struct link_host *host;

	if (c->wrap)
		c->wrap(&env);
	((struct sockaddr_in *)&sa)->sin_family = AF_INET;
	((struct sockaddr_in *)&sa)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	must(link_tcp_listen(&env, &sa, (struct port_range){ 0, 0 }, &host,
			     NULL));
	if (c->flags & WIRE_UCX)
		must(link_ucx_over(host, &env, false, NULL));
	return host;
}

struct mesh_node *mesh_node_begin(const struct mesh_node_conf *c)
{
	const struct fwd_tree tree = { spread, toward, NULL };
	struct link_host *host;

	make_loop();
	memset(&n, 0, sizeof(n));
	n.sync.fn = on_sync;
	n.auth = (struct auth){
		.node = 0, .nnodes = 3, .name = "n0", .flags = c->flags
	};
	make_table(c->node1 ? c->node1 : "b:2");
	make_relay();
	make_mesh();
	host = make_host(c);
	n.host = tcp_host_of(host);
	must(mesh_start(n.mesh, host, n.table, 0, NULL));
	fwd_set_table(n.fwd, n.table, 0, mesh_outlet, n.mesh, &tree);
	must(census_start(n.census, 0, 3));
	return &n;
}

void mesh_node_end(void)
{
	mesh_free(n.mesh);
	relay_free(n.relay);
	census_free(n.census);
	fwd_free(n.fwd);
	flow_free(n.flow);
	round_forget(n.round, &n.sync);
	round_free(n.round);
	table_free(n.table);
	rankset_done(&n.local);
	if (n.pool.n_lent)
		abort();
	buf_pool_done(&n.pool);
}

/* -- node 1 --------------------------------------------------------------- */

void mesh_node_await(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	for (int i = 0; i < WAIT_MS; i++) {
		mesh_node_settle();
		if (poll(&p, 1, i ? 1 : 0) == 1)
			return;
	}
	abort();
}

/* It says it in one piece. */
static void hear(int fd, void *data, size_t len)
{
	mesh_node_await(fd);
	if (recv(fd, data, len, MSG_DONTWAIT) != (ssize_t)len)
		abort();
}

static void say(int fd, const void *data, size_t len)
{
	must((int)send(fd, data, len, MSG_NOSIGNAL));
}

void mesh_node_prove(int fd, bool dialled, struct seal **seal)
{
	const struct auth us = {
		.node = 1, .nnodes = 3, .name = "n1", .flags = n.auth.flags
	};
	struct wire_hello ours, theirs;
	const struct wire_hello *dialler = dialled ? &ours : &theirs;
	const struct wire_hello *acceptor = dialled ? &theirs : &ours;
	uint8_t proof[WIRE_PROOF], other[WIRE_PROOF];

	must(auth_hello(&us, &ours, NULL));
	if (dialled)
		say(fd, &ours, sizeof(ours));
	hear(fd, &theirs, sizeof(theirs));
	if (!dialled)
		say(fd, &ours, sizeof(ours));
	must(auth_proof(&us, dialled ? AUTH_DIALLER : AUTH_ACCEPTOR, dialler,
			acceptor, proof, NULL));
	if (dialled)
		say(fd, proof, sizeof(proof));
	hear(fd, other, sizeof(other));
	if (!dialled)
		say(fd, proof, sizeof(proof));
	if (us.flags & WIRE_SEALED)
		must(seal_new(&us, dialled, dialler, acceptor, seal, NULL));
}

void mesh_node_open(int fd, struct seal *seal, const void *offer, size_t len)
{
	uint8_t open[sizeof(struct wire_header) + TCP_OFFER_MAX + WIRE_TAG];
	size_t n_open = sizeof(struct wire_header) + len;

	wire_put32(open, WIRE_OPEN);
	wire_put32(open + 4, (uint32_t)len);
	if (len)
		memcpy(open + sizeof(struct wire_header), offer, len);
	if (seal) {
		must(seal_close(seal, open, n_open));
		n_open += WIRE_TAG;
	}
	if (send(fd, open, n_open, MSG_NOSIGNAL) < 0)
		return; /* the node has closed it */
}
