#include <config.h>

#include "subscription.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "api.h"
#include "cleanup.h"
#include "op_event.h"

/* What another task tells. One request waits there; what it was answered is
 * passed on before the next. */
struct remote {
	LIST_ENTRY(remote) link;
	struct sub *sub;
	uint32_t rank;
	json_int_t after; /* < 0: from now on */
	bool asked;
	bool away;	/* it could not be asked, and that was told */
	bool over;	/* it has ended */
	json_t *events; /* to be passed on; NULL: none */
	size_t at;
	json_int_t lost; /* to be told before them */
};

struct sub {
	LIST_ENTRY(sub) link;
	struct subscriptions *all;
	struct client *client;
	struct api_listener listener;
	json_int_t id;
	struct event_want want;
	bool self; /* this task's, too */
	uint64_t at;
	struct feed_watch watch;
	LIST_HEAD(, remote) remotes;
	struct loop_timer *retry;
};

struct subscriptions {
	struct loop *loop;
	const struct task *task;
	struct peers *peers;
	LIST_HEAD(, sub) list;
	size_t n;
	json_int_t last_id;
	bool ended;
};

/* -- to the client --------------------------------------------------------- */

/* False: the client has to read first. */
static bool tell(struct sub *s, const json_t *entry)
{
	json_t *o;

	if (!event_is_wanted(&s->want, entry))
		return true;
	o = json_copy((json_t *)(uintptr_t)entry);
	json_object_set_new(o, "sub", json_integer(s->id));
	return api_notify(s->client, "event", o) != -EAGAIN;
}

static bool tell_lost(struct sub *s, uint32_t rank, json_int_t lost)
{
	return api_notify(s->client, "event.lost",
			  json_pack("{s:I, s:I, s:I}", "sub", s->id, "rank",
				    (json_int_t)rank, "lost", lost)) != -EAGAIN;
}

static void pass_own(struct sub *s)
{
	uint64_t at = s->at, lost;
	const json_t *e;

	while (s->self && (e = feed_read(s->want.feed, &at, &lost))) {
		if (lost && !tell_lost(s, s->all->task->rank, (json_int_t)lost))
			return;
		s->at = at - 1; /* what was lost is told once */
		if (!tell(s, e))
			return;
		s->at = at;
	}
}

static bool pass_remote(struct remote *m)
{
	struct sub *s = m->sub;

	if (m->lost && !tell_lost(s, m->rank, m->lost))
		return false;
	m->lost = 0;
	while (m->at < json_array_size(m->events)) {
		if (!tell(s, json_array_get(m->events, m->at)))
			return false;
		m->at++;
	}
	json_decref(m->events);
	m->events = NULL;
	m->at = 0;
	return true;
}

/* -- of other tasks -------------------------------------------------------- */

static bool is_last(const json_t *events)
{
	const json_t *last =
		json_array_get(events, json_array_size(events) - 1);
	const char *kind = json_string_value(json_object_get(last, "kind"));

	return kind && strcmp(kind, "task.ended") == 0;
}

static void take_reply(struct remote *m, const json_t *result)
{
	json_t *events = json_object_get(result, "events");

	m->away = false;
	m->after = json_integer_value(json_object_get(result, "seq"));
	m->lost = json_integer_value(json_object_get(result, "lost"));
	m->over = is_last(events);
	m->events = json_incref(events);
}

static void take_error(struct remote *m, const char *why)
{
	json_t *o = m->away ? NULL : event_new("task.unreachable", m->rank);

	if (o) {
		json_object_set_new(o, "why", json_string(why));
		m->events = json_pack("[o]", o);
	}
	m->away = true;
	loop_timer_set(m->sub->retry, SUBSCRIPTION_RETRY_MS);
}

static void go_on(struct remote *m);

/* A peers_reply_fn; there is one rank. */
static void on_reply(uint32_t rank, const struct rpc_reply *reply, void *arg)
{
	struct remote *m = arg;

	if (reply && reply->result) {
		take_reply(m, reply->result);
	} else if (reply) {
		take_error(m, reply->message);
	} else {
		m->asked = false;
		go_on(m);
	}
}

/* The first question only finds out where the other's feed is. */
static void ask(struct remote *m)
{
	const struct event_want *w = &m->sub->want;
	struct rank_range range = { m->rank, m->rank };
	const struct rankset to = { &range, 1 };
	json_t *p = json_pack("{s:s, s:I, s:I}", "feed", w->feed_name, "after",
			      m->after < 0 ? INT64_MAX : m->after, "wait_ms",
			      (json_int_t)(m->after < 0 ? 0 : -1));

	if (p && w->kinds && m->after >= 0)
		json_object_set(p, "kinds", w->kinds);
	m->asked = true;
	peers_request(m->sub->all->peers, &to, "event.take", p, -1, on_reply,
		      m);
}

static void go_on(struct remote *m)
{
	if (m->asked || !pass_remote(m) || m->over || m->away ||
	    m->sub->all->ended)
		return;
	ask(m);
}

static void on_retry(void *arg)
{
	struct sub *s = arg;
	struct remote *m, *next;

	for (m = LIST_FIRST(&s->remotes); m; m = next) {
		next = LIST_NEXT(m, link);
		if (m->away && !m->asked && !m->events && !s->all->ended)
			ask(m);
	}
}

/* -- life ------------------------------------------------------------------ */

static void sub_free(struct sub *s)
{
	struct remote *m;

	api_unlisten(&s->listener);
	feed_unwatch(s->want.feed, &s->watch);
	while ((m = LIST_FIRST(&s->remotes))) {
		LIST_REMOVE(m, link);
		peers_forget(s->all->peers, m);
		json_decref(m->events);
		free(m);
	}
	LIST_REMOVE(s, link);
	s->all->n--;
	loop_timer_free(s->retry);
	event_want_done(&s->want);
	free(s);
}

static void on_room(void *arg)
{
	struct sub *s = arg;
	struct remote *m, *next;

	pass_own(s);
	for (m = LIST_FIRST(&s->remotes); m; m = next) {
		next = LIST_NEXT(m, link);
		go_on(m);
	}
}

static void on_gone(void *arg)
{
	sub_free(arg);
}

static void on_entry(void *arg)
{
	pass_own(arg);
}

/* Takes @want. */
static struct sub *sub_new(struct subscriptions *all, struct client *c,
			   struct event_want *want)
{
	struct sub *s = calloc(1, sizeof(*s));

	if (!s || loop_timer_add(all->loop, -1, on_retry, s, &s->retry) < 0) {
		free(s);
		event_want_done(want);
		return NULL;
	}
	s->all = all;
	s->client = c;
	s->want = *want;
	s->id = ++all->last_id;
	s->at = feed_next(want->feed);
	if (want->after >= 0 && (uint64_t)want->after < s->at)
		s->at = (uint64_t)want->after + 1;
	s->watch = (struct feed_watch){ .fn = on_entry, .arg = s };
	s->listener = (struct api_listener){ .room = on_room,
					     .gone = on_gone,
					     .arg = s };
	LIST_INIT(&s->remotes);
	feed_watch(want->feed, &s->watch);
	api_listen(c, &s->listener);
	LIST_INSERT_HEAD(&all->list, s, link);
	all->n++;
	return s;
}

static int add_remotes(struct sub *s, const struct rankset *whom)
{
	uint32_t self = s->all->task->rank;

	s->self = rankset_has(whom, self);
	for (uint32_t r = rankset_next(whom, 0); r != UINT32_MAX;
	     r = rankset_next(whom, r + 1)) {
		struct remote *m = r == self ? NULL : calloc(1, sizeof(*m));

		if (r == self)
			continue;
		if (!m)
			return -ENOMEM;
		m->sub = s;
		m->rank = r;
		m->after = s->want.after;
		LIST_INSERT_HEAD(&s->remotes, m, link);
	}
	return 0;
}

/* Takes @want. */
static void add(struct subscriptions *all, struct rpc_call *call,
		const struct rankset *whom, struct event_want *want)
{
	const struct ops_origin *from = rpc_call_origin(call);
	struct sub *s = sub_new(all, from->client, want);

	if (!s || add_remotes(s, whom) < 0) {
		if (s)
			sub_free(s);
		rpc_fail(call, RPC_INTERNAL, "out of memory");
		return;
	}
	rpc_result(call, json_pack("{s:I}", "sub", s->id));
	on_room(s);
}

void subscriptions_add(struct subscriptions *all, struct rpc_call *call,
		       const json_t *to, struct event_want *want)
{
	const struct ops_origin *from = rpc_call_origin(call);
	struct rankset whom = { 0 };
	struct errmsg err = { "" };
	int r;

	if (!from || !from->client)
		rpc_fail(
			call, RPC_E_NOTSUP,
			"events are for programs at a task's own socket; another task's come with its event.take, or by to");
	else if (all->n >= SUBSCRIPTIONS_MAX)
		rpc_failf(call, RPC_E_FULL, "this task has %zu subscriptions",
			  all->n);
	else if ((r = peers_whom(all->peers, to, &whom, &err)) < 0)
		rpc_fail(call, r == -ENOENT ? RPC_E_NOTASK : RPC_INVALID_PARAMS,
			 err.text);
	else {
		add(all, call, &whom, want);
		*want = (struct event_want){ 0 };
	}
	event_want_done(want);
	rankset_done(&whom);
}

void subscriptions_remove(struct subscriptions *all, struct rpc_call *call,
			  json_int_t id)
{
	const struct ops_origin *from = rpc_call_origin(call);
	struct sub *s;

	LIST_FOREACH(s, &all->list, link)
	if (from && s->client == from->client && s->id == id)
		break;
	if (!s) {
		rpc_failf(call, RPC_E_NOENT,
			  "this connection has no subscription %lld",
			  (long long)id);
		return;
	}
	sub_free(s);
	rpc_result(call, NULL);
}

int subscriptions_new(struct loop *l, const struct task *t, struct peers *p,
		      struct subscriptions **ret)
{
	struct subscriptions *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->loop = l;
	s->task = t;
	s->peers = p;
	LIST_INIT(&s->list);
	*ret = s;
	return 0;
}

void subscriptions_end(struct subscriptions *s)
{
	if (s)
		s->ended = true;
}

void subscriptions_free(struct subscriptions *s)
{
	if (!s)
		return;
	while (LIST_FIRST(&s->list))
		sub_free(LIST_FIRST(&s->list));
	free(s);
}
