#include <config.h>

#include "op_event.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "cleanup.h"
#include "log.h"
#include "param.h"
#include "subscription.h"

enum { EVENTS, LOG, FEEDS };
static const char *const feed_names[] = { "events", "log", NULL };

/* event.take that waits. */
struct taker {
	LIST_ENTRY(taker) link;
	struct op_event *owner;
	struct rpc_call *call;
	struct event_want want;
	uint64_t at;
	int64_t count;
	struct feed_watch watch;
	struct loop_timer *timer;
};

struct op_event {
	struct loop *loop;
	const struct task *task;
	struct feed *feeds[FEEDS];
	LIST_HEAD(, taker) takers;
	struct subscriptions *subs;
	bool ended;
};

/* -- what happens ---------------------------------------------------------- */

json_t *event_new(const char *kind, uint32_t rank)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return json_pack("{s:s, s:I, s:I}", "kind", kind, "rank",
			 (json_int_t)rank, "time_ms",
			 (json_int_t)now.tv_sec * 1000 + now.tv_nsec / 1000000);
}

static void add(struct op_event *e, int feed, const char *kind, json_t *more)
{
	json_t *o = event_new(kind, e->task->rank);

	if (o && more)
		json_object_update(o, more);
	json_decref(more);
	feed_add(e->feeds[feed], o);
}

void op_event_say(struct op_event *e, const char *kind, json_t *more)
{
	if (e && !e->ended)
		add(e, EVENTS, kind, more);
	else
		json_decref(more);
}

/* A log_sink_fn: what happens here may not log. */
static void on_log(enum log_level level, const char *words, void *arg)
{
	static const char *const kinds[] = { "log.error", "log.warning",
					     "log.info", "log.debug" };

	add(arg, LOG, kinds[level], json_pack("{s:s}", "text", words));
}

/* -- filters --------------------------------------------------------------- */

static int check_kinds(const json_t *kinds, struct errmsg *err)
{
	json_t *kind;
	size_t i;

	if (!json_is_array(kinds) || json_array_size(kinds) > OP_EVENT_KINDS)
		return errmsg_say(
			err, -EINVAL,
			"kinds: not a list of up to %d names, which may have wildcards",
			OP_EVENT_KINDS);
	json_array_foreach ((json_t *)(uintptr_t)kinds, i, kind)
		if (!json_is_string(kind) || json_string_length(kind) > 64)
			return errmsg_say(err, -EINVAL,
					  "kinds: names are texts of up to 64");
	return 0;
}

int event_want_parse(struct op_event *e, const json_t *params,
		     struct event_want *ret, struct errmsg *err)
{
	json_t *kinds = json_object_get(params, "kinds");
	int feed = EVENTS, r;

	*ret = (struct event_want){ .after = -1 };
	r = param_word(params, "feed", feed_names, &feed, err);
	if (r == 0)
		r = param_int(params, "after", 0, INT64_MAX, &ret->after, err);
	if (r == 0 && kinds)
		r = check_kinds(kinds, err);
	if (r == 0 && kinds)
		ret->kinds = json_deep_copy(kinds);
	ret->feed = e->feeds[feed];
	ret->feed_name = feed_names[feed];
	return r;
}

void event_want_done(struct event_want *w)
{
	json_decref(w->kinds);
	w->kinds = NULL;
}

bool event_is_wanted(const struct event_want *w, const json_t *entry)
{
	const char *kind = json_string_value(json_object_get(entry, "kind"));
	json_t *pattern;
	size_t i;

	json_array_foreach (w->kinds, i, pattern)
		if (kind && fnmatch(json_string_value(pattern), kind, 0) == 0)
			return true;
	return !w->kinds;
}

/* -- event.take ------------------------------------------------------------ */

/* What is there from @w->at on; NULL: nothing that is wanted. */
static json_t *collect(struct taker *w, uint64_t *ret_lost)
{
	json_t *all = NULL;
	const json_t *e;
	uint64_t lost;

	*ret_lost = 0;
	while ((!all || json_array_size(all) < (size_t)w->count) &&
	       (e = feed_read(w->want.feed, &w->at, &lost))) {
		*ret_lost += lost;
		if (!event_is_wanted(&w->want, e))
			continue;
		if (!all)
			all = json_array();
		json_array_append(all, (json_t *)(uintptr_t)e);
	}
	return all;
}

static void taker_free(struct taker *w)
{
	feed_unwatch(w->want.feed, &w->watch);
	LIST_REMOVE(w, link);
	loop_timer_free(w->timer);
	event_want_done(&w->want);
	free(w);
}

/* False: it goes on waiting. */
static bool serve(struct taker *w, bool at_once)
{
	uint64_t lost;
	json_t *all = collect(w, &lost);

	if (!all && !lost && !at_once)
		return false;
	if (!all)
		all = json_array();
	rpc_result(w->call,
		   json_pack("{s:o, s:I, s:I}", "events", all, "seq",
			     (json_int_t)w->at - 1, "lost", (json_int_t)lost));
	taker_free(w);
	return true;
}

static void on_entry(void *arg)
{
	serve(arg, false);
}

static void on_timeout(void *arg)
{
	serve(arg, true);
}

static void on_gone(struct rpc_call *call, void *arg)
{
	rpc_result(call, NULL);
	taker_free(arg);
}

static struct taker *taker_new(struct op_event *e, struct rpc_call *call,
			       struct event_want *want, int64_t count)
{
	struct taker *w = calloc(1, sizeof(*w));
	uint64_t next = feed_next(want->feed);

	if (!w || loop_timer_add(e->loop, -1, on_timeout, w, &w->timer) < 0) {
		free(w);
		event_want_done(want);
		return NULL;
	}
	w->owner = e;
	w->call = call;
	w->want = *want;
	w->count = count;
	w->at = want->after < 0			? 1
		: (uint64_t)want->after >= next ? next
						: (uint64_t)want->after + 1;
	w->watch = (struct feed_watch){ .fn = on_entry, .arg = w };
	feed_watch(want->feed, &w->watch);
	LIST_INSERT_HEAD(&e->takers, w, link);
	return w;
}

static void event_take(struct rpc_call *call, const json_t *params, void *arg)
{
	struct op_event *e = arg;
	int64_t count = OP_EVENT_TAKE, wait_ms = 0;
	struct event_want want;
	struct errmsg err;
	struct taker *w;
	int r;

	r = event_want_parse(e, params, &want, &err);
	if (r == 0)
		r = param_int(params, "count", 1, OP_EVENT_TAKE, &count, &err);
	if (r == 0)
		r = param_int(params, "wait_ms", -1, INT32_MAX, &wait_ms, &err);
	if (r < 0) {
		event_want_done(&want);
		rpc_fail(call, RPC_INVALID_PARAMS, err.text);
		return;
	}
	w = taker_new(e, call, &want, count);
	if (!w) {
		rpc_fail(call, RPC_INTERNAL, "out of memory");
		return;
	}
	if (serve(w, wait_ms == 0 || e->ended))
		return;
	rpc_on_gone(call, on_gone, w);
	if (wait_ms > 0)
		loop_timer_set(w->timer, wait_ms);
}

/* -- event.subscribe ------------------------------------------------------- */

static void event_subscribe(struct rpc_call *call, const json_t *params,
			    void *arg)
{
	struct op_event *e = arg;
	struct event_want want;
	struct errmsg err;

	if (event_want_parse(e, params, &want, &err) < 0) {
		event_want_done(&want);
		rpc_fail(call, RPC_INVALID_PARAMS, err.text);
		return;
	}
	subscriptions_add(e->subs, call, json_object_get(params, "to"), &want);
}

static void event_unsubscribe(struct rpc_call *call, const json_t *params,
			      void *arg)
{
	struct op_event *e = arg;

	subscriptions_remove(
		e->subs, call,
		json_integer_value(json_object_get(params, "sub")));
}

const struct rpc_method op_event_methods[] = {
	{ "event.subscribe", event_subscribe },
	{ "event.take", event_take },
	{ "event.unsubscribe", event_unsubscribe },
	{ 0 },
};

/* -------------------------------------------------------------------------- */

int op_event_new(struct loop *l, const struct task *t, struct peers *p,
		 struct ops *ops, struct op_event **ret)
{
	struct op_event *e = calloc(1, sizeof(*e));
	int r = -ENOMEM;

	if (!e)
		return -ENOMEM;
	e->loop = l;
	e->task = t;
	LIST_INIT(&e->takers);
	for (int i = 0; i < FEEDS; i++)
		e->feeds[i] = feed_new(OP_EVENT_KEPT);
	if (e->feeds[EVENTS] && e->feeds[LOG])
		r = subscriptions_new(l, t, p, &e->subs);
	if (r == 0)
		r = ops_add(ops, op_event_methods, e);
	if (r < 0) {
		e->ended = true; /* there was nothing to tell of */
		op_event_free(e);
		return r;
	}
	log_to_sink(on_log, e);
	*ret = e;
	return 0;
}

void op_event_end(struct op_event *e)
{
	struct taker *w;

	if (!e || e->ended)
		return;
	op_event_say(e, "task.ended", NULL);
	e->ended = true;
	while ((w = LIST_FIRST(&e->takers)))
		serve(w, true);
	subscriptions_end(e->subs);
}

void op_event_free(struct op_event *e)
{
	if (!e)
		return;
	log_to_sink(NULL, NULL);
	op_event_end(e);
	subscriptions_free(e->subs);
	for (int i = 0; i < FEEDS; i++)
		feed_free(e->feeds[i]);
	free(e);
}
