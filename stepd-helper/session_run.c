#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "opcat.h"
#include "param.h"
#include "session_impl.h"

/* -- ends ------------------------------------------------------------------ */

static void keep_answer(struct run *r, const struct rpc_reply *reply)
{
	struct session *s = r->session;
	json_t *o;

	if (reply->result)
		o = json_pack("{s:o}", "result", json_deep_copy(reply->result));
	else
		o = json_pack("{s:{s:i, s:s}}", "error", "code", reply->code,
			      "message", reply->message);
	if (!reply->result && reply->data)
		json_object_set_new(json_object_get(o, "error"), "data",
				    json_deep_copy(reply->data));
	outbox_put(s->outbox, r->id, r->method, o, loop_now_ms());
	session_kept(s);
}

static void run_free(struct run *r)
{
	struct session *s = r->session;

	TAILQ_REMOVE(&s->all->runs, r, link);
	s->all->n_runs--;
	s->total--;
	if (r->params)
		s->queued--;
	else if (r->counts)
		s->running--;
	s->used_ms = loop_now_ms();
	json_decref(r->params);
	free(r->method);
	free(r);
}

/* A rpc_reply_fn: the op is answered. */
static void on_answer(const struct rpc_reply *reply, void *arg)
{
	struct run *r = arg;
	struct session *s = r->session;
	bool keep = r->keep;
	struct follower *f;

	r->call = NULL;
	while ((f = LIST_FIRST(&r->followers))) {
		LIST_REMOVE(f, link);
		rpc_pass_on(f->call, reply);
		free(f);
	}
	if (keep)
		keep_answer(r, reply);
	run_free(r);
	if (s->queued)
		loop_timer_set(s->all->go, 0); /* not from within a method */
	if (keep || s->limits.ttl_ms)
		session_plan(s->all);
}

/* -- begin ----------------------------------------------------------------- */

static bool may_begin(const struct session *s)
{
	return !s->limits.max_ops || s->running < (size_t)s->limits.max_ops;
}

static void begin(struct run *r, const json_t *params)
{
	r->session->running += r->counts;
	ops_go_on(r->session->all->ops, r->call, r->method, params);
}

/* Those that wait, as far as they may. */
void session_go(void *arg)
{
	struct sessions *all = arg;
	struct run *r, *next;
	json_t *params;

	for (r = TAILQ_FIRST(&all->runs); r; r = next) {
		next = TAILQ_NEXT(r, link);
		if (!r->params || !may_begin(r->session))
			continue;
		params = r->params;
		r->params = NULL;
		r->session->queued--;
		rpc_on_gone(r->call, NULL, NULL);
		begin(r, params); /* it may be gone after that */
		json_decref(params);
		next = TAILQ_FIRST(&all->runs); /* and others with it */
	}
}

/* Who asked for what still waits is gone. */
static void on_queued_gone(struct rpc_call *call, void *arg)
{
	rpc_result(call, NULL); /* on_answer() */
}

static bool gets_through(const char *method)
{
	static const char *const prefixes[] = { "vm.", "task.", "event.",
						"proc.signal", NULL };

	for (size_t i = 0; prefixes[i]; i++)
		if (strncmp(method, prefixes[i], strlen(prefixes[i])) == 0)
			return true;
	return false;
}

static const char *who_asks(const struct rpc_call *call)
{
	const struct ops_origin *from = rpc_call_origin(call);

	return !from			? "nobody"
	       : from->who == OPS_GUEST ? "guest"
	       : from->who == OPS_TASK	? "task"
					: "user";
}

/* @id "": one is made up. */
static struct run *run_new(struct session *s, struct rpc_call *call,
			   const char *id, const char *method, bool keep)
{
	struct sessions *all = s->all;
	struct run *r = calloc(1, sizeof(*r));

	if (r)
		r->method = strdup(method);
	if (!r || !r->method) {
		free(r);
		return NULL;
	}
	if (*id)
		snprintf(r->id, sizeof(r->id), "%s", id);
	else
		snprintf(r->id, sizeof(r->id), "%016" PRIx64 ":%" PRIu64,
			 all->boot_id, ++all->last_op);
	r->session = s;
	r->call = call;
	r->who = who_asks(call);
	r->keep = keep;
	r->counts = !gets_through(method);
	r->begun_ms = s->used_ms = loop_now_ms();
	LIST_INIT(&r->followers);
	TAILQ_INSERT_TAIL(&all->runs, r, link);
	all->n_runs++;
	s->total++;
	rpc_on_answer(call, keep, on_answer, r);
	return r;
}

/* What it has brought along would be lost. */
static bool can_wait(const struct session *s, const json_t *params)
{
	return s->queued < SESSION_QUEUED && !json_object_get(params, "io");
}

static void add(struct session *s, struct rpc_call *call, const char *id,
		const char *method, const json_t *params, bool keep)
{
	bool waits = !may_begin(s) && !gets_through(method);
	struct run *r;

	if (s->all->n_runs >= SESSION_RUNS || (waits && !can_wait(s, params))) {
		rpc_failf(call, RPC_E_FULL,
			  "session '%s' carries out %zu ops, and %zu wait",
			  s->name, s->running, s->queued);
		return;
	}
	r = run_new(s, call, id, method, keep);
	if (!r) {
		rpc_fail(call, RPC_INTERNAL, "out of memory");
	} else if (waits) {
		r->params = json_deep_copy(params);
		s->queued++;
		rpc_on_gone(call, on_queued_gone, NULL);
	} else {
		begin(r, params);
	}
}

/* -- the gate -------------------------------------------------------------- */

static struct run *run_find(const struct sessions *all, const char *id)
{
	struct run *r;

	TAILQ_FOREACH(r, &all->runs, link)
	if (strcmp(r->id, id) == 0)
		return r;
	return NULL;
}

static void on_follower_gone(struct rpc_call *call, void *arg)
{
	struct follower *f = arg;

	LIST_REMOVE(f, link);
	free(f);
	rpc_result(call, NULL);
}

static void follow(struct run *r, struct rpc_call *call)
{
	struct follower *f = calloc(1, sizeof(*f));

	if (!f) {
		rpc_fail(call, RPC_INTERNAL, "out of memory");
		return;
	}
	f->call = call;
	LIST_INSERT_HEAD(&r->followers, f, link);
	rpc_on_gone(call, on_follower_gone, f);
}

static void replay(struct rpc_call *call, const json_t *answer)
{
	const json_t *error = json_object_get(answer, "error");
	const struct rpc_reply reply = {
		.result = json_object_get(answer, "result"),
		.code = (int)json_integer_value(json_object_get(error, "code")),
		.message = json_string_value(json_object_get(error, "message")),
		.data = json_object_get(error, "data"),
	};

	rpc_pass_on(call, &reply);
}

/* Has @id been asked for before? Then @call is dealt with. */
static bool is_again(struct session *s, struct rpc_call *call, const char *id,
		     const char *method)
{
	struct run *r = run_find(s->all, id);
	const json_t *kept = r ? NULL : outbox_find(s->outbox, id);
	const char *before =
		r ? r->method
		  : json_string_value(json_object_get(kept, "method"));

	if (!before)
		return false;
	if (strcmp(before, method) != 0)
		rpc_failf(call, RPC_E_EXIST, "opid: '%s' is that of a %s", id,
			  before);
	else if (r)
		follow(r, call);
	else
		replay(call, kept);
	return true;
}

struct common {
	char *session, *opid;
	bool keep;
};

static void common_done(struct common *c)
{
	free(c->session);
	free(c->opid);
}

static int check_name(const char *what, const char *text, struct errmsg *err)
{
	if (!text || (*text && strlen(text) < SESSION_NAME))
		return 0;
	return errmsg_say(err, -EINVAL, "%s: a text of 1 to %d bytes", what,
			  SESSION_NAME - 1);
}

static int parse(const json_t *params, struct common *c, struct errmsg *err)
{
	int r = param_text(params, "session", &c->session, err);

	if (r == 0)
		r = param_text(params, "opid", &c->opid, err);
	if (r == 0)
		r = param_bool(params, "keep", &c->keep, err);
	if (r == 0)
		r = check_name("session", c->session, err);
	return r < 0 ? r : check_name("opid", c->opid, err);
}

static bool calls_any_kernel(const char *method, const json_t *params)
{
	return strcmp(method, "op.call") == 0 &&
	       !json_object_get(params, "kernel");
}

/* @params without what is for us, and with what the session says. */
static json_t *rest_of(const struct session *s, const char *method,
		       const json_t *params)
{
	json_t *rest = json_copy((json_t *)(uintptr_t)params);

	json_object_del(rest, "session");
	json_object_del(rest, "opid");
	json_object_del(rest, "keep");
	if (*s->limits.kernel && calls_any_kernel(method, params))
		json_object_set_new(rest, "kernel",
				    json_string(s->limits.kernel));
	return rest;
}

static void with_session(struct sessions *all, struct rpc_call *call,
			 const char *method, const json_t *params)
{
	_cleanup_(common_done) struct common c = { 0 };
	struct session *s = all->fallback;
	struct errmsg err;
	json_t *rest;

	if (parse(params, &c, &err) < 0) {
		rpc_fail(call, RPC_INVALID_PARAMS, err.text);
		return;
	}
	if (c.session)
		s = session_find(all, c.session);
	if (!s) {
		rpc_failf(call, RPC_E_GONE, "there is no session '%s'",
			  c.session);
		return;
	}
	if (c.opid && is_again(s, call, c.opid, method))
		return;
	rest = rest_of(s, method, params);
	add(s, call, c.opid ? c.opid : "", method, rest, c.keep || c.opid);
	json_decref(rest);
}

static bool is_about_ops(const char *method)
{
	return (strncmp(method, "op.", 3) == 0 &&
		strcmp(method, "op.call") != 0) ||
	       strncmp(method, "session.", 8) == 0 ||
	       strncmp(method, "result.", 7) == 0;
}

/* Of each of the step's tasks one may wait, until the last has come. */
static bool is_of_all_tasks(const struct rpc_call *call, const char *method)
{
	const struct ops_origin *from = rpc_call_origin(call);

	return from && from->who == OPS_TASK &&
	       (strcmp(method, "sync.arrive") == 0 ||
		strcmp(method, "vm.save.part") == 0);
}

static bool names_session(const struct op *op, const json_t *params)
{
	static const char *const names[] = { "session", "opid", "keep" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (json_object_get(params, names[i]) &&
		    !(op && opcat_takes(op, names[i])))
			return true;
	return false;
}

/* A guest has no sessions: what it would keep is the user's room. */
void session_gate(struct rpc_call *call, const char *method,
		  const json_t *params, void *arg)
{
	struct sessions *all = arg;

	if (is_about_ops(method) || is_of_all_tasks(call, method))
		ops_go_on(all->ops, call, method, params);
	else if (!ops_is_guest(call) &&
		 (calls_any_kernel(method, params) ||
		  names_session(opcat_find(method), params)))
		with_session(all, call, method, params);
	else
		add(all->fallback, call, "", method, params, false);
}

/* -- for session.c --------------------------------------------------------- */

static void detach(struct run *r)
{
	struct session *s = r->session, *to = s->all->fallback;

	r->session = to;
	s->total--;
	to->total++;
	if (r->params) {
		s->queued--;
		to->queued++;
	} else if (r->counts) {
		s->running--;
		to->running++;
	}
}

void session_detach_all(struct session *s)
{
	struct run *r;

	TAILQ_FOREACH(r, &s->all->runs, link)
	if (r->session == s)
		detach(r);
}

/* What its module still has it answers to nobody. */
void session_end_runs(struct sessions *s)
{
	struct run *r;

	while ((r = TAILQ_FIRST(&s->runs))) {
		struct rpc_call *call = r->call;
		bool waits = r->params;

		rpc_on_answer(call, false, NULL, NULL);
		while (LIST_FIRST(&r->followers)) {
			struct follower *f = LIST_FIRST(&r->followers);

			LIST_REMOVE(f, link);
			rpc_fail(f->call, RPC_E_STATE, "the task has ended");
			free(f);
		}
		run_free(r);
		if (waits)
			rpc_fail(call, RPC_E_STATE, "the task has ended");
	}
}

/* -- ops ------------------------------------------------------------------- */

static json_t *run_json(const struct run *r)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:I}", "opid", r->id,
			 "method", r->method, "session", r->session->name,
			 "who", r->who, "state",
			 r->params ? "queued" : "running", "age_ms",
			 (json_int_t)(loop_now_ms() - r->begun_ms));
}

json_t *session_ops(struct sessions *all, const struct session *session)
{
	json_t *list = json_array();
	const struct run *r;

	TAILQ_FOREACH(r, &all->runs, link)
	if (!session || r->session == session)
		json_array_append_new(list, run_json(r));
	return list;
}

bool session_has_op(const struct sessions *all, const char *opid)
{
	return run_find(all, opid);
}

json_t *session_op(struct sessions *all, const char *opid)
{
	const struct run *r = run_find(all, opid);

	return r ? run_json(r) : NULL;
}

/* The streams of one that starts are promised already. */
static bool can_cancel(const struct run *r)
{
	return strcmp(r->method, "proc.start") != 0;
}

int session_cancel(struct sessions *all, const char *opid)
{
	struct run *r = run_find(all, opid);

	if (!r)
		return -ENOENT;
	if (!can_cancel(r))
		return -EOPNOTSUPP;
	rpc_cancel(r->call); /* on_answer() frees it */
	return 0;
}

size_t session_cancel_all(struct session *s)
{
	struct runs *runs = &s->all->runs;
	struct run *r = TAILQ_FIRST(runs);
	size_t n = 0;

	while (r) {
		if (r->session != s || !can_cancel(r)) {
			r = TAILQ_NEXT(r, link);
			continue;
		}
		rpc_cancel(r->call);
		n++;
		r = TAILQ_FIRST(runs);
	}
	return n;
}
