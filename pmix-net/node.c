#include <config.h>

#include "node.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth.h"
#include "buf.h"
#include "cleanup.h"
#include "counters.h"
#include "ctl.h"
#include "fwd.h"
#include "link_kind.h"
#include "link_tcp.h"
#include "link_ucx.h"
#include "local_address.h"
#include "log.h"
#include "mcast.h"
#include "mesh.h"
#include "relay.h"
#include "ports.h"
#include "rdma.h"
#include "record.h"
#include "states.h"
#include "stats.h"
#include "table.h"
#include "tally.h"
#include "workers.h"

static_assert(AUTH_KEY_LEN == NETCTL_KEY_LEN, "one key");

struct node {
	const struct options *o; /* borrowed */
	struct loop *loop;	 /* borrowed */
	struct workers *workers;
	struct worker *main; /* the first of them; borrowed */
	struct buf_pool pool;
	struct mcast *mcast;
	struct fwd *fwd;
	struct ports *ports;
	struct auth auth;
	uint32_t link_flags;	/* WIRE_SEALED, WIRE_UCX */
	struct table *table;	/* NULL: not known yet, or only one node */
	struct link_host *host; /* until the mesh has it; NULL: one node */
	struct mesh *mesh;
	struct states *states;
	struct relay *relay;
	struct record *record;
	struct tally *tally; /* NULL: none is wanted */
	struct ctl *ctl;
	struct counters counts;
	struct loop_timer *helpers_timer;
	bool waited; /* long enough for the others of this node */
	bool leaving;
	int64_t started_ms;
};

static bool is_alone(const struct node *n)
{
	return rankset_count(&n->o->ranks) == n->o->nranks;
}

/* -- what is agreed on ---------------------------------------------------- */

static void on_all(enum netctl_state state, void *arg)
{
	struct node *n = arg;

	log_info("all tasks are %s", state == NETCTL_READY ? "ready" : "done");
	ctl_tell_all(n->ctl, state);
	if (state == NETCTL_DONE && n->tally)
		tally_all_done(n->tally);
}

static void on_lost(uint32_t rank, const char *text, void *arg)
{
	struct node *n = arg;

	log_err("%s", text);
	ctl_tell_lost(n->ctl, rank, text);
}

static int on_without(uint32_t node, struct rankset *ranks, void *arg)
{
	struct node *n = arg;
	char text[160];

	mesh_node_text(n->mesh, node, text, sizeof(text));
	log_warn("%s is lost: its tasks count as failed, the others go on",
		 text);
	return table_ranks(n->table, node, ranks);
}

static int on_record(const char *text, size_t len, void *arg)
{
	return record_add(((struct node *)arg)->record, text, len);
}

static void on_not_taken(void *arg)
{
	log_warn("nobody took over in time what this node knows of the step");
}

/* -- what links bring ----------------------------------------------------- */

static void on_link_up(uint32_t node, bool again, void *arg)
{
	struct node *n = arg;
	char text[160];

	mesh_node_text(n->mesh, node, text, sizeof(text));
	log_at(again ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG, "link to %s is up%s",
	       text, again ? " again" : "");
	states_up(n->states, node);
	mcast_link_up(n->mcast, node);
	relay_up(n->relay, node);
}

static int on_control(uint32_t node, enum wire_type type, const uint8_t *data,
		      size_t len, struct errmsg *err, void *arg)
{
	struct node *n = arg;
	int r;

	if (type == WIRE_REPORT)
		return n->tally ? tally_received(n->tally, data, len, err) : 0;
	if (type == WIRE_GROUPS)
		return mcast_told(n->mcast, node, data, len, err);
	mcast_tree_changed(n->mcast);
	r = states_control(n->states, node, type, data, len, err);
	if (r == 0 && type == WIRE_BYE)
		relay_gone(n->relay, node, true);
	return r;
}

static bool has_ops(uint32_t node, void *arg)
{
	return relay_has(((struct node *)arg)->relay, node);
}

static size_t fill_ops(uint32_t node, uint8_t *batch, size_t size, void *arg)
{
	return relay_fill(((struct node *)arg)->relay, node, batch, size);
}

static int came_ops(uint32_t node, const uint8_t *batch, size_t len,
		    struct errmsg *err, void *arg)
{
	return relay_came(((struct node *)arg)->relay, node, batch, len, err);
}

static void on_link_broken(uint32_t node, const char *why, void *arg)
{
	struct node *n = arg;
	char text[160];

	mesh_node_text(n->mesh, node, text, sizeof(text));
	log_warn("link to %s broke: %s", text, why);
	relay_broken(n->relay, node);
	states_broken(n->states, node);
}

static void on_link_closed(uint32_t node, void *arg)
{
	struct node *n = arg;
	char text[160];

	mesh_node_text(n->mesh, node, text, sizeof(text));
	log_limited(LOG_LEVEL_INFO, "link to %s was idle and is closed", text);
	relay_closed(n->relay, node);
	states_closed(n->states, node);
}

static bool is_link_needed(uint32_t node, void *arg)
{
	return states_needs(((struct node *)arg)->states, node);
}

static void on_unreachable(uint32_t node, const char *why, void *arg)
{
	struct node *n = arg;
	char text[160];

	mesh_node_text(n->mesh, node, text, sizeof(text));
	log_at(n->leaving ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARN,
	       "%s cannot be reached: %s", text, why);
	mcast_forget_node(n->mcast, node);
	relay_gone(n->relay, node, false);
	states_unreachable(n->states, node);
}

static void on_left(void *arg)
{
	loop_stop(((struct node *)arg)->loop, 0);
}

/* One that hung up may be a peer that another connection won over. */
static void on_stranger(const char *who, int code, const char *why, void *arg)
{
	struct node *n = arg;

	count(&n->counts, COUNT_STRANGER);
	log_limited(code == -ECONNRESET ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARN,
		    "refused a connection from %s: %s", who, why);
}

static const struct mesh_ops mesh_ops = {
	.up = on_link_up,
	.control = on_control,
	.has_ops = has_ops,
	.fill_ops = fill_ops,
	.came_ops = came_ops,
	.broken = on_link_broken,
	.closed = on_link_closed,
	.needed = is_link_needed,
	.unreachable = on_unreachable,
	.left = on_left,
	.stranger = on_stranger,
};

/* -- what helpers say ----------------------------------------------------- */

/* A helper that has none for us says nothing, or what we cannot use. */
static void use_cpus(struct node *n, uint32_t rank, const char *cpus)
{
	struct errmsg err;

	if (*cpus && workers_use_cpus(n->workers, cpus, &err) < 0)
		log_warn("workers do not run on the CPUs of vm[%" PRIu32
			 "], %s: %s",
			 rank, cpus, err.text);
}

static int on_hello(uint32_t rank, const char *cpus, struct errmsg *err,
		    void *arg)
{
	struct node *n = arg;

	if (n->leaving)
		return errmsg_say(
			err, -ESHUTDOWN,
			"vmstep-net: the last helper of this node has left, and so do we");
	record_came(n->record, rank);
	use_cpus(n, rank, cpus);
	log_info("helper of vm[%" PRIu32 "] said hello", rank);
	return 0;
}

static int on_port(uint32_t rank, enum netctl_port kind, int fd,
		   struct errmsg *err, void *arg)
{
	struct node *n = arg;

	ports_close(n->ports, rank);
	return ports_open(n->ports, rank, kind, fd, err);
}

static int on_ops(uint32_t rank, int fd, struct errmsg *err, void *arg)
{
	int r = relay_come(((struct node *)arg)->relay, rank, fd);

	return r < 0 ? errmsg_set(err, r, "vmstep-net: messages") : 0;
}

static int on_capture(uint32_t rank, int fd, struct errmsg *err, void *arg)
{
	struct node *n = arg;

	return ports_capture(n->ports, rank, fd, err);
}

static int check_table(const struct node *n, const struct netctl *msg,
		       const struct table *t, struct errmsg *err)
{
	int r = link_kind_check(n->link_flags, t, err);

	if (r < 0)
		return errmsg_prefix(err, r, "vmstep-net");
	if (msg->table.node >= msg->table.nnodes ||
	    !table_is(t, msg->table.node, &n->o->ranks))
		return errmsg_say(
			err, -EINVAL,
			"vmstep-net: the table of nodes gives this node, %" PRIu32
			" of %" PRIu32 ", other ranks than --ranks",
			msg->table.node, msg->table.nnodes);
	return 0;
}

static void set_auth(struct node *n, const struct netctl *msg)
{
	memcpy(n->auth.key, msg->table.key, sizeof(n->auth.key));
	n->auth.node = msg->table.node;
	n->auth.nnodes = msg->table.nnodes;
	n->auth.flags = n->link_flags;
	snprintf(n->auth.name, sizeof(n->auth.name), "%s", n->o->node);
}

/* With what a predecessor knew. */
static int start_states(struct node *n, uint32_t self, uint32_t nnodes,
			struct errmsg *err)
{
	struct errmsg why;
	const char *text;
	size_t len;

	if (states_start(n->states, self, nnodes) < 0)
		return errmsg_set(err, -ENOMEM, "states of the step");
	text = record_text(n->record, &len);
	if (len && states_restore(n->states, text, len, &why) < 0)
		log_warn("the record of the step has errors, ignoring: %s",
			 why.text);
	return 0;
}

static int join_nodes(struct node *n, const struct netctl *msg,
		      struct errmsg *err)
{
	const struct fwd_tree tree = { states_spread, states_toward,
				       n->states };
	int r;

	set_auth(n, msg);
	r = mesh_start(n->mesh, TAKE_PTR(n->host), n->table, msg->table.node,
		       err);
	if (r == 0)
		r = start_states(n, msg->table.node, msg->table.nnodes, err);
	if (r == 0 && n->tally &&
	    tally_start(n->tally, msg->table.node, msg->table.nnodes,
			table_node(n->table, 0)) < 0)
		r = errmsg_set(err, -ENOMEM, "report");
	if (r == 0 && relay_start(n->relay, n->table, msg->table.node) < 0)
		r = errmsg_set(err, -ENOMEM, "messages between tasks");
	if (r < 0)
		return r;
	workers_stop(n->workers);
	fwd_set_table(n->fwd, n->table, msg->table.node, mesh_outlet, n->mesh,
		      &tree);
	workers_go(n->workers);
	log_info("node %" PRIu32 " of %" PRIu32, msg->table.node,
		 msg->table.nnodes);
	return 0;
}

/* Helpers keep it, and one after the other may give it to us again. */
static bool is_known(const struct node *n, const struct netctl *msg)
{
	return n->table && table_nnodes(n->table) == msg->table.nnodes &&
	       n->auth.node == msg->table.node &&
	       memcmp(n->auth.key, msg->table.key, sizeof(n->auth.key)) == 0;
}

static int on_table(const struct netctl *msg, int fd, struct errmsg *err,
		    void *arg)
{
	struct node *n = arg;
	struct table *t = NULL;
	int r;

	if (is_known(n, msg))
		return 0;
	if (!n->host)
		return errmsg_say(err, -EALREADY,
				  "vmstep-net: a table of nodes, but %s",
				  n->table ? "there is another one"
					   : "all tasks are on this node");
	if (msg->table.nranks != n->o->nranks)
		return errmsg_say(
			err, -EINVAL,
			"vmstep-net: the table of nodes is for %" PRIu32
			" tasks, this step has %" PRIu32,
			msg->table.nranks, n->o->nranks);
	r = table_read(fd, msg->table.nnodes, msg->table.nranks, &t, err);
	if (r == 0)
		r = check_table(n, msg, t, err);
	if (r < 0) {
		table_free(t);
		return r;
	}
	n->table = t;
	r = join_nodes(n, msg, err);
	if (r == 0 && ctl_tell_table(n->ctl, msg, fd) < 0)
		log_warn("only one helper has the table of nodes, ignoring");
	return r;
}

static void on_state(uint32_t rank, enum netctl_state state, void *arg)
{
	struct node *n = arg;
	char why[NETCTL_TEXT_LEN];

	snprintf(why, sizeof(why),
		 "vm[%" PRIu32
		 "]@%.64s: its VM could not be started or was lost",
		 rank, n->o->node);
	if (states_say(n->states, rank, state, why) < 0)
		log_err("out of memory for the state of vm[%" PRIu32 "]", rank);
}

static void helper_failed(struct node *n, uint32_t rank)
{
	char why[NETCTL_TEXT_LEN];

	snprintf(why, sizeof(why),
		 "vm[%" PRIu32
		 "]@%.64s: its helper ended before its VM was done",
		 rank, n->o->node);
	log_info("%s", why);
	if (states_say(n->states, rank, NETCTL_FAILED, why) < 0)
		log_err("out of memory for the state of vm[%" PRIu32 "]", rank);
}

static void on_helper_closed(uint32_t rank, bool over, void *arg)
{
	struct node *n = arg;

	record_left(n->record, rank);
	ports_forget(n->ports, rank);
	relay_leave(n->relay, rank);
	if (!over)
		helper_failed(n, rank);
}

static void leave(struct node *n)
{
	n->leaving = true;
	log_info("the last helper has left");
	if (n->tally)
		tally_leave(n->tally);
	states_leave(n->states);
}

static bool have_all_come(const struct node *n)
{
	uint32_t rank = 0;

	while ((rank = rankset_next(&n->o->ranks, rank)) != UINT32_MAX)
		if (!record_has_come(n->record, rank++))
			return false;
	return record_awaited(n->record) == UINT32_MAX;
}

/* What the first has told is for the others, who may only be on their way. */
static void on_all_closed(void *arg)
{
	struct node *n = arg;

	if (n->waited || have_all_come(n))
		leave(n);
	else
		log_info(
			"no helper is left; waiting for those that have not come yet");
}

static void log_port(const struct port *p, void *arg)
{
	char text[512];

	log_info("%s port of vm[%" PRIu32 "]: %s", p->ops->kind, p->rank,
		 counters_text(&p->counts, text, sizeof(text)));
}

static void on_port_closing(const struct port *p, const char *why, void *arg)
{
	struct node *n = arg;

	if (*why)
		log_info("port of vm[%" PRIu32 "] closed: %s", p->rank, why);
	log_port(p, arg);
	if (n->tally)
		tally_keep(n->tally, p);
}

static void on_refused(const char *why, void *arg)
{
	log_limited(LOG_LEVEL_WARN, "refused a helper: %s", why);
}

static struct stats_env stats_env(const struct node *n)
{
	return (struct stats_env){
		.name = n->o->node,
		.node = n->table ? n->auth.node : 0,
		.nnodes = n->table ? table_nnodes(n->table) : 1,
		.nranks = n->o->nranks,
		.started_ms = n->started_ms,
		.counts = &n->counts,
		.ports = n->ports,
		.mesh = n->mesh,
	};
}

static int on_stats(uint32_t rank, void *arg)
{
	const struct stats_env env = stats_env(arg);
	struct node *n = arg;
	int fd;

	workers_stop(n->workers); /* to read what they count */
	fd = stats_memfd(&env, rank);
	workers_go(n->workers);
	return fd;
}

static void on_want_report(void *arg)
{
	struct node *n = arg;

	if (n->tally)
		tally_want(n->tally);
	else
		ctl_report(n->ctl, -1);
}

static int send_report(uint32_t node, const void *data, size_t len, void *arg)
{
	struct node *n = arg;
	uint32_t next = states_toward(node, n->states);

	return next == UINT32_MAX
		       ? -EHOSTUNREACH
		       : mesh_send(n->mesh, next, WIRE_REPORT, data, len);
}

static void take_report(struct netstats *to, size_t max, void *arg)
{
	const struct stats_env env = stats_env(arg);

	workers_stop(((struct node *)arg)->workers);
	stats_take_whole(&env, max, to);
	workers_go(((struct node *)arg)->workers);
}

static void on_report_ready(int memfd, void *arg)
{
	ctl_report(((struct node *)arg)->ctl, memfd);
}

static const struct ctl_ops ctl_ops = {
	.report = on_want_report,
	.stats = on_stats,
	.hello = on_hello,
	.port = on_port,
	.ops = on_ops,
	.capture = on_capture,
	.table = on_table,
	.state = on_state,
	.closed = on_helper_closed,
	.all_closed = on_all_closed,
	.refused = on_refused,
};

/* Those that were here when our predecessor was killed, and are no more. */
static void miss_helpers(struct node *n)
{
	uint32_t rank;

	while ((rank = record_awaited(n->record)) != UINT32_MAX) {
		record_left(n->record, rank);
		relay_leave(n->relay, rank);
		helper_failed(n, rank);
	}
}

static void on_helpers_timer(void *arg)
{
	struct node *n = arg;

	n->waited = true;
	if (n->leaving)
		return;
	miss_helpers(n);
	relay_waited(n->relay);
	if (ctl_helpers(n->ctl))
		return;
	log_warn("no helper came within %d s", NODE_HELPERS_MS / 1000);
	leave(n);
}

/* -- life ----------------------------------------------------------------- */

static void send_to_guest(uint32_t rank, const uint8_t *frame, size_t len,
			  void *arg)
{
	fwd_tell_port(((struct node *)arg)->fwd, rank, frame, len);
}

static int tell_groups(uint32_t node, const uint8_t *text, size_t len,
		       void *arg)
{
	return mesh_send(((struct node *)arg)->mesh, node, WIRE_GROUPS, text,
			 len);
}

static void each_neighbour(void (*fn)(uint32_t node, void *fn_arg),
			   void *fn_arg, void *arg)
{
	struct node *n = arg;

	if (n->table)
		states_spread(n->auth.node, fn, fn_arg, n->states);
}

static int make_mcast(struct node *n, struct errmsg *err)
{
	const struct mcast_env env = {
		.loop = n->loop,
		.service = addr_service_ip(&n->o->net),
		.settle_ms = (int)n->o->settle_ms,
		.send = send_to_guest,
		.tell = tell_groups,
		.neighbours = each_neighbour,
		.arg = n,
	};

	return mcast_new(&env, &n->mcast, err);
}

static int make_workers(struct node *n, struct errmsg *err)
{
	int r = workers_new(n->loop, n->o->workers, &n->workers, err);

	if (r < 0)
		return r;
	n->main = workers_get(n->workers, 0);
	if (n->o->workers > 1)
		buf_pool_share(&n->pool);
	return 0;
}

static int make_fwd(struct node *n, struct errmsg *err)
{
	const struct fwd_conf conf = {
		.net = n->o->net,
		.mtu = n->o->mtu,
		.nranks = n->o->nranks,
		.local = &n->o->ranks,
		.flow = n->main->flow,
		.names = n->o->names,
		.workers = n->workers,
		.pool = &n->pool,
		.mcast = n->mcast,
	};

	return fwd_new(&conf, &n->fwd, err);
}

static int make_ports(struct node *n, struct errmsg *err)
{
	const struct ports_env env = {
		.workers = n->workers,
		.pool = &n->pool,
		.fwd = n->fwd,
		.counts = &n->counts,
		.mtu = n->o->mtu,
		.closing = on_port_closing,
		.arg = n,
	};

	return ports_new(&env, rankset_count(&n->o->ranks), &n->ports, err);
}

static int make_mesh(struct node *n, struct errmsg *err)
{
	const struct mesh_env env = {
		.loop = n->loop,
		.round = n->main->round,
		.pool = &n->pool,
		.flow = n->main->flow,
		.fwd = n->fwd,
		.workers = n->workers,
		.auth = &n->auth,
		.lost_after_ms = (int)n->o->lost_after_ms,
		.idle_ms = (int)n->o->idle_after_ms,
		.ops = &mesh_ops,
		.arg = n,
	};

	return mesh_new(&env, &n->mesh, err);
}

static int make_tally(struct node *n, struct errmsg *err)
{
	const struct tally_env env = {
		.loop = n->loop,
		.send = send_report,
		.take = take_report,
		.ready = on_report_ready,
		.arg = n,
	};

	return n->o->report ? tally_new(&env, &n->tally, err) : 0;
}

static int make_states(struct node *n, struct errmsg *err)
{
	const struct states_env env = {
		.loop = n->loop,
		.round = n->main->round,
		.mesh = n->mesh,
		.nranks = n->o->nranks,
		.grace_ms = (int)n->o->grace_ms,
		.all = on_all,
		.lost = on_lost,
		.without = on_without,
		.record = on_record,
		.not_taken = on_not_taken,
		.arg = n,
	};

	return states_new(&env, &n->states, err);
}

static int want_ops(uint32_t node, void *arg)
{
	return mesh_want_ops(((struct node *)arg)->mesh, node);
}

static void on_ops_refused(uint32_t rank, const char *why, void *arg)
{
	log_limited(LOG_LEVEL_WARN,
		    "the helper of vm[%" PRIu32
		    "] is not listened to any more: %s",
		    rank, why);
}

/* Those that a predecessor saw leaving do not come back. */
static int make_relay(struct node *n, struct errmsg *err)
{
	const struct relay_env env = {
		.loop = n->loop,
		.local = &n->o->ranks,
		.nranks = n->o->nranks,
		.link_ms = RELAY_LINK_MS,
		.want = want_ops,
		.refused = on_ops_refused,
		.arg = n,
	};
	uint32_t rank = 0;
	int r = relay_new(&env, &n->relay, err);

	if (r == 0 && is_alone(n) && relay_start(n->relay, NULL, 0) < 0)
		r = errmsg_set(err, -ENOMEM, "messages between tasks");
	if (r < 0)
		return r;
	while ((rank = rankset_next(&n->o->ranks, rank)) != UINT32_MAX) {
		if (record_has_left(n->record, rank))
			relay_leave(n->relay, rank);
		rank++;
	}
	return 0;
}

/* By RDMA where there is a device, unless the site says otherwise. */
static int choose_links(struct node *n, const struct link_env *env,
			struct errmsg *err)
{
	bool rdma = rdma_is_there();
	struct errmsg why;
	int r;

	n->link_flags = n->o->encrypt ? WIRE_SEALED : 0;
	if (n->o->kind == LINK_TCP || (n->o->kind == LINK_AUTO && !rdma))
		return 0;
	r = link_ucx_over(n->host, env, rdma, &why);
	if (r == 0) {
		n->link_flags |= WIRE_UCX;
		log_info("links go over UCX: %s",
			 rdma ? "there is an RDMA device" : "its own TCP");
	} else if (n->o->kind == LINK_AUTO) {
		log_warn("there is an RDMA device, but links go over TCP: %s",
			 why.text);
		r = 0;
	} else if (err) {
		*err = why;
	}
	return r;
}

static int listen_for_nodes(struct node *n, const struct link_env *env,
			    struct errmsg *err)
{
	struct sockaddr_storage sa;
	int r;

	if (n->o->link_fd >= 0)
		return link_tcp_adopt(env, n->o->link_fd, &n->host, err);
	r = local_address(n->o->device, n->o->bind, n->o->node, &sa, err);
	if (r == 0)
		r = link_tcp_listen(env, &sa, n->o->ports, &n->host, err);
	return r;
}

/* With all tasks on this node there are no links and nothing listens. */
static int make_host(struct node *n, struct errmsg *err)
{
	const struct link_env env = mesh_link_env(n->mesh);
	int r;

	if (is_alone(n))
		return start_states(n, 0, 1, err);
	r = listen_for_nodes(n, &env, err);
	if (r == 0)
		r = choose_links(n, &env, err);
	if (r == 0)
		r = link_kind_mark(n->link_flags, n->host->address,
				   sizeof(n->host->address));
	if (r == 0)
		log_info("links: %s; other nodes reach us at %s",
			 link_kind_text(n->link_flags), n->host->address);
	return r;
}

static int make_ctl(struct node *n, struct errmsg *err)
{
	const struct ctl_conf conf = {
		.loop = n->loop,
		.fd = n->o->ctl_fd,
		.local = &n->o->ranks,
		.nranks = n->o->nranks,
		.link = n->host ? n->host->address : "",
		.link_fd = n->host ? n->host->fd : -1,
	};

	return ctl_new(&conf, &ctl_ops, n, &n->ctl, err);
}

int node_new(const struct options *o, struct loop *loop, struct node **ret,
	     struct errmsg *err)
{
	struct node *n = calloc(1, sizeof(*n));
	int r;

	if (!n)
		return errmsg_set(err, -ENOMEM, "node");
	n->o = o;
	n->loop = loop;
	n->started_ms = loop_now_ms();
	r = record_open(o->lock_fd, &n->record, err);
	if (r == 0)
		r = make_workers(n, err);
	if (r == 0 && loop_timer_add(loop, NODE_HELPERS_MS, on_helpers_timer, n,
				     &n->helpers_timer) < 0)
		r = errmsg_set(err, -ENOMEM, "timer");
	if (r == 0)
		r = make_mcast(n, err);
	if (r == 0)
		r = make_fwd(n, err);
	if (r == 0)
		r = make_ports(n, err);
	if (r == 0)
		r = make_mesh(n, err);
	if (r == 0)
		r = make_tally(n, err);
	if (r == 0)
		r = make_states(n, err);
	if (r == 0)
		r = make_relay(n, err);
	if (r == 0)
		r = make_host(n, err);
	if (r == 0)
		r = make_ctl(n, err);
	if (r == 0)
		r = workers_start(n->workers, err);
	if (r < 0) {
		node_free(n);
		return r;
	}
	*ret = n;
	return 0;
}

void node_free(struct node *n)
{
	if (!n)
		return;
	workers_end(n->workers);
	ctl_free(n->ctl);
	states_free(n->states);
	mesh_free(n->mesh);
	relay_free(n->relay);
	link_host_free(n->host);
	ports_free(n->ports);
	tally_free(n->tally);
	fwd_free(n->fwd);
	mcast_free(n->mcast);
	loop_timer_free(n->helpers_timer);
	record_free(n->record);
	workers_free(n->workers);
	buf_pool_done(&n->pool);
	table_free(n->table);
	auth_forget(&n->auth);
	free(n);
}

static void log_link(uint32_t node, const char *name, const struct counters *c,
		     void *arg)
{
	char text[512];

	log_info("link to %s: %s", name, counters_text(c, text, sizeof(text)));
}

void node_log_counters(const struct node *n)
{
	char text[512];

	ports_each(n->ports, log_port, NULL);
	mesh_each(n->mesh, log_link, NULL);
	log_info("vmstep-net: %s",
		 counters_text(&n->counts, text, sizeof(text)));
}
