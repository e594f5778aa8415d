#include <config.h>

#include "guest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "hosts.h"
#include "log.h"
#include "qga_net.h"
#include "usernet.h"

/* For the guest to find its network card. */
#define CARD_TIMEOUT_MS 60000

struct guest {
	struct loop *loop;
	const struct task *task;
	const struct spec *spec;
	int fd;
	struct mux *mux;
	struct rpc *rpc;
	struct procs *procs;
	struct guest_ops ops;
	void *arg;
	bool greeted, went_back;
	json_t *hello, *beacon; /* NULL: none yet */
	json_t *bye;		/* its reason */
	int64_t seen_ms;
	unsigned int last_chan;
	struct loop_timer *closed_timer;

	struct qga *qga;   /* NULL: not wanted */
	bool qga_is_agent; /* from here on, where ours is not there */
	struct loop_timer *ours_timer;
	int64_t begun_ms;
	struct qga_net *qga_net;

	guest_done_fn configure_fn;
	void *configure_arg;
};

static int send_text(const char *text, size_t len, void *arg)
{
	struct guest *g = arg;

	return mux_ctrl(g->mux, text, len);
}

int guest_request(struct guest *g, const char *method, json_t *params,
		  rpc_reply_fn fn, void *arg)
{
	if (!g->greeted) {
		json_decref(params);
		return -ENOTCONN;
	}
	if (!params)
		return -ENOMEM;
	return rpc_request(g->rpc, method, params, fn, arg);
}

void guest_forget_request(struct guest *g, const void *arg)
{
	rpc_forget_request(g->rpc, arg);
}

void guest_forget_all(struct guest *g, const char *why)
{
	rpc_forget(g->rpc, why);
	if (g->qga)
		qga_forget_all(g->qga, why);
}

void guest_set_handler(struct guest *g, rpc_handler_fn fn, void *arg)
{
	rpc_set_handler(g->rpc, fn, arg);
}

unsigned int guest_take_channels(struct guest *g, unsigned int n)
{
	unsigned int first = g->last_chan + 1;

	if (first > INT32_MAX - n)
		first = 1;
	g->last_chan = first + n - 1;
	return first;
}

/* -- hello ----------------------------------------------------------------- */

static void on_hello(struct rpc_call *call, const json_t *params, void *arg)
{
	struct guest *g = arg;
	const char *version =
		json_string_value(json_object_get(params, "version"));

	log_debug("agent %s says hello (%s)", version ? version : "?",
		  json_string_value(json_object_get(params, "kernel")));
	if (json_dumpb(params, NULL, 0, JSON_COMPACT) > GUEST_HELLO_MAX) {
		rpc_failf(call, RPC_E_TOOBIG, "more than %d bytes of hello",
			  GUEST_HELLO_MAX);
		return;
	}
	json_decref(g->hello);
	g->hello = json_deep_copy(params);
	json_decref(g->bye);
	g->bye = NULL;
	rpc_result(call,
		   json_pack("{s:I, s:I, s:s, s:s, s:b, s:I}", "rank",
			     (json_int_t)g->task->rank, "ntasks",
			     (json_int_t)g->task->ranks, "name",
			     g->spec->hostname, "user", g->spec->guest_user,
			     "attach", g->spec->restore || g->went_back,
			     "beacon_ms",
			     (json_int_t)g->task->beacon_interval_s * 1000));
	if (!g->greeted) {
		g->greeted = true;
		if (g->ours_timer)
			loop_timer_set(g->ours_timer, -1);
		qga_net_free(TAKE_PTR(g->qga_net));
		g->ops.hello(g->arg);
	}
}

static void on_alive(struct rpc_call *call, const json_t *params, void *arg)
{
	struct guest *g = arg;

	if (json_dumpb(params, NULL, 0, JSON_COMPACT) > GUEST_BEACON_MAX) {
		rpc_failf(call, RPC_E_TOOBIG, "more than %d bytes of beacon",
			  GUEST_BEACON_MAX);
		return;
	}
	json_decref(g->beacon);
	g->beacon = json_deep_copy(params);
	rpc_result(call, NULL);
}

/* The port's end, which follows, tells the rest. */
static void on_bye(struct rpc_call *call, const json_t *params, void *arg)
{
	struct guest *g = arg;

	json_decref(g->bye);
	g->bye = json_incref(json_object_get(params, "reason"));
	log_debug("the agent says goodbye: %s",
		  guest_bye(g) ? guest_bye(g) : "?");
	rpc_result(call, NULL);
}

static void on_exit_event(struct rpc_call *call, const json_t *params,
			  void *arg)
{
	struct guest *g = arg;

	procs_on_exit(g->procs, params);
	rpc_result(call, NULL);
}

/* What an agent says of itself; the rest is the handler's. */
static const struct rpc_method methods[] = {
	{ "agent.alive", on_alive },
	{ "agent.bye", on_bye },
	{ "agent.hello", on_hello },
	{ "proc.exit", on_exit_event },
	{ 0 },
};

int guest_shutdown(struct guest *g)
{
	const struct qga_ask ask = {
		.command = "guest-shutdown",
		.args = json_pack("{s:s}", "mode", "powerdown"),
		.mute = true,
	};

	if (guest_uses_qga(g))
		return qga_ask(g->qga, &ask);
	json_decref(ask.args);
	if (!mux_is_up(g->mux))
		return -ENOTCONN;
	return guest_request(g, "vm.shutdown",
			     json_pack("{s:s}", "how", "poweroff"), NULL, NULL);
}

void guest_set_time(struct guest *g)
{
	struct timespec now;
	json_int_t ns;

	clock_gettime(CLOCK_REALTIME, &now);
	ns = (json_int_t)now.tv_sec * 1000000000 + now.tv_nsec;
	if (guest_uses_qga(g)) {
		const struct qga_ask ask = { .command = "guest-set-time",
					     .args = json_pack("{s:I}", "time",
							       ns) };

		qga_ask(g->qga, &ask);
	} else {
		guest_request(g, "sys.time.set", json_pack("{s:I}", "ns", ns),
			      NULL, NULL);
	}
}

/* -- configuration --------------------------------------------------------- */

static void on_configured(const struct rpc_reply *r, void *arg)
{
	struct guest *g = arg;

	if (r->code == RPC_E_UNREACHABLE)
		return; /* it is lost, and that is told */
	if (g->configure_fn)
		g->configure_fn(r->result ? NULL : r->message,
				g->configure_arg);
}

/* The step's card has been set: the second one, where there is one. */
static void on_step_card(const struct rpc_reply *r, void *arg)
{
	struct guest *g = arg;
	struct usernet u;
	json_t *p;

	if (!r->result || !usernet_of(g->task, g->spec, &u)) {
		on_configured(r, g);
		return;
	}
	p = json_pack("{s:s, s:s, s:i, s:i}", "mac", u.mac, "ip", u.guest,
		      "prefix", u.prefix, "timeout_ms", CARD_TIMEOUT_MS);
	if (g->spec->outbound)
		json_object_set_new(p, "gateway", json_string(u.host));
	if (guest_request(g, "net.configure", p, on_configured, g) < 0)
		log_debug("the second card is left as it is");
}

/* The second server is asked what the step's refuses: all names but its own. */
static void add_nameservers(const struct guest *g, json_t *params)
{
	char server[INET_ADDRSTRLEN];
	struct usernet u;
	json_t *list;

	addr_ip_text(addr_service_ip(&g->spec->cidr), server);
	if (g->spec->net != NET_NONE)
		json_object_set_new(params, "nameserver", json_string(server));
	if (!g->spec->outbound || !usernet_of(g->task, g->spec, &u))
		return;
	list = json_array();
	if (g->spec->net != NET_NONE)
		json_array_append_new(list, json_string(server));
	json_array_append_new(list, json_string(u.dns));
	json_object_set_new(params, "nameserver", list);
}

static json_t *network_params(const struct guest *g)
{
	const struct spec *s = g->spec;
	char mac[18], ip[INET_ADDRSTRLEN];

	addr_mac_text(g->task->rank, mac);
	addr_ip_text(addr_ip(&s->cidr, g->task->rank), ip);
	return json_pack("{s:s, s:s, s:i, s:i, s:i}", "mac", mac, "ip", ip,
			 "prefix", s->cidr.prefix, "mtu", s->mtu, "timeout_ms",
			 CARD_TIMEOUT_MS);
}

static void on_qga_net(const char *error, void *arg)
{
	struct guest *g = arg;

	qga_net_free(TAKE_PTR(g->qga_net));
	if (g->configure_fn)
		g->configure_fn(error, g->configure_arg);
}

/* It does so by itself: see that it has. */
static int await_network(struct guest *g)
{
	const struct spec *s = g->spec;
	char mac[18], ip[INET_ADDRSTRLEN];

	if (s->net == NET_NONE || s->wait == WAIT_AGENT) {
		g->configure_fn(NULL, g->configure_arg);
		return 0;
	}
	addr_mac_text(g->task->rank, mac);
	addr_ip_text(addr_ip(&s->cidr, g->task->rank), ip);
	qga_net_free(g->qga_net);
	return qga_net_new(g->loop, g->qga, mac, ip, CARD_TIMEOUT_MS,
			   on_qga_net, g, &g->qga_net);
}

int guest_configure(struct guest *g, guest_done_fn fn, void *arg)
{
	_cleanup_free_ char *hosts = NULL;
	json_t *p;

	g->configure_fn = fn;
	g->configure_arg = arg;
	if (guest_uses_qga(g))
		return await_network(g);
	p = g->spec->net == NET_NONE ? json_object() : network_params(g);
	if (!p)
		return -ENOMEM;
	json_object_set_new(p, "hostname", json_string(g->spec->hostname));
	json_object_set_new(p, "domain", json_string(g->spec->domain));
	add_nameservers(g, p);
	if (g->spec->net != NET_NONE &&
	    hosts_text(g->task, g->spec, &hosts) < 0)
		log_warn(
			"the guest's hosts file has not the step's names: %u guests are too many for it",
			g->task->ranks);
	if (hosts_usernet(g->task, g->spec, &hosts) == 0 && hosts)
		json_object_set_new(p, "hosts", json_string(hosts));
	return guest_request(g, "net.configure", p, on_step_card, g);
}

/* -- the port -------------------------------------------------------------- */

static void on_up(const struct mux_peer *peer, void *arg)
{
	log_debug("the agent's port is up, protocol %u", peer->proto);
}

static void on_down(const char *why, void *arg)
{
	struct guest *g = arg;
	bool had = g->greeted;

	g->greeted = false;
	procs_on_lost(g->procs, why);
	rpc_forget(g->rpc, why);
	if (had && !g->qga_is_agent)
		g->ops.lost(why, g->arg);
}

static void on_closed(void *arg)
{
	struct guest *g = arg;

	mux_end(g->mux, "it has closed its port");
}

/* A new one that has opened it by then says so by its SYNC. */
void guest_port(struct guest *g, bool open)
{
	loop_timer_set(g->closed_timer, open ? -1 : GUEST_CLOSED_MS);
}

static void on_ctrl(const char *text, size_t len, void *arg)
{
	struct guest *g = arg;

	g->seen_ms = loop_now_ms();
	rpc_receive(g->rpc, text, len);
}

void guest_went_back(struct guest *g, const char *why)
{
	g->went_back = true;
	loop_timer_set(g->closed_timer, -1);
	if (g->qga)
		qga_forget_all(g->qga, why);
	mux_end(g->mux, why);
}

/* -- QEMU's agent ---------------------------------------------------------- */

/* For whom ours is not to be had. */
static void use_qga(void *arg)
{
	struct guest *g = arg;

	if (g->greeted || !guest_qga(g) || g->qga_is_agent)
		return;
	log_debug("QEMU's guest agent %s is the agent of this guest",
		  qga_version(g->qga) ? qga_version(g->qga) : "?");
	g->qga_is_agent = true;
	g->ops.hello(g->arg);
}

static void on_qga_up(void *arg)
{
	struct guest *g = arg;
	int64_t took_ms = loop_now_ms() - g->begun_ms;
	int64_t left_ms = (int64_t)g->spec->boot_timeout_s * 1000 - took_ms;
	int64_t wait_ms = took_ms > GUEST_OURS_MS ? took_ms : GUEST_OURS_MS;

	log_debug("QEMU's guest agent answers");
	if (wait_ms > left_ms / 2)
		wait_ms = left_ms > 0 ? left_ms / 2 : 0;
	if (g->qga_is_agent) /* it was away */
		g->ops.hello(g->arg);
	else if (g->spec->exec == EXEC_QGA)
		use_qga(g);
	else if (!g->greeted)
		loop_timer_set(g->ours_timer, wait_ms);
}

static void on_qga_down(const char *why, void *arg)
{
	struct guest *g = arg;

	loop_timer_set(g->ours_timer, -1);
	qga_net_free(TAKE_PTR(g->qga_net));
	if (g->qga_is_agent && !g->greeted)
		g->ops.lost(why, g->arg);
}

int guest_add_qga(struct guest *g, int fd, struct errmsg *err)
{
	static const struct qga_ops ops = { on_qga_up, on_qga_down };
	int r = qga_new(g->loop, fd, &ops, g, &g->qga, err);

	if (r < 0)
		return r;
	g->begun_ms = loop_now_ms();
	r = loop_timer_add(g->loop, -1, use_qga, g, &g->ours_timer);
	return r < 0 ? errmsg_set(err, r, "guest agent's port") : 0;
}

void guest_qga_port(struct guest *g, bool open)
{
	if (g->qga)
		qga_port(g->qga, open);
}

struct qga *guest_qga(const struct guest *g)
{
	return g->qga && qga_is_up(g->qga) ? g->qga : NULL;
}

bool guest_uses_qga(const struct guest *g)
{
	return !g->greeted && g->qga_is_agent && guest_qga(g);
}

/* -------------------------------------------------------------------------- */

int guest_new(struct loop *l, int fd, const struct task *t,
	      const struct spec *s, const struct guest_ops *ops, void *arg,
	      struct guest **ret, struct errmsg *err)
{
	static const struct mux_ops mux_ops = { on_up, on_down, on_ctrl };
	struct guest *g = calloc(1, sizeof(*g));
	int r;

	if (!g) {
		close(fd);
		return errmsg_set(err, -ENOMEM, "agent's port");
	}
	g->loop = l;
	g->task = t;
	g->spec = s;
	g->fd = fd;
	g->ops = *ops;
	g->arg = arg;
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	r = loop_timer_add(l, -1, on_closed, g, &g->closed_timer);
	if (r < 0) {
		guest_free(g);
		return errmsg_set(err, r, "agent's port");
	}
	g->rpc = rpc_new(methods, g, send_text, g);
	g->procs = procs_new(l, g);
	r = g->rpc && g->procs ? mux_new(l, fd, &mux_ops, g, &g->mux, err)
			       : errmsg_set(err, -ENOMEM, "agent's port");
	if (r < 0) {
		guest_free(g);
		return r;
	}
	*ret = g;
	return 0;
}

void guest_free(struct guest *g)
{
	if (!g)
		return;
	mux_free(g->mux);
	rpc_free(g->rpc);
	procs_free(g->procs);
	qga_net_free(g->qga_net);
	qga_free(g->qga);
	loop_timer_free(g->ours_timer);
	loop_timer_free(g->closed_timer);
	json_decref(g->hello);
	json_decref(g->beacon);
	json_decref(g->bye);
	close(g->fd);
	free(g);
}

struct mux *guest_mux(const struct guest *g)
{
	return g->mux;
}

struct procs *guest_procs(const struct guest *g)
{
	return g->procs;
}

bool guest_is_there(const struct guest *g)
{
	return g->greeted;
}

const json_t *guest_hello(const struct guest *g)
{
	return g->hello;
}

const json_t *guest_beacon(const struct guest *g)
{
	return g->beacon;
}

const char *guest_bye(const struct guest *g)
{
	return json_string_value(g->bye);
}

int64_t guest_seen_ms(const struct guest *g)
{
	return g->seen_ms;
}

enum guest_life guest_life(const struct guest *g)
{
	int64_t every_ms = (int64_t)g->task->beacon_interval_s * 1000;
	int64_t age_ms = loop_now_ms() - g->seen_ms;

	if (!every_ms || age_ms < 3 * every_ms) /* 0: none are due */
		return GUEST_ALIVE;
	return 2 * age_ms < 9 * every_ms ? GUEST_LATE : GUEST_LOST;
}

void guest_seen_now(struct guest *g)
{
	if (g->seen_ms)
		g->seen_ms = loop_now_ms();
}
