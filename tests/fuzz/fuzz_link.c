/* fuzz_link.c - what another node, or a stranger, writes to a link
 *
 * Input: 1 byte, then what is written. Bit 0 of the byte: first prove the key,
 * so that the rest are messages; else the rest is all there is. Bit 1: links
 * are encrypted, and what follows a proof is sealed as messages, as long as
 * there are whole ones; what is left is written as it is. Bits 2 and up: how
 * many bytes are written at a time (0: all). Behind the link are the real mesh,
 * forwarder and census of node 0 of 3.
 */
#include <config.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "census.h"
#include "link_tcp.h"
#include "link_tcp_conn.h"
#include "mesh.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct loop *loop;
static struct loop_timer *stop;
static struct buf_pool pool;

static struct {
	struct round *round;
	struct flow *flow;
	struct fwd *fwd;
	struct table *table;
	struct rankset local;
	struct auth auth;
	struct mesh *mesh;
	struct link_host *host; /* the mesh's */
	struct census *census;
	struct round_job sync;
} n;

static void must(int r)
{
	if (r < 0)
		abort();
}

static void on_stop(void *arg)
{
	loop_stop(loop, 0);
}

static void settle(void)
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
	} else if (type == WIRE_ACK) {
		census_ack(n.census, node);
	} /* fuzz_groups has GROUPS */
	return r;
}

static void on_broken(uint32_t node, const char *why, void *arg)
{
	census_broken(n.census, node);
}

static void on_closed(uint32_t node, void *arg)
{
	census_broken(n.census, node);
}

static bool is_needed(uint32_t node, void *arg)
{
	return census_needs(n.census, node);
}

static void on_unreachable(uint32_t node, const char *why, void *arg)
{
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

static void begin(uint32_t flags)
{
	static const char nodes[] = "a:1 0-1\nb:2 2-3\nc:3 4-5\n";
	struct fwd_conf fwd = { { 0x0a000000, 8 }, 9000, 6, &n.local };
	struct sockaddr_storage sa = { 0 };
	struct mesh_env env = { .ops = &mesh_ops };
	struct link_env link;
	const struct fwd_tree tree = { spread, toward, NULL };

	memset(&n, 0, sizeof(n));
	n.sync.fn = on_sync;
	n.auth = (struct auth){
		.node = 0, .nnodes = 3, .name = "n0", .flags = flags
	};
	must(rankset_add(&n.local, 0, 1));
	must(table_parse(nodes, strlen(nodes), 3, 6, &n.table, NULL));
	must(round_new(loop, &n.round, NULL));
	must(flow_new(loop, n.round, &n.flow, NULL));
	fwd.flow = n.flow;
	must(fwd_new(&fwd, &n.fwd, NULL));
	must(census_new(6, &census_ops, NULL, &n.census, NULL));
	env.loop = loop;
	env.round = n.round;
	env.pool = &pool;
	env.flow = n.flow;
	env.fwd = n.fwd;
	env.auth = &n.auth;
	env.idle_ms = 1000000;
	must(mesh_new(&env, &n.mesh, NULL));
	link = mesh_link_env(n.mesh);
	((struct sockaddr_in *)&sa)->sin_family = AF_INET;
	((struct sockaddr_in *)&sa)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	must(link_tcp_listen(&link, &sa, (struct port_range){ 0, 0 }, &n.host,
			     NULL));
	must(mesh_start(n.mesh, n.host, n.table, 0, NULL));
	fwd_set_table(n.fwd, n.table, 0, mesh_outlet, n.mesh, &tree);
	must(census_start(n.census, 0, 3));
}

static void finish(void)
{
	mesh_free(n.mesh);
	census_free(n.census);
	fwd_free(n.fwd);
	flow_free(n.flow);
	round_forget(n.round, &n.sync);
	round_free(n.round);
	table_free(n.table);
	rankset_done(&n.local);
	if (pool.n_lent)
		abort();
}

/* Be node 1, as far as the proof. */
static void prove(int fd, struct seal **seal)
{
	const struct auth us = {
		.node = 1, .nnodes = 3, .name = "n1", .flags = n.auth.flags
	};
	uint8_t open[sizeof(struct wire_header) + WIRE_TAG] = { 0 };
	struct wire_hello ours, theirs;
	size_t len = sizeof(struct wire_header);
	uint8_t proof[WIRE_PROOF];

	must(auth_hello(&us, &ours, NULL));
	must((int)send(fd, &ours, sizeof(ours), 0));
	settle();
	if (recv(fd, &theirs, sizeof(theirs), MSG_DONTWAIT) != sizeof(theirs))
		abort();
	must(auth_proof(&us, AUTH_DIALLER, &ours, &theirs, proof, NULL));
	must((int)send(fd, proof, sizeof(proof), 0));
	settle();
	if (recv(fd, proof, sizeof(proof), MSG_DONTWAIT) != sizeof(proof))
		abort();
	wire_put32(open, WIRE_OPEN);
	if (us.flags & WIRE_SEALED) {
		must(seal_new(&us, true, &ours, &theirs, seal, NULL));
		must(seal_close(*seal, open, len));
		len += WIRE_TAG;
	}
	must((int)send(fd, open, len, 0));
}

/* The whole messages of @data, sealed, and then the rest; freed by the caller,
 * with @ret_len bytes. */
static uint8_t *sealed(struct seal *s, const uint8_t *data, size_t size,
		       size_t *ret_len)
{
	/* eight bytes at least become eight and a tag */
	uint8_t *out = malloc(size * 3 + 1), *p = out;

	while (out && size >= sizeof(struct wire_header)) {
		size_t len = sizeof(struct wire_header) + wire_get32(data + 4);

		if (len > size)
			break;
		memcpy(p, data, len);
		must(seal_close(s, p, len));
		p += len + WIRE_TAG;
		data += len;
		size -= len;
	}
	if (!out)
		abort();
	memcpy(p, data, size);
	*ret_len = (size_t)(p - out) + size;
	return out;
}

static void write_in_pieces(int fd, size_t piece, const uint8_t *data,
			    size_t size)
{
	for (size_t at = 0; at < size; at += piece) {
		size_t len = size - at < piece ? size - at : piece;

		if (send(fd, data + at, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			return;
		settle();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct seal *seal = NULL;
	uint8_t *text = NULL;
	struct tcp *t;
	size_t len;
	int sv[2];

	if (size < 2 || size > 65536)
		return 0;
	if (!loop) {
		must(loop_new(&loop, NULL));
		must(loop_timer_add(loop, -1, on_stop, NULL, &stop));
	}
	begin(data[0] & 2 ? WIRE_SEALED : 0);
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv));
	must(tcp_new((struct tcp_host *)n.host, sv[1], false, LINK_PENDING_MS,
		     &t));
	len = size - 1;
	if (data[0] & 1)
		prove(sv[0], &seal);
	if (seal)
		text = sealed(seal, data + 1, size - 1, &len);
	write_in_pieces(sv[0], data[0] >> 2 ? data[0] >> 2 : len + 1,
			text ? text : data + 1, len);
	seal_free(seal);
	free(text);
	close(sv[0]);
	settle();
	finish();
	return 0;
}
