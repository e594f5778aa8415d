#include <config.h>

#include "op_world.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "addr.h"
#include "cleanup.h"
#include "hosts.h"
#include "op_agent.h"
#include "op_vm.h"
#include "param.h"

struct op_world {
	struct service_conf conf;
	struct peers *peers;
	LIST_HEAD(, ping) pings;
};

/* task.ping of the agent. */
struct ping {
	LIST_ENTRY(ping) link;
	struct op_world *owner;
	struct rpc_call *call; /* NULL: answered; the pong is to come */
	struct loop_timer *timer;
};

/* -- what follows from a rank ---------------------------------------------- */

/* Rank, name and addresses. */
static json_t *place(const struct op_world *w, uint32_t rank)
{
	const struct spec *s = w->conf.spec;
	_cleanup_free_ char *name =
		task_expand(w->conf.task, rank, s->hostname_pattern, NULL);
	char mac[18], ip[INET_ADDRSTRLEN];
	json_t *o = json_pack("{s:I, s:s}", "rank", (json_int_t)rank, "name",
			      name ? name : "");

	if (s->net == NET_NONE)
		return o;
	addr_mac_text(rank, mac);
	addr_ip_text(addr_ip(&s->cidr, rank), ip);
	json_object_set_new(o, "ip", json_string(ip));
	json_object_set_new(o, "mac", json_string(mac));
	return o;
}

/* The same of this task, and how it is. */
static json_t *brief(const struct op_world *w)
{
	json_t *o = place(w, w->conf.task->rank);

	json_object_set_new(o, "node", json_string(w->conf.task->node));
	if (!w->conf.machine)
		return o;
	json_object_set_new(o, "state",
			    json_string(op_vm_state(w->conf.machine)));
	json_object_set_new(o, "agent",
			    json_string(op_vm_agent_state(w->conf.machine)));
	return o;
}

/* -- world.* --------------------------------------------------------------- */

static void world_get(struct rpc_call *call, const json_t *params, void *arg)
{
	const struct op_world *w = arg;
	const struct task *t = w->conf.task;
	json_t *tasks;

	tasks = json_array();
	for (uint32_t r = 0; r < t->ranks; r++)
		json_array_append_new(tasks, place(w, r));
	rpc_result(call,
		   json_pack("{s:s, s:I, s:I, s:s, s:s, s:o}", "step", t->step,
			     "self", (json_int_t)t->rank, "ntasks",
			     (json_int_t)t->ranks, "node", t->node, "domain",
			     w->conf.spec->domain, "tasks", tasks));
}

static void world_hosts(struct rpc_call *call, const json_t *params, void *arg)
{
	const struct op_world *w = arg;
	_cleanup_free_ char *text = NULL;
	int r;

	if (w->conf.spec->net == NET_NONE) {
		rpc_fail(call, RPC_E_NOTSUP, "--vm-net=none: no addresses");
		return;
	}
	r = hosts_text(w->conf.task, w->conf.spec, &text);
	if (r < 0)
		rpc_fail_os(call, RPC_E_TOOBIG, -r, NULL,
			    "too many guests for a hosts file");
	else
		rpc_result(call, json_pack("{s:s}", "text", text));
}

/* -- task.ping ------------------------------------------------------------- */

static void ping_free(struct ping *p)
{
	LIST_REMOVE(p, link);
	loop_timer_free(p->timer);
	free(p);
}

static void on_pong(int64_t rtt_us, void *arg)
{
	struct ping *p = arg;
	json_t *o;

	if (p->call && rtt_us < 0) {
		rpc_fail(p->call, RPC_E_NOAGENT, "the agent is gone");
	} else if (p->call) {
		o = brief(p->owner);
		json_object_set_new(o, "rtt_us", json_integer(rtt_us));
		rpc_result(p->call, o);
	}
	ping_free(p);
}

/* Its pong may still come. */
static void on_ping_timeout(void *arg)
{
	struct ping *p = arg;

	rpc_fail(p->call, RPC_E_TIMEOUT, "the agent does not answer");
	p->call = NULL;
}

static void ping_agent(struct op_world *w, struct rpc_call *call)
{
	struct guest *g = op_agent_guest(w->conf.machine, call);
	struct ping *p;
	int r;

	if (!g)
		return;
	p = calloc(1, sizeof(*p));
	if (!p) {
		rpc_fail(call, RPC_INTERNAL, "out of memory");
		return;
	}
	p->owner = w;
	p->call = call;
	LIST_INSERT_HEAD(&w->pings, p, link);
	r = loop_timer_add(w->conf.loop, OP_WORLD_PING_MS, on_ping_timeout, p,
			   &p->timer);
	if (r == 0)
		r = mux_ping(guest_mux(g), on_pong, p);
	if (r == 0)
		return;
	if (r == -EBUSY)
		rpc_fail(call, RPC_E_BUSY, "too many pings wait");
	else
		rpc_fail(call, RPC_E_NOAGENT, "the agent is gone");
	ping_free(p);
}

static void task_ping(struct rpc_call *call, const json_t *params, void *arg)
{
	static const char *const paths[] = { "helper", "agent", NULL };
	struct errmsg err;
	int path = 0;

	if (param_word(params, "path", paths, &path, &err) < 0)
		rpc_fail(call, RPC_INVALID_PARAMS, err.text);
	else if (path == 0)
		rpc_result(call, brief(arg));
	else
		ping_agent(arg, call);
}

/* -- task.list ------------------------------------------------------------- */

struct list {
	struct op_world *owner;
	struct rpc_call *call;
	json_t *tasks;
	char *state; /* only those; NULL: all */
};

static void on_brief(struct list *l, uint32_t rank,
		     const struct rpc_reply *reply)
{
	json_t *o = reply->result ? json_deep_copy(reply->result)
				  : place(l->owner, rank);
	const char *state;

	if (!reply->result) {
		json_object_set_new(o, "state", json_string("unreachable"));
		json_object_set_new(o, "why", json_string(reply->message));
	}
	state = json_string_value(json_object_get(o, "state"));
	if (!l->state || (state && strcmp(state, l->state) == 0))
		json_array_append_new(l->tasks, o);
	else
		json_decref(o);
}

static int by_rank(const void *a, const void *b)
{
	json_t *const *x = a, *const *y = b;
	json_int_t i = json_integer_value(json_object_get(*x, "rank"));
	json_int_t j = json_integer_value(json_object_get(*y, "rank"));

	return i < j ? -1 : i > j;
}

/* They answer in any order. */
static json_t *sorted(json_t *array)
{
	size_t n = json_array_size(array);
	_cleanup_free_ json_t **all = calloc(n + 1, sizeof(json_t *));
	json_t *out = json_array();

	if (!all) {
		json_decref(out);
		return json_incref(array);
	}
	for (size_t i = 0; i < n; i++)
		all[i] = json_array_get(array, i);
	qsort(all, n, sizeof(json_t *), by_rank);
	for (size_t i = 0; i < n; i++)
		json_array_append(out, all[i]);
	return out;
}

static void on_list(uint32_t rank, const struct rpc_reply *reply, void *arg)
{
	struct list *l = arg;

	if (reply) {
		on_brief(l, rank, reply);
		return;
	}
	rpc_result(l->call, sorted(l->tasks));
	json_decref(l->tasks);
	free(l->state);
	free(l);
}

static void task_list(struct rpc_call *call, const json_t *params, void *arg)
{
	struct op_world *w = arg;
	struct rank_range range = { 0, w->conf.task->ranks - 1 };
	const struct rankset all = { &range, 1 };
	struct errmsg err;
	struct list *l;

	l = calloc(1, sizeof(*l));
	if (!l) {
		rpc_fail(call, RPC_INTERNAL, "out of memory");
		return;
	}
	if (param_text(params, "state", &l->state, &err) < 0) {
		rpc_fail(call, RPC_INVALID_PARAMS, err.text);
		free(l);
		return;
	}
	l->owner = w;
	l->call = call;
	l->tasks = json_array();
	peers_request(w->peers, &all, "task.ping", json_object(),
		      OP_WORLD_LIST_MS, on_list, l);
}

const struct rpc_method op_world_methods[] = {
	{ "task.list", task_list },
	{ "task.ping", task_ping },
	{ "world.get", world_get },
	{ "world.hosts", world_hosts },
	{ 0 },
};

int op_world_new(const struct service_conf *conf, struct peers *p,
		 struct ops *ops, struct op_world **ret)
{
	struct op_world *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	w->conf = *conf;
	w->peers = p;
	LIST_INIT(&w->pings);
	r = ops_add(ops, op_world_methods, w);
	if (r < 0) {
		free(w);
		return r;
	}
	*ret = w;
	return 0;
}

/* Their pongs may come while the guest is freed: not to us. */
void op_world_free(struct op_world *w)
{
	struct ping *p;

	if (!w)
		return;
	while ((p = LIST_FIRST(&w->pings))) {
		if (p->call)
			rpc_fail(p->call, RPC_E_GONE, "the task has ended");
		ping_free(p);
	}
	free(w);
}
