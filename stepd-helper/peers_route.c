#include <config.h>

#include <errno.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "cleanup.h"
#include "op_msg.h"
#include "peers.h"
#include "peers_impl.h"
#include "queue.h"

/* -- whom ------------------------------------------------------------------ */

static int by_name(const struct peers *p, const char *name, struct rankset *ret,
		   struct errmsg *err)
{
	for (uint32_t r = 0; r < p->task->ranks; r++) {
		_cleanup_free_ char *its =
			p->spec ? task_expand(p->task, r,
					      p->spec->hostname_pattern, NULL)
				: NULL;

		if (its && fnmatch(name, its, 0) == 0 &&
		    rankset_add(ret, r, r) < 0)
			return errmsg_set(err, -ENOMEM, "to");
	}
	return ret->n ? 0
		      : errmsg_say(err, -ENOENT,
				   "to: no task of the step is called '%.80s'",
				   name);
}

static int whom_text(const struct peers *p, const char *to, struct rankset *ret,
		     struct errmsg *err)
{
	uint32_t self = p->task->rank, last = p->task->ranks - 1;
	struct rankset all = { 0 };
	int r;

	if (strcmp(to, "self") == 0)
		return rankset_add(ret, self, self);
	if (strcmp(to, "all") == 0)
		return rankset_add(ret, 0, last);
	if (strcmp(to, "others") == 0) {
		if (!last)
			return errmsg_say(err, -ENOENT,
					  "to: there are no others");
		r = self ? rankset_add(ret, 0, self - 1) : 0;
		return r == 0 && self < last ? rankset_add(ret, self + 1, last)
					     : r;
	}
	if (!rankset_looks_like(to, strlen(to)))
		return by_name(p, to, ret, err);
	r = rankset_parse(&all, to, strlen(to), err);
	for (size_t i = 0; i < all.n && r == 0; i++) {
		struct rank_range *range = &all.ranges[i];

		if (range->last == RANK_MAX && range->first <= last)
			range->last = last; /* "4-" */
		if (range->last > last)
			r = errmsg_say(err, -ENOENT,
				       "to: no task %" PRIu32
				       ", the step has %" PRIu32,
				       range->last, p->task->ranks);
	}
	if (r == 0)
		r = rankset_merge(ret, &all);
	rankset_done(&all);
	return r;
}

int peers_whom(const struct peers *p, const json_t *to, struct rankset *ret,
	       struct errmsg *err)
{
	char number[32];
	int r;

	if (!to || json_is_null(to))
		return whom_text(p, "self", ret, err);
	snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT,
		 json_integer_value(to));
	if (json_is_string(to) && *json_string_value(to))
		r = whom_text(p, json_string_value(to), ret, err);
	else if (json_is_integer(to))
		r = whom_text(p, number, ret, err);
	else
		r = errmsg_say(err, -EINVAL,
			       "to: not a rank, a set of ranks, or a name");
	if (r < 0)
		rankset_done(ret);
	return r;
}

/* -- one ------------------------------------------------------------------- */

struct passed {
	struct peers *peers;
	struct rpc_call *call;
};

static void on_passed(uint32_t rank, const struct rpc_reply *reply, void *arg)
{
	struct passed *d = arg;

	if (reply)
		rpc_pass_on(d->call, reply);
	else
		free(d);
}

static void on_gone(struct rpc_call *call, void *arg)
{
	struct passed *d = arg;

	peers_forget(d->peers, d);
	rpc_result(call, NULL);
	free(d);
}

void peers_pass(struct peers *p, uint32_t rank, struct rpc_call *call,
		const char *method, json_t *params)
{
	struct rank_range range = { rank, rank };
	const struct rankset to = { &range, 1 };
	int64_t ms = peers_timeout(params);
	struct passed *d = calloc(1, sizeof(*d));

	if (!d) {
		json_decref(params);
		rpc_fail(call, RPC_INTERNAL, "out of memory");
		return;
	}
	*d = (struct passed){ p, call };
	rpc_on_gone(call, on_gone, d);
	peers_request(p, &to, method, params, ms, on_passed, d);
}

int64_t peers_timeout(const json_t *params)
{
	static const char *const names[] = { "timeout_ms", "wait_ms" };
	int64_t most = -1;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const json_t *v = json_object_get(params, names[i]);
		int64_t ms = json_integer_value(v);

		if (json_is_integer(v) && ms >= 0 && ms <= INT32_MAX &&
		    ms + PEERS_SLACK_MS > most)
			most = ms + PEERS_SLACK_MS;
	}
	return most;
}

/* -- many ------------------------------------------------------------------ */

struct gather {
	struct peers *peers;
	struct rpc_call *call;
	json_t *results;
};

static json_t *error_json(const struct rpc_reply *r)
{
	json_t *e =
		json_pack("{s:i, s:s}", "code", r->code, "message", r->message);

	if (r->data)
		json_object_set_new(e, "data", json_deep_copy(r->data));
	return json_pack("{s:o}", "error", e);
}

static void on_gathered(uint32_t rank, const struct rpc_reply *reply, void *arg)
{
	struct gather *g = arg;
	char name[16];

	if (reply) {
		snprintf(name, sizeof(name), "%" PRIu32, rank);
		json_object_set_new(g->results, name,
				    reply->result
					    ? json_deep_copy(reply->result)
					    : error_json(reply));
		return;
	}
	rpc_result(g->call, json_pack("{s:O}", "results", g->results));
	json_decref(g->results);
	free(g);
}

static void on_gather_gone(struct rpc_call *call, void *arg)
{
	struct gather *g = arg;

	peers_forget(g->peers, g);
	rpc_result(call, NULL);
	json_decref(g->results);
	free(g);
}

static void ask_many(struct peers *p, struct rpc_call *call,
		     const struct rankset *to, const char *method,
		     json_t *params)
{
	struct gather *g = calloc(1, sizeof(*g));
	int64_t ms = peers_timeout(params);

	if (g)
		g->results = json_object();
	if (!g || !g->results) {
		free(g);
		json_decref(params);
		rpc_fail(call, RPC_INTERNAL, "out of memory");
		return;
	}
	g->peers = p;
	g->call = call;
	rpc_on_gone(call, on_gather_gone, g);
	peers_request(p, to, method, params, ms, on_gathered, g);
}

/* The answer of msg.send {wait: none}: it is on its way, and no more is known
 * of it. */
static void on_nobody(uint32_t rank, const struct rpc_reply *reply, void *arg)
{
}

static bool waits_for_none(const char *method, const json_t *params)
{
	const char *wait = json_string_value(json_object_get(params, "wait"));

	return strcmp(method, "msg.send") == 0 && wait &&
	       strcmp(wait, "none") == 0;
}

/* Messages that others have taken out of their queues would be lost if the
 * answer, of @n tasks, were too long for who asks. */
static void bound_answer(const struct rpc_call *call, const char *method,
			 json_t *params, uint64_t n)
{
	const json_t *given = json_object_get(params, "max_bytes");
	uint64_t most =
		(ops_is_guest(call) ? QUEUE_ANSWER_MAX : API_REPLY_MAX / 2) / n;

	if (strcmp(method, "msg.recv") != 0 && strcmp(method, "msg.peek") != 0)
		return;
	if (most > QUEUE_ANSWER_MAX)
		most = QUEUE_ANSWER_MAX;
	if (!given || json_integer_value(given) > (json_int_t)most)
		json_object_set_new(params, "max_bytes",
				    json_integer((json_int_t)most));
}

static void route(struct peers *p, struct rpc_call *call,
		  const struct rankset *to, const char *method, json_t *params)
{
	uint32_t rank = to->ranges[0].first;

	if (rankset_count(to) == 1 && rank == p->task->rank) {
		ops_carry_out(p->ops, call, method, params);
		json_decref(params);
	} else if (waits_for_none(method, params)) {
		peers_request(p, to, method, params, -1, on_nobody, NULL);
		rpc_result(call, NULL);
	} else if (rankset_count(to) == 1) {
		peers_pass(p, rank, call, method, params);
	} else {
		ask_many(p, call, to, method, params);
	}
}

bool peers_route(struct rpc_call *call, const char *method,
		 const json_t *params, void *peers)
{
	struct peers *p = peers;
	const json_t *to = json_object_get(params, "to");
	struct rankset whom = { 0 };
	struct errmsg err = { "" };
	json_t *copy;
	int r;

	if (!to)
		return false;
	r = peers_whom(p, to, &whom, &err);
	copy = json_copy((json_t *)(uintptr_t)params);
	if (r == 0 && !copy)
		r = -ENOMEM;
	if (r < 0) {
		rpc_fail(call,
			 r == -ENOENT	? RPC_E_NOTASK
			 : r == -EINVAL ? RPC_INVALID_PARAMS
					: RPC_INTERNAL,
			 err.text);
	} else {
		json_object_del(copy, "to");
		bound_answer(call, method, copy, rankset_count(&whom));
		route(p, call, &whom, method, json_incref(copy));
	}
	json_decref(copy);
	rankset_done(&whom);
	return true;
}
