#include <config.h>

#include "op_sync.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "cleanup.h"
#include "param.h"

#define NAME_MAX_BYTES 64

struct waiter {
	LIST_ENTRY(waiter) link;
	struct barrier *barrier;
	struct rpc_call *call;
	uint32_t rank;
	struct loop_timer *timer;
};

struct barrier {
	LIST_ENTRY(barrier) link;
	struct op_sync *owner;
	char name[NAME_MAX_BYTES];
	char *ranks_text; /* with the name it says which barrier it is */
	struct rankset ranks;
	LIST_HEAD(, waiter) waiters;
	uint64_t n; /* of them */
};

struct op_sync {
	struct loop *loop;
	const struct task *task;
	struct peers *peers;
	LIST_HEAD(, barrier) barriers;
	size_t n;
	uint64_t generation; /* of the last that was passed */
};

static void waiter_free(struct waiter *w)
{
	LIST_REMOVE(w, link);
	w->barrier->n--;
	loop_timer_free(w->timer);
	free(w);
}

static void barrier_free(struct barrier *b)
{
	LIST_REMOVE(b, link);
	b->owner->n--;
	rankset_done(&b->ranks);
	free(b->ranks_text);
	free(b);
}

/* -- waiting --------------------------------------------------------------- */

static bool waits_at(const struct barrier *b, uint32_t rank)
{
	const struct waiter *w;

	LIST_FOREACH(w, &b->waiters, link)
	if (w->rank == rank)
		return true;
	return false;
}

static char *missing(const struct barrier *b)
{
	struct rankset none = { 0 };
	char *text;

	for (uint32_t r = rankset_next(&b->ranks, 0); r != UINT32_MAX;
	     r = rankset_next(&b->ranks, r + 1))
		if (!waits_at(b, r))
			rankset_add(&none, r, r);
	text = rankset_text(&none);
	rankset_done(&none);
	return text;
}

static void on_timeout(void *arg)
{
	struct waiter *w = arg;
	struct barrier *b = w->barrier;
	_cleanup_free_ char *who = missing(b);
	struct errmsg text;

	errmsg_say(&text, 0, "barrier '%s': missing %.100s", b->name,
		   who ? who : "some");
	rpc_fail_os(w->call, RPC_E_TIMEOUT, 0, who, text.text);
	waiter_free(w);
	if (!b->n)
		barrier_free(b);
}

static void pass(struct barrier *b)
{
	json_int_t generation = (json_int_t)++b->owner->generation;
	struct waiter *w;

	while ((w = LIST_FIRST(&b->waiters))) {
		rpc_result(w->call,
			   json_pack("{s:I}", "generation", generation));
		waiter_free(w);
	}
	barrier_free(b);
}

static struct barrier *find(struct op_sync *s, const char *name,
			    const char *ranks)
{
	struct barrier *b;

	LIST_FOREACH(b, &s->barriers, link)
	if (strcmp(b->name, name) == 0 && strcmp(b->ranks_text, ranks) == 0)
		return b;
	return NULL;
}

/* NULL: out of memory, or too many. */
static struct barrier *get(struct op_sync *s, const char *name,
			   const struct rankset *ranks)
{
	_cleanup_free_ char *text = rankset_text(ranks);
	struct barrier *b = text ? find(s, name, text) : NULL;

	if (b || !text || s->n >= OP_SYNC_BARRIERS)
		return b;
	b = calloc(1, sizeof(*b));
	if (!b || rankset_merge(&b->ranks, ranks) < 0) {
		free(b);
		return NULL;
	}
	b->owner = s;
	b->ranks_text = TAKE_PTR(text);
	memcpy(b->name, name, strlen(name) + 1);
	LIST_INIT(&b->waiters);
	LIST_INSERT_HEAD(&s->barriers, b, link);
	s->n++;
	return b;
}

/* A caller that is gone has not arrived. */
static void on_gone(struct rpc_call *call, void *arg)
{
	struct waiter *w = arg;
	struct barrier *b = w->barrier;

	rpc_result(call, NULL);
	waiter_free(w);
	if (!b->n)
		barrier_free(b);
}

static void arrive(struct op_sync *s, struct rpc_call *call, const char *name,
		   const struct rankset *ranks, uint32_t rank,
		   int64_t timeout_ms)
{
	struct barrier *b = get(s, name, ranks);
	struct waiter *w = NULL;

	if (b && waits_at(b, rank)) {
		rpc_failf(call, RPC_E_BUSY,
			  "vm[%" PRIu32 "] waits at barrier '%s' already", rank,
			  name);
		return;
	}
	if (b)
		w = calloc(1, sizeof(*w));
	if (!w ||
	    loop_timer_add(s->loop, timeout_ms, on_timeout, w, &w->timer) < 0) {
		free(w);
		if (b && !b->n)
			barrier_free(b);
		rpc_fail(call, RPC_E_FULL, "too many barriers");
		return;
	}
	w->barrier = b;
	w->call = call;
	w->rank = rank;
	rpc_on_gone(call, on_gone, w);
	LIST_INSERT_HEAD(&b->waiters, w, link);
	if (++b->n == rankset_count(&b->ranks))
		pass(b);
}

/* -- the op ---------------------------------------------------------------- */

static int take_params(const struct op_sync *s, const json_t *params,
		       char **name, struct rankset *ranks, int64_t *timeout_ms,
		       struct errmsg *err)
{
	json_t *all = json_string("all");
	const json_t *whom = json_object_get(params, "ranks");
	int r = param_text(params, "name", name, err);

	if (r == 0 && !*name)
		*name = strdup("default");
	if (r == 0 && (!*name || !**name || strlen(*name) >= NAME_MAX_BYTES))
		r = errmsg_say(err, -EINVAL, "name: 1 to %d bytes",
			       NAME_MAX_BYTES - 1);
	if (r == 0)
		r = param_int(params, "timeout_ms", 0, INT32_MAX, timeout_ms,
			      err);
	if (r == 0)
		r = peers_whom(s->peers, whom ? whom : all, ranks, err);
	json_decref(all);
	return r;
}

static void meet(struct op_sync *s, struct rpc_call *call, const json_t *params,
		 uint32_t who, bool passed_on)
{
	int64_t timeout_ms = OP_SYNC_TIMEOUT_MS;
	_cleanup_free_ char *name = NULL;
	struct rankset ranks = { 0 };
	struct errmsg err;
	uint32_t home;
	json_t *copy;

	if (take_params(s, params, &name, &ranks, &timeout_ms, &err) < 0) {
		rankset_done(&ranks);
		rpc_fail(call, RPC_INVALID_PARAMS, err.text);
		return;
	}
	home = rankset_next(&ranks, 0);
	if (!rankset_has(&ranks, who)) {
		rpc_failf(call, RPC_E_RANGE,
			  "vm[%" PRIu32 "] is not one of those that meet", who);
	} else if (home == s->task->rank || passed_on) {
		arrive(s, call, name, &ranks, who, timeout_ms);
	} else {
		copy = json_copy((json_t *)(uintptr_t)params);
		json_object_set_new(copy, "timeout_ms",
				    json_integer(timeout_ms));
		peers_pass(s->peers, home, call, "sync.arrive", copy);
	}
	rankset_done(&ranks);
}

static void barrier(struct rpc_call *call, const json_t *params, void *arg)
{
	struct op_sync *s = arg;

	meet(s, call, params, s->task->rank, false);
}

/* Another task's barrier, which we keep. */
static void sync_arrive(struct rpc_call *call, const json_t *params, void *arg)
{
	struct op_sync *s = arg;

	meet(s, call, params, ops_rank(call, s->task->rank), true);
}

const struct rpc_method op_sync_methods[] = {
	{ "sync.arrive", sync_arrive },
	{ "sync.barrier", barrier },
	{ 0 },
};

int op_sync_new(struct loop *l, const struct task *t, struct peers *p,
		struct ops *ops, struct op_sync **ret)
{
	struct op_sync *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->loop = l;
	s->task = t;
	s->peers = p;
	LIST_INIT(&s->barriers);
	r = ops_add(ops, op_sync_methods, s);
	if (r < 0) {
		free(s);
		return r;
	}
	*ret = s;
	return 0;
}

void op_sync_free(struct op_sync *s)
{
	struct barrier *b;
	struct waiter *w;

	if (!s)
		return;
	while ((b = LIST_FIRST(&s->barriers))) {
		while ((w = LIST_FIRST(&b->waiters))) {
			rpc_fail(w->call, RPC_E_GONE, "the task has ended");
			waiter_free(w);
		}
		barrier_free(b);
	}
	free(s);
}
