#include <config.h>

#include "op_mem.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "op_mem_impl.h"
#include "param.h"

struct mem_who op_mem_who(const struct op_mem *m, const struct rpc_call *call)
{
	const struct ops_origin *from = rpc_call_origin(call);

	return (struct mem_who){ ops_rank(call, m->task->rank),
				 from && from->who == OPS_USER };
}

/* To who keeps it, or to a task of the node. */
static void ask_home(struct op_mem *m, struct rpc_call *call, uint32_t rank,
		     const char *op, const json_t *params)
{
	const struct mem_who who = op_mem_who(m, call);

	if (rank >= m->task->ranks) {
		rpc_fail(call, RPC_E_NOENT, "no task keeps such a region");
		return;
	}
	peers_pass(
		m->peers, rank, call, "mem.home",
		memhome_ask(op, &who, json_copy((json_t *)(uintptr_t)params)));
}

/* -- names ----------------------------------------------------------------- */

/* A call whose region, or item, is looked up. */
struct lookup {
	struct op_mem *m;
	struct rpc_call *call;
	const char *key; /* "region", or "item" */
	char *method;
	json_t *params;
};

static void lookup_free(struct lookup *u)
{
	json_decref(u->params);
	free(u->method);
	free(u);
}

static void on_found(uint32_t rank, const struct rpc_reply *reply, void *arg)
{
	struct lookup *u = arg;
	const char *number = strstr(u->key, "item") ? "item" : "region";
	json_t *found;

	if (!reply) {
		lookup_free(u);
		return;
	}
	found = json_object_get(reply->result, number);
	rpc_on_gone(u->call, NULL, NULL);
	if (!found) {
		rpc_pass_on(u->call, reply);
		return;
	}
	json_object_set(u->params, u->key, found);
	ops_carry_out(u->m->ops, u->call, u->method, u->params);
}

static void on_lookup_gone(struct rpc_call *call, void *arg)
{
	struct lookup *u = arg;

	peers_forget(u->m->peers, u);
	rpc_result(call, NULL);
	lookup_free(u);
}

static void look_up(struct op_mem *m, struct rpc_call *call, const char *method,
		    const json_t *params, const char *key, uint32_t rank,
		    const char *ask, json_t *with)
{
	struct rank_range range = { rank, rank };
	const struct rankset to = { &range, 1 };
	struct lookup *u = calloc(1, sizeof(*u));

	if (u) {
		*u = (struct lookup){ m, call, key, strdup(method),
				      json_copy((json_t *)(uintptr_t)params) };
	}
	if (!u || !u->method || !u->params || !with) {
		if (u)
			lookup_free(u);
		json_decref(with);
		rpc_fail(call, RPC_INTERNAL, "out of memory");
		return;
	}
	rpc_on_gone(call, on_lookup_gone, u);
	peers_request(m->peers, &to, ask, with, -1, on_found, u);
}

static bool is_wrong(struct rpc_call *call, const json_t *v, const char *key)
{
	if (json_is_integer(v) || json_is_string(v))
		return false;
	rpc_failf(call, RPC_INVALID_PARAMS, "%s: a number, or a name", key);
	return true;
}

static bool region_resolved(struct op_mem *m, struct rpc_call *call,
			    const char *method, const json_t *params,
			    const char *key)
{
	json_t *region = json_object_get(params, key);

	if (is_wrong(call, region, key))
		return false;
	if (json_is_integer(region))
		return true;
	look_up(m, call, method, params, key, 0, "mem.name",
		json_pack("{s:O}", "name", region));
	return false;
}

bool op_mem_item_resolved(struct op_mem *m, struct rpc_call *call,
			  const char *method, const json_t *params,
			  const char *region_key, const char *item_key)
{
	json_t *region = json_object_get(params, region_key);
	json_t *item = json_object_get(params, item_key);
	const struct mem_who who = op_mem_who(m, call);
	uint32_t home = memdir_home((uint64_t)json_integer_value(region));

	if (!region_resolved(m, call, method, params, region_key) ||
	    is_wrong(call, item, item_key))
		return false;
	if (home >= m->task->ranks) {
		rpc_fail(call, RPC_E_NOENT, "no task keeps such a region");
		return false;
	}
	if (json_is_integer(item))
		return true;
	look_up(m, call, method, params, item_key, home, "mem.home",
		memhome_ask("lookup", &who,
			    json_pack("{s:O, s:O}", "region", region, "item",
				      item)));
	return false;
}

bool op_mem_resolved(struct op_mem *m, struct rpc_call *call,
		     const char *method, const json_t *params, bool item)
{
	return item ? op_mem_item_resolved(m, call, method, params, "region",
					   "item")
		    : region_resolved(m, call, method, params, "region");
}

/* -- of a region that is there --------------------------------------------- */

static void of_region(struct op_mem *m, struct rpc_call *call,
		      const char *method, const char *op, const json_t *params)
{
	const json_t *region = json_object_get(params, "region");

	if (op_mem_resolved(m, call, method, params, false))
		ask_home(m, call,
			 memdir_home((uint64_t)json_integer_value(region)), op,
			 params);
}

static void region_destroy(struct rpc_call *call, const json_t *params,
			   void *arg)
{
	of_region(arg, call, "mem.region.destroy", "region.destroy", params);
}

static void region_resize(struct rpc_call *call, const json_t *params,
			  void *arg)
{
	of_region(arg, call, "mem.region.resize", "region.resize", params);
}

static void region_stat(struct rpc_call *call, const json_t *params, void *arg)
{
	of_region(arg, call, "mem.region.stat", "region.stat", params);
}

static void mem_alloc(struct rpc_call *call, const json_t *params, void *arg)
{
	of_region(arg, call, "mem.alloc", "alloc", params);
}

static void mem_chmod(struct rpc_call *call, const json_t *params, void *arg)
{
	of_region(arg, call, "mem.chmod", "chmod", params);
}

static void mem_free(struct rpc_call *call, const json_t *params, void *arg)
{
	of_region(arg, call, "mem.free", "free", params);
}

static void mem_lookup(struct rpc_call *call, const json_t *params, void *arg)
{
	of_region(arg, call, "mem.lookup", "lookup", params);
}

static void mem_stat(struct rpc_call *call, const json_t *params, void *arg)
{
	of_region(arg, call, "mem.stat", "lookup", params);
}

static void mem_map(struct rpc_call *call, const json_t *params, void *arg)
{
	of_region(arg, call, "mem.map", "map", params);
}

static void mem_copy(struct rpc_call *call, const json_t *params, void *arg)
{
	if (op_mem_item_resolved(arg, call, "mem.copy", params, "dst_region",
				 "dst_item"))
		of_region(arg, call, "mem.copy", "copy", params);
}

/* -- others ---------------------------------------------------------------- */

static void region_create(struct rpc_call *call, const json_t *params,
			  void *arg)
{
	struct op_mem *m = arg;
	int64_t home = m->task->rank;
	struct errmsg err;

	if (param_int(params, "home", 0, (int64_t)m->task->ranks - 1, &home,
		      &err) < 0)
		rpc_fail(call, RPC_INVALID_PARAMS, err.text);
	else
		ask_home(m, call, (uint32_t)home, "region.create", params);
}

/* By name; as mem.region.stat, which takes numbers, too. */
static void region_lookup(struct rpc_call *call, const json_t *params,
			  void *arg)
{
	json_t *copy =
		json_pack("{s:O}", "region", json_object_get(params, "name"));

	if (copy)
		of_region(arg, call, "mem.region.stat", "region.stat", copy);
	else
		rpc_fail(call, RPC_INVALID_PARAMS, "name: of which region?");
	json_decref(copy);
}

static void region_list(struct rpc_call *call, const json_t *params, void *arg)
{
	struct op_mem *m = arg;

	peers_pass(m->peers, 0, call, "mem.name", json_object());
}

static void mem_info(struct rpc_call *call, const json_t *params, void *arg)
{
	struct op_mem *m = arg;

	ask_home(m, call, m->task->rank, "info", params);
}

static void mem_scratch(struct rpc_call *call, const json_t *params, void *arg)
{
	struct op_mem *m = arg;

	ask_home(m, call, m->task->rank, "scratch", params);
}

const struct rpc_method op_mem_methods[] = {
	{ "mem.alloc", mem_alloc },
	{ "mem.chmod", mem_chmod },
	{ "mem.copy", mem_copy },
	{ "mem.free", mem_free },
	{ "mem.info", mem_info },
	{ "mem.lookup", mem_lookup },
	{ "mem.map", mem_map },
	{ "mem.region.create", region_create },
	{ "mem.region.destroy", region_destroy },
	{ "mem.region.list", region_list },
	{ "mem.region.lookup", region_lookup },
	{ "mem.region.resize", region_resize },
	{ "mem.region.stat", region_stat },
	{ "mem.scratch", mem_scratch },
	{ "mem.stat", mem_stat },
	{ 0 },
};

/* -- life ------------------------------------------------------------------ */

int op_mem_new(struct loop *l, const struct task *t, const struct spec *s,
	       struct peers *p, struct ops *ops, struct op_mem **ret)
{
	struct op_mem *m = calloc(1, sizeof(*m));
	int r = m ? 0 : -ENOMEM;

	if (r == 0) {
		*m = (struct op_mem){
			.loop = l, .task = t, .ops = ops, .peers = p
		};
		m->keep = memkeep_new(t, s, p);
		r = m->keep ? memlink_new(l, p, m->keep, &m->link) : -ENOMEM;
	}
	if (r == 0)
		memlink_watch(m->link, op_mem_end_quiets, m);
	if (r == 0)
		r = memhome_new(t, p, m->keep, m->link, ops, &m->home);
	if (r == 0)
		r = ops_add(ops, op_mem_methods, m);
	if (r == 0)
		r = ops_add(ops, op_mem_data_methods, m);
	if (r < 0) {
		op_mem_free(m);
		return r;
	}
	*ret = m;
	return 0;
}

void op_mem_free(struct op_mem *m)
{
	if (!m)
		return;
	memlink_free(m->link);
	op_mem_data_done(m);
	memhome_free(m->home);
	memkeep_free(m->keep);
	free(m);
}
