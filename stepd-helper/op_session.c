#include <config.h>

#include "op_session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "cleanup.h"
#include "param.h"

#define LIMIT_MAX 1000000 /* of what sessions are given, but bytes */

/* result.take that waits, or result.peek. */
struct taker {
	LIST_ENTRY(taker) link;
	struct rpc_call *call;
	struct session *session;
	struct session_wait wait;
	struct loop_timer *timer;
	char *opid; /* NULL: any */
	size_t count;
	bool peek;
};

struct op_session {
	struct loop *loop;
	struct sessions *sessions;
	LIST_HEAD(, taker) takers;
};

/* -- sessions -------------------------------------------------------------- */

static void bad(struct rpc_call *call, const struct errmsg *err)
{
	rpc_fail(call, RPC_INVALID_PARAMS, err->text);
}

/* The one of @params, else "default". NULL: @call is answered. */
static struct session *get(struct op_session *o, struct rpc_call *call,
			   const json_t *params)
{
	_cleanup_free_ char *name = NULL;
	struct session *s;
	struct errmsg err;

	if (param_text(params, "session", &name, &err) < 0) {
		bad(call, &err);
		return NULL;
	}
	s = session_find(o->sessions, name ? name : "default");
	if (!s)
		rpc_failf(call, RPC_E_GONE, "there is no session '%s'", name);
	return s;
}

/* Only what is given changes, and all of it or nothing. */
static int change(struct session *s, const json_t *params, struct errmsg *err)
{
	struct session_limits *limits = session_limits(s), now = *limits;
	struct outbox_limits *keep = outbox_limits(session_outbox(s));
	struct outbox_limits k = *keep;
	int64_t ttl_s = now.ttl_ms / 1000, keep_s = k.age_ms / 1000;
	_cleanup_free_ char *kernel = NULL;
	int r = param_text(params, "kernel", &kernel, err);

	if (r == 0 && kernel && strlen(kernel) >= sizeof(now.kernel))
		r = errmsg_say(err, -EINVAL,
			       "kernel: a name of up to %zu bytes",
			       sizeof(now.kernel) - 1);
	if (r == 0 && kernel)
		strcpy(now.kernel, kernel);
	if (r == 0)
		r = param_int(params, "max_ops", 0, LIMIT_MAX, &now.max_ops,
			      err);
	if (r == 0)
		r = param_int(params, "ttl_s", 0, LIMIT_MAX, &ttl_s, err);
	if (r == 0)
		r = param_int(params, "keep_results", 1, OUTBOX_RESULTS,
			      &k.results, err);
	if (r == 0)
		r = param_int(params, "keep_bytes", 1, OUTBOX_BYTES, &k.bytes,
			      err);
	if (r == 0)
		r = param_int(params, "keep_s", 1, LIMIT_MAX, &keep_s, err);
	if (r < 0)
		return r;
	now.ttl_ms = 1000 * ttl_s;
	k.age_ms = 1000 * keep_s;
	*limits = now;
	*keep = k;
	session_changed(s);
	return 0;
}

static void session_open_op(struct rpc_call *call, const json_t *params,
			    void *arg)
{
	struct op_session *o = arg;
	_cleanup_free_ char *name = NULL;
	struct session *s = NULL;
	struct errmsg err;
	int r = param_text(params, "name", &name, &err);

	if (r == 0 && name && (!*name || strlen(name) >= SESSION_NAME))
		r = errmsg_say(&err, -EINVAL, "name: a text of 1 to %d bytes",
			       SESSION_NAME - 1);
	if (r < 0) {
		bad(call, &err);
		return;
	}
	r = session_open(o->sessions, name, &s);
	if (r < 0) {
		rpc_fail(call, rpc_error_of(-r),
			 r == -EEXIST ? "there is a session of that name"
				      : "this task has too many sessions");
		return;
	}
	if (change(s, params, &err) < 0) {
		session_close(s, false);
		bad(call, &err);
		return;
	}
	rpc_result(call, session_json(s));
}

static void session_set(struct rpc_call *call, const json_t *params, void *arg)
{
	struct session *s = get(arg, call, params);
	struct errmsg err;

	if (!s)
		return;
	if (change(s, params, &err) < 0)
		bad(call, &err);
	else
		rpc_result(call, session_json(s));
}

static void session_get(struct rpc_call *call, const json_t *params, void *arg)
{
	struct session *s = get(arg, call, params);

	if (s)
		rpc_result(call, session_json(s));
}

static void session_close_op(struct rpc_call *call, const json_t *params,
			     void *arg)
{
	static const char *const ways[] = { "term", "detach", NULL };
	struct session *s;
	struct errmsg err;
	int way = 0;

	if (param_word(params, "kill", ways, &way, &err) < 0) {
		bad(call, &err);
		return;
	}
	s = get(arg, call, params);
	if (!s)
		return;
	if (session_is_default(s))
		rpc_fail(call, RPC_E_PERM, "'default' is always there");
	else
		rpc_result(call,
			   json_pack("{s:I}", "ops",
				     (json_int_t)session_close(s, way == 1)));
}

static void session_list(struct rpc_call *call, const json_t *params, void *arg)
{
	struct op_session *o = arg;
	json_t *all = json_array();

	for (struct session *s = session_next(o->sessions, NULL); s;
	     s = session_next(o->sessions, s))
		json_array_append_new(all, session_json(s));
	rpc_result(call, all);
}

/* -- ops ------------------------------------------------------------------- */

static void op_list(struct rpc_call *call, const json_t *params, void *arg)
{
	struct op_session *o = arg;
	struct session *s = NULL;

	if (json_object_get(params, "session")) {
		s = get(o, call, params);
		if (!s)
			return;
	}
	rpc_result(call, session_ops(o->sessions, s));
}

/* NULL: @call is answered. */
static char *take_opid(struct rpc_call *call, const json_t *params)
{
	char *opid = NULL;
	struct errmsg err;

	if (param_text(params, "opid", &opid, &err) < 0)
		bad(call, &err);
	else if (!opid)
		rpc_fail(call, RPC_INVALID_PARAMS, "opid: which op?");
	return opid;
}

static void no_op(struct rpc_call *call, const char *opid)
{
	rpc_failf(call, RPC_E_NOENT, "no op '%.64s' is on its way", opid);
}

static void op_get(struct rpc_call *call, const json_t *params, void *arg)
{
	struct op_session *o = arg;
	_cleanup_free_ char *opid = take_opid(call, params);
	json_t *found = opid ? session_op(o->sessions, opid) : NULL;

	if (found)
		rpc_result(call, found);
	else if (opid)
		no_op(call, opid);
}

static void cancel_one(struct op_session *o, struct rpc_call *call,
		       const char *opid)
{
	int r = session_cancel(o->sessions, opid);

	if (r == -ENOENT)
		no_op(call, opid);
	else if (r < 0)
		rpc_fail(call, RPC_E_NOTSUP,
			 "a process that starts is ended by proc.signal");
	else
		rpc_result(call, json_pack("{s:i}", "cancelled", 1));
}

static void op_cancel(struct rpc_call *call, const json_t *params, void *arg)
{
	bool all = json_object_get(params, "session");
	_cleanup_free_ char *opid = all ? NULL : take_opid(call, params);
	struct session *s;

	if (all && json_object_get(params, "opid")) {
		rpc_fail(call, RPC_INVALID_PARAMS,
			 "either opid or session, not both");
	} else if (all) {
		s = get(arg, call, params);
		if (s)
			rpc_result(
				call,
				json_pack("{s:I}", "cancelled",
					  (json_int_t)session_cancel_all(s)));
	} else if (opid) {
		cancel_one(arg, call, opid);
	}
}

/* -- results --------------------------------------------------------------- */

static void taker_free(struct taker *t)
{
	LIST_REMOVE(t, link);
	session_forget_wait(&t->wait);
	loop_timer_free(t->timer);
	free(t->opid);
	free(t);
}

static void answer(struct rpc_call *call, struct session *s, json_t *results)
{
	const struct outbox *o = session_outbox(s);

	rpc_result(call, json_pack("{s:o, s:I, s:I}", "results", results,
				   "left", (json_int_t)outbox_count(o),
				   "dropped", (json_int_t)outbox_dropped(o)));
}

/* False: it is not there. */
static bool try(struct rpc_call *call, struct session *s, const char *opid,
		size_t count, bool take)
{
	json_t *results = outbox_read(session_outbox(s), opid, count, take,
				      loop_now_ms());

	if (json_array_size(results) == 0) {
		json_decref(results);
		return false;
	}
	answer(call, s, results);
	return true;
}

static void on_kept(bool ended, void *arg)
{
	struct taker *t = arg;

	if (ended)
		rpc_fail(t->call, RPC_E_GONE, "the session has ended");
	else if (!try(t->call, t->session, t->opid, t->count, !t->peek))
		return;
	taker_free(t);
}

static void on_timeout(void *arg)
{
	struct taker *t = arg;

	rpc_fail(t->call, RPC_E_TIMEOUT, "no result came in time");
	taker_free(t);
}

static void on_gone(struct rpc_call *call, void *arg)
{
	rpc_result(call, NULL);
	taker_free(arg);
}

/* @opid is taken. */
static void wait_for(struct op_session *o, struct rpc_call *call,
		     struct session *s, char *opid, size_t count,
		     int64_t wait_ms, bool peek)
{
	struct taker *t = calloc(1, sizeof(*t));

	if (!t ||
	    loop_timer_add(o->loop, wait_ms, on_timeout, t, &t->timer) < 0) {
		free(t);
		free(opid);
		rpc_fail(call, RPC_INTERNAL, "out of memory");
		return;
	}
	t->call = call;
	t->session = s;
	t->opid = opid;
	t->count = count;
	t->peek = peek;
	t->wait.fn = on_kept;
	t->wait.arg = t;
	session_wait(s, &t->wait);
	LIST_INSERT_HEAD(&o->takers, t, link);
	rpc_on_gone(call, on_gone, t);
}

static void take(struct op_session *o, struct rpc_call *call,
		 const json_t *params, bool peek)
{
	_cleanup_free_ char *opid = NULL;
	int64_t count = 0, wait_ms = 0;
	struct errmsg err;
	struct session *s;
	int r;

	r = param_text(params, "opid", &opid, &err);
	if (r == 0)
		r = param_int(params, "count", 0, OUTBOX_RESULTS, &count, &err);
	if (r == 0)
		r = param_int(params, "wait_ms", -1, INT32_MAX, &wait_ms, &err);
	if (r < 0) {
		bad(call, &err);
		return;
	}
	s = get(o, call, params);
	if (!s || try(call, s, opid, (size_t)count, !peek))
		return;
	if (opid && !session_has_op(o->sessions, opid))
		rpc_failf(
			call, RPC_E_NOENT,
			"no result of '%.64s' is kept, and it is not on its way",
			opid);
	else if (wait_ms)
		wait_for(o, call, s, TAKE_PTR(opid), (size_t)count, wait_ms,
			 peek);
	else
		answer(call, s, json_array());
}

static void result_take(struct rpc_call *call, const json_t *params, void *arg)
{
	take(arg, call, params, false);
}

static void result_peek(struct rpc_call *call, const json_t *params, void *arg)
{
	take(arg, call, params, true);
}

/* Without what they are. */
static void result_list(struct rpc_call *call, const json_t *params, void *arg)
{
	struct session *s = get(arg, call, params);
	json_t *all, *one;
	size_t i;

	if (!s)
		return;
	all = outbox_read(session_outbox(s), NULL, 0, false, loop_now_ms());
	json_array_foreach (all, i, one) {
		json_object_set_new(
			one, "failed",
			json_boolean(json_object_get(one, "error")));
		json_object_del(one, "result");
		json_object_del(one, "error");
	}
	answer(call, s, all);
}

const struct rpc_method op_session_methods[] = {
	{ "op.cancel", op_cancel },
	{ "op.get", op_get },
	{ "op.list", op_list },
	{ "result.list", result_list },
	{ "result.peek", result_peek },
	{ "result.take", result_take },
	{ "session.close", session_close_op },
	{ "session.get", session_get },
	{ "session.list", session_list },
	{ "session.open", session_open_op },
	{ "session.set", session_set },
	{ 0 },
};

/* -------------------------------------------------------------------------- */

int op_session_new(struct loop *l, struct sessions *s, struct ops *ops,
		   struct op_session **ret)
{
	struct op_session *o = calloc(1, sizeof(*o));
	int r;

	if (!o)
		return -ENOMEM;
	o->loop = l;
	o->sessions = s;
	LIST_INIT(&o->takers);
	r = ops_add(ops, op_session_methods, o);
	if (r < 0) {
		free(o);
		return r;
	}
	*ret = o;
	return 0;
}

void op_session_free(struct op_session *o)
{
	struct taker *t;

	if (!o)
		return;
	while ((t = LIST_FIRST(&o->takers))) {
		rpc_fail(t->call, RPC_E_STATE, "the task has ended");
		taker_free(t);
	}
	free(o);
}
