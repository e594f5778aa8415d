#include <config.h>

#include "op_store.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "cleanup.h"
#include "loop.h"
#include "param.h"

enum scope { STEP, TASK, SCOPES };
static const char *const scopes[] = { "step", "task", NULL };

struct value {
	LIST_ENTRY(value) link;
	char *key;
	json_t *json;
	size_t bytes; /* of key and value */
	json_int_t version;
	int64_t until_ms; /* 0: for ever */
};

struct store {
	LIST_HEAD(, value) values;
	size_t n, bytes;
};

struct op_store {
	const struct task *task;
	struct peers *peers;
	struct store stores[SCOPES];
	json_int_t version;
};

/* -- values ---------------------------------------------------------------- */

static void drop(struct store *st, struct value *v)
{
	LIST_REMOVE(v, link);
	st->n--;
	st->bytes -= v->bytes;
	json_decref(v->json);
	free(v->key);
	free(v);
}

/* Those whose time is up are not there. */
static void expire(struct store *st)
{
	int64_t now = loop_now_ms();
	struct value *v, *next;

	for (v = LIST_FIRST(&st->values); v; v = next) {
		next = LIST_NEXT(v, link);
		if (v->until_ms && v->until_ms <= now)
			drop(st, v);
	}
}

static struct value *find(const struct store *st, const char *key)
{
	struct value *v;

	LIST_FOREACH(v, &st->values, link)
	if (strcmp(v->key, key) == 0)
		return v;
	return NULL;
}

static struct value *add(struct store *st, const char *key)
{
	struct value *v = calloc(1, sizeof(*v));

	if (v)
		v->key = strdup(key);
	if (!v || !v->key) {
		free(v);
		return NULL;
	}
	LIST_INSERT_HEAD(&st->values, v, link);
	st->n++;
	return v;
}

/* -- what a call is about -------------------------------------------------- */

/* The store that is meant. NULL: @call is answered, or is another's now. */
static struct store *which(struct op_store *s, struct rpc_call *call,
			   const char *method, const json_t *params)
{
	struct errmsg err;
	int scope = STEP;

	if (param_word(params, "scope", scopes, &scope, &err) < 0)
		rpc_fail(call, RPC_INVALID_PARAMS, err.text);
	else if (scope == TASK && ops_is_guest(call))
		rpc_fail(call, RPC_E_PERM,
			 "a guest has the step's values only");
	else if (scope == STEP && s->task->rank != 0)
		peers_pass(s->peers, 0, call, method,
			   json_copy((json_t *)(uintptr_t)params));
	else {
		expire(&s->stores[scope]);
		return &s->stores[scope];
	}
	return NULL;
}

static bool has_key(struct rpc_call *call, const json_t *params, char **ret)
{
	struct errmsg err;
	int r = param_text(params, "key", ret, &err);

	if (r == 0 && (!*ret || !**ret || strlen(*ret) > OP_STORE_KEY_MAX))
		r = errmsg_say(&err, -EINVAL, "key: 1 to %d bytes",
			       OP_STORE_KEY_MAX);
	if (r < 0)
		rpc_fail(call, RPC_INVALID_PARAMS, err.text);
	return r == 0;
}

/* The value that is meant; NULL: @call is answered. */
static struct value *which_value(struct op_store *s, struct rpc_call *call,
				 const char *method, const json_t *params,
				 struct store **st)
{
	_cleanup_free_ char *key = NULL;
	struct value *v;

	*st = which(s, call, method, params);
	if (!*st || !has_key(call, params, &key))
		return NULL;
	v = find(*st, key);
	if (!v)
		rpc_failf(call, RPC_E_NOENT, "no value '%.80s'", key);
	return v;
}

/* -- the ops --------------------------------------------------------------- */

/* if: "absent", or the version that is to be replaced. */
static bool may_put(struct rpc_call *call, const json_t *params,
		    const struct value *v)
{
	const json_t *cond = json_object_get(params, "if");
	const char *word = json_string_value(cond);

	if (!cond)
		return true;
	if (json_is_integer(cond)) {
		if (v && v->version == json_integer_value(cond))
			return true;
		rpc_failf(call, RPC_E_EXIST, "it is version %lld",
			  v ? (long long)v->version : 0LL);
	} else if (word && strcmp(word, "absent") == 0) {
		if (!v)
			return true;
		rpc_failf(call, RPC_E_EXIST, "it is there, as version %lld",
			  (long long)v->version);
	} else {
		rpc_fail(call, RPC_INVALID_PARAMS,
			 "if: \"absent\", or a version");
	}
	return false;
}

static void put(struct op_store *s, struct rpc_call *call, struct store *st,
		const char *key, const json_t *params)
{
	json_t *json = json_object_get(params, "value");
	size_t len = json_dumpb(json, NULL, 0, JSON_COMPACT | JSON_ENCODE_ANY);
	struct value *v = find(st, key);
	int64_t ttl_ms = 0;
	struct errmsg err;

	if (!may_put(call, params, v))
		return;
	if (param_int(params, "ttl_ms", 1, INT32_MAX, &ttl_ms, &err) < 0) {
		rpc_fail(call, RPC_INVALID_PARAMS, err.text);
		return;
	}
	if (len > OP_STORE_VALUE_MAX) {
		rpc_fail(call, RPC_E_TOOBIG, "value: more than 64 KiB");
		return;
	}
	len += strlen(key);
	if ((!v && st->n >= OP_STORE_KEYS) ||
	    st->bytes - (v ? v->bytes : 0) + len > OP_STORE_BYTES) {
		rpc_fail(call, RPC_E_FULL, "the store is full");
		return;
	}
	if (!v)
		v = add(st, key);
	if (!v) {
		rpc_fail(call, RPC_INTERNAL, "out of memory");
		return;
	}
	st->bytes += len - v->bytes;
	v->bytes = len;
	json_decref(v->json);
	v->json = json_deep_copy(json);
	v->version = ++s->version;
	v->until_ms = ttl_ms ? loop_now_ms() + ttl_ms : 0;
	rpc_result(call, json_pack("{s:I}", "version", v->version));
}

static void store_put(struct rpc_call *call, const json_t *params, void *arg)
{
	_cleanup_free_ char *key = NULL;
	struct store *st = which(arg, call, "store.put", params);

	if (!st || !has_key(call, params, &key))
		return;
	if (json_object_get(params, "value"))
		put(arg, call, st, key, params);
	else
		rpc_fail(call, RPC_INVALID_PARAMS, "value: what is it to be?");
}

static json_t *value_json(const struct value *v)
{
	return json_pack("{s:O, s:I}", "value", v->json, "version", v->version);
}

static void store_get(struct rpc_call *call, const json_t *params, void *arg)
{
	struct store *st;
	struct value *v = which_value(arg, call, "store.get", params, &st);

	if (v)
		rpc_result(call, value_json(v));
}

/* Where nobody is there to have it any more it stays. */
static void store_pop(struct rpc_call *call, const json_t *params, void *arg)
{
	struct store *st;
	struct value *v = which_value(arg, call, "store.pop", params, &st);

	if (!v)
		return;
	rpc_result(call, value_json(v));
	drop(st, v);
}

static void store_drop(struct rpc_call *call, const json_t *params, void *arg)
{
	struct store *st;
	struct value *v = which_value(arg, call, "store.drop", params, &st);

	if (!v)
		return;
	drop(st, v);
	rpc_result(call, NULL);
}

static void store_list(struct rpc_call *call, const json_t *params, void *arg)
{
	struct store *st = which(arg, call, "store.list", params);
	_cleanup_free_ char *pattern = NULL;
	struct errmsg err;
	struct value *v;
	json_t *all;

	if (!st)
		return;
	if (param_text(params, "pattern", &pattern, &err) < 0) {
		rpc_fail(call, RPC_INVALID_PARAMS, err.text);
		return;
	}
	all = json_object();
	LIST_FOREACH(v, &st->values, link)
	if (!pattern || fnmatch(pattern, v->key, 0) == 0)
		json_object_set_new(all, v->key, json_integer(v->version));
	rpc_result(call, json_pack("{s:o}", "keys", all));
}

static void store_state(struct rpc_call *call, const json_t *params, void *arg)
{
	struct store *st = which(arg, call, "store.state", params);

	if (st)
		rpc_result(call, json_pack("{s:I, s:I, s:I, s:I}", "keys",
					   (json_int_t)st->n, "max_keys",
					   (json_int_t)OP_STORE_KEYS, "bytes",
					   (json_int_t)st->bytes, "max_bytes",
					   (json_int_t)OP_STORE_BYTES));
}

const struct rpc_method op_store_methods[] = {
	{ "store.drop", store_drop },
	{ "store.get", store_get },
	{ "store.list", store_list },
	{ "store.pop", store_pop },
	{ "store.put", store_put },
	{ "store.state", store_state },
	{ 0 },
};

int op_store_new(const struct task *t, struct peers *p, struct ops *ops,
		 struct op_store **ret)
{
	struct op_store *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->task = t;
	s->peers = p;
	for (int i = 0; i < SCOPES; i++)
		LIST_INIT(&s->stores[i].values);
	r = ops_add(ops, op_store_methods, s);
	if (r < 0) {
		free(s);
		return r;
	}
	*ret = s;
	return 0;
}

void op_store_free(struct op_store *s)
{
	struct value *v;

	if (!s)
		return;
	for (int i = 0; i < SCOPES; i++)
		while ((v = LIST_FIRST(&s->stores[i].values)))
			drop(&s->stores[i], v);
	free(s);
}
