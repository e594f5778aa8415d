#include <config.h>

#include "memname.h"

#include <errno.h>
#include <stdlib.h>

#include "cleanup.h"
#include "memdir.h"
#include "memhome.h"
#include "param.h"

#define ASK_MS 10000

struct memname {
	const struct task *task;
	struct peers *peers;
	json_t *names; /* of regions: their numbers */
};

/* Somebody asks for a name that a region has: is that there? */
struct claim {
	struct memname *m;
	struct rpc_call *call;
	json_t *name, *region, *had;
};

static void name_it(struct memname *m, struct rpc_call *call, json_t *name,
		    json_t *region);

static void claim_free(struct claim *c)
{
	json_decref(c->name);
	json_decref(c->region);
	json_decref(c->had);
	free(c);
}

static bool is_gone(const struct rpc_reply *reply)
{
	return !reply->result &&
	       (reply->code == RPC_E_UNREACHABLE || reply->code == RPC_E_NOENT);
}

static void drop(struct memname *m, const char *name, const json_t *region)
{
	if (json_equal(json_object_get(m->names, name), region))
		json_object_del(m->names, name);
}

static void refuse(struct rpc_call *call, const json_t *name)
{
	rpc_failf(call, RPC_E_EXIST, "region '%s' is there",
		  json_string_value(name));
}

static void on_answer(uint32_t rank, const struct rpc_reply *reply, void *arg)
{
	struct claim *c = arg;

	if (!reply) {
		claim_free(c);
		return;
	}
	rpc_on_gone(c->call, NULL, NULL);
	if (is_gone(reply)) {
		drop(c->m, json_string_value(c->name), c->had);
		name_it(c->m, c->call, c->name, c->region);
	} else {
		refuse(c->call, c->name);
	}
}

static void on_claim_gone(struct rpc_call *call, void *arg)
{
	struct claim *c = arg;

	peers_forget(c->m->peers, c);
	rpc_result(call, NULL);
	claim_free(c);
}

/* Its keeper knows. */
static void claim(struct memname *m, struct rpc_call *call, json_t *name,
		  json_t *region, json_t *had)
{
	uint32_t home = memdir_home((uint64_t)json_integer_value(had));
	struct rank_range range = { home, home };
	const struct rankset to = { &range, 1 };
	const struct mem_who who = { m->task->rank, true };
	struct claim *c = malloc(sizeof(*c));

	if (!c) {
		rpc_fail(call, RPC_INTERNAL, "out of memory");
		return;
	}
	*c = (struct claim){ m, call, json_incref(name), json_incref(region),
			     json_incref(had) };
	rpc_on_gone(call, on_claim_gone, c);
	peers_request(m->peers, &to, "mem.home",
		      memhome_ask("region.stat", &who,
				  json_pack("{s:O}", "region", had)),
		      ASK_MS, on_answer, c);
}

/* -- mem.name -------------------------------------------------------------- */

static void name_it(struct memname *m, struct rpc_call *call, json_t *name,
		    json_t *region)
{
	const char *text = json_string_value(name);
	json_t *had = json_object_get(m->names, text);
	uint32_t home = memdir_home((uint64_t)json_integer_value(region));

	if (had)
		claim(m, call, name, region, had);
	else if (home >= m->task->ranks)
		rpc_fail(call, RPC_INVALID_PARAMS, "region: nobody's");
	else if (json_object_size(m->names) >= MEMNAME_MAX)
		rpc_fail(call, RPC_E_FULL, "too many regions");
	else if (json_object_set(m->names, text, region) < 0)
		rpc_fail(call, RPC_INTERNAL, "out of memory");
	else
		rpc_result(call, NULL);
}

/* Without a name: all of them. */
static void mem_name(struct rpc_call *call, const json_t *params, void *arg)
{
	struct memname *m = arg;
	json_t *name = json_object_get(params, "name");
	json_t *region = json_object_get(params, "region");
	_cleanup_free_ char *text = NULL;
	int64_t number = 0;
	bool dropped = false;
	struct errmsg err;
	int r = param_text(params, "name", &text, &err);

	if (r == 0)
		r = param_int(params, "region", 0, INT64_MAX, &number, &err);
	if (r == 0)
		r = param_bool(params, "drop", &dropped, &err);
	if (r < 0) {
		rpc_fail(call, RPC_INVALID_PARAMS, err.text);
	} else if (m->task->rank != 0) {
		rpc_fail(call, RPC_E_STATE, "names are known to rank 0");
	} else if (!text) {
		rpc_result(call, json_pack("{s:O}", "regions", m->names));
	} else if (dropped) {
		drop(m, text, region);
		rpc_result(call, NULL);
	} else if (json_is_integer(region)) {
		name_it(m, call, name, region);
	} else if (json_object_get(m->names, text)) {
		rpc_result(call, json_pack("{s:O}", "region",
					   json_object_get(m->names, text)));
	} else {
		rpc_failf(call, RPC_E_NOENT, "no region '%.80s'", text);
	}
}

const struct rpc_method memname_methods[] = {
	{ "mem.name", mem_name },
	{ 0 },
};

/* -- asking ---------------------------------------------------------------- */

static void ask(struct memname *m, json_t *params, peers_reply_fn fn, void *arg)
{
	struct rank_range range = { 0, 0 };
	const struct rankset to = { &range, 1 };

	peers_request(m->peers, &to, "mem.name", params, -1, fn, arg);
}

void memname_give(struct memname *m, const char *name, uint64_t region,
		  peers_reply_fn fn, void *arg)
{
	ask(m,
	    json_pack("{s:s, s:I}", "name", name, "region", (json_int_t)region),
	    fn, arg);
}

void memname_drop(struct memname *m, const char *name, uint64_t region,
		  peers_reply_fn fn, void *arg)
{
	ask(m,
	    json_pack("{s:s, s:I, s:b}", "name", name, "region",
		      (json_int_t)region, "drop", 1),
	    fn, arg);
}

/* -- life ------------------------------------------------------------------ */

int memname_new(const struct task *t, struct peers *p, struct ops *ops,
		struct memname **ret)
{
	struct memname *m = calloc(1, sizeof(*m));
	int r = -ENOMEM;

	if (m)
		m->names = json_object();
	if (m && m->names)
		r = ops_add(ops, memname_methods, m);
	if (r < 0) {
		memname_free(m);
		return r;
	}
	m->task = t;
	m->peers = p;
	*ret = m;
	return 0;
}

void memname_free(struct memname *m)
{
	if (!m)
		return;
	json_decref(m->names);
	free(m);
}
