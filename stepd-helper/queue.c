#include <config.h>

#include "queue.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

const char *const queue_policies[] = {
	[QUEUE_REJECT] = "reject",
	[QUEUE_BLOCK] = "block",
	[QUEUE_DROP_OLDEST] = "drop-oldest",
	NULL,
};

struct item {
	TAILQ_ENTRY(item) link;
	struct queue_msg m;
	uint64_t id; /* 0: not in the queue yet */
	int64_t put_ms;
	struct rpc_call *call; /* waits; NULL: nobody does */
	bool until_taken;
};
TAILQ_HEAD(items, item);

struct taker {
	TAILQ_ENTRY(taker) link;
	struct queue *queue;
	struct rpc_call *call;
	struct queue_want w;
	struct loop_timer *timer;
};

struct queue {
	struct queue *next;
	struct loop *loop;
	char name[QUEUE_NAME_MAX];
	struct queue_conf conf;
	bool overflowed, overflow_told;
	bool frozen;
	struct items items, blocked;
	TAILQ_HEAD(, taker) takers;
	size_t n, bytes, n_blocked, blocked_bytes, n_takers;
	uint64_t last_id, n_put, n_taken, n_dropped, n_refused;
};

/* -- messages -------------------------------------------------------------- */

static void item_free(struct item *i)
{
	free(i->m.data);
	free(i->m.ref);
	free(i->m.reply_to);
	free(i);
}

static void answer_id(struct item *i)
{
	if (i->call)
		rpc_result(i->call,
			   json_pack("{s:I}", "id", (json_int_t)i->id));
	i->call = NULL;
}

static void unlink_item(struct queue *q, struct item *i)
{
	TAILQ_REMOVE(&q->items, i, link);
	q->n--;
	q->bytes -= i->m.bytes;
	if (!q->n)
		q->overflow_told = false;
}

static bool has_room(const struct queue *q, size_t bytes)
{
	return q->n < q->conf.depth &&
	       (!q->n || q->bytes + bytes <= q->conf.bytes);
}

static void put_item(struct queue *q, struct item *i)
{
	i->id = ++q->last_id;
	i->put_ms = loop_now_ms();
	TAILQ_INSERT_TAIL(&q->items, i, link);
	q->n++;
	q->bytes += i->m.bytes;
	q->n_put++;
	if (!i->until_taken)
		answer_id(i);
}

/* Those that wait to put, in order, while they fit. */
static void unblock(struct queue *q)
{
	struct item *i;

	while ((i = TAILQ_FIRST(&q->blocked)) && has_room(q, i->m.bytes)) {
		TAILQ_REMOVE(&q->blocked, i, link);
		q->n_blocked--;
		q->blocked_bytes -= i->m.bytes;
		put_item(q, i);
	}
}

static void drop_oldest(struct queue *q)
{
	struct item *i = TAILQ_FIRST(&q->items);

	unlink_item(q, i);
	q->n_dropped++;
	if (i->call)
		rpc_fail(i->call, RPC_E_LOST,
			 "newer messages have taken its place");
	item_free(i);
}

/* -- taking ---------------------------------------------------------------- */

static bool is_wanted(const struct item *i, const struct queue_want *w)
{
	return (w->from < 0 || w->from == (int64_t)i->m.from) &&
	       (!w->ref || (i->m.ref && strcmp(w->ref, i->m.ref) == 0));
}

static json_t *item_json(const struct item *i)
{
	json_t *o =
		json_pack("{s:I, s:I, s:o, s:I}", "from", (json_int_t)i->m.from,
			  "id", (json_int_t)i->id, "data",
			  json_loads(i->m.data, JSON_DECODE_ANY, NULL),
			  "age_ms", (json_int_t)(loop_now_ms() - i->put_ms));

	if (i->m.ref)
		json_object_set_new(o, "ref", json_string(i->m.ref));
	if (i->m.reply_to)
		json_object_set_new(o, "reply_to", json_string(i->m.reply_to));
	return o;
}

static void taken(struct queue *q, struct item *i)
{
	unlink_item(q, i);
	q->n_taken++;
	answer_id(i);
	item_free(i);
}

/* Of an item's JSON, but what is in its bytes. */
#define ITEM_BYTES 128

/* What is there for @w; NULL: nothing, or *too_big: the first has no room. */
static json_t *collect(struct queue *q, const struct queue_want *w,
		       size_t *too_big)
{
	json_t *all = NULL;
	struct item *i, *next;
	size_t n = 0, bytes = 0;

	*too_big = 0;

	for (i = TAILQ_FIRST(&q->items); i && n < w->count; i = next) {
		next = TAILQ_NEXT(i, link);
		if (!is_wanted(i, w))
			continue;
		bytes += i->m.bytes + ITEM_BYTES;
		if (bytes > w->max_bytes) {
			*too_big = n ? 0 : i->m.bytes;
			break;
		}
		n++;
		if (!all)
			all = json_array();
		json_array_append_new(all, item_json(i));
		if (!w->peek)
			taken(q, i);
	}
	return all;
}

/* Its call is answered before. One that is gone takes nothing with it:
 * on_gone(). */
static void taker_free(struct taker *t)
{
	TAILQ_REMOVE(&t->queue->takers, t, link);
	t->queue->n_takers--;
	loop_timer_free(t->timer);
	free(t->w.ref);
	free(t);
}

static void answer(struct rpc_call *call, json_t *all, size_t too_big)
{
	if (all)
		rpc_result(call, all);
	else
		rpc_failf(
			call, RPC_E_TOOBIG,
			"the message has %zu bytes, which is more than this answer can have",
			too_big);
}

/* Who waits gets what it wants, the first first. */
static void serve(struct queue *q)
{
	struct taker *t, *next;
	size_t too_big;
	json_t *all;

	for (t = TAILQ_FIRST(&q->takers); t && !q->frozen; t = next) {
		next = TAILQ_NEXT(t, link);
		all = collect(q, &t->w, &too_big);
		if (!all && !too_big)
			continue;
		answer(t->call, all, too_big);
		taker_free(t);
		unblock(q);
		next = TAILQ_FIRST(&q->takers); /* that may be another's */
	}
}

static void on_timeout(void *arg)
{
	struct taker *t = arg;

	rpc_fail(t->call, RPC_E_TIMEOUT, "no message came in time");
	taker_free(t);
}

static void on_gone(struct rpc_call *call, void *arg)
{
	rpc_result(call, NULL);
	taker_free(arg);
}

static void wait_for(struct queue *q, struct rpc_call *call,
		     struct queue_want *w)
{
	struct taker *t =
		q->n_takers < QUEUE_WAITERS ? calloc(1, sizeof(*t)) : NULL;

	if (t && w->wait_ms > 0 &&
	    loop_timer_add(q->loop, w->wait_ms, on_timeout, t, &t->timer) < 0) {
		free(t);
		t = NULL;
	}
	if (!t) {
		free(w->ref);
		rpc_fail(call, RPC_E_BUSY, "too many wait for this queue");
		return;
	}
	t->queue = q;
	t->call = call;
	t->w = *w;
	rpc_on_gone(call, on_gone, t);
	TAILQ_INSERT_TAIL(&q->takers, t, link);
	q->n_takers++;
}

void queue_take(struct queue *q, struct rpc_call *call, struct queue_want *w)
{
	size_t too_big = 0;
	json_t *all = q->frozen && !w->peek ? NULL : collect(q, w, &too_big);

	if (all || too_big) {
		if (!w->peek)
			unblock(q);
		free(w->ref);
		answer(call, all, too_big);
		serve(q); /* what was blocked may be another's */
	} else if (w->peek) {
		free(w->ref);
		rpc_result(call, json_array());
	} else if (!w->wait_ms) {
		free(w->ref);
		rpc_fail(call, RPC_E_TIMEOUT, "there is no message");
	} else {
		wait_for(q, call, w);
	}
}

/* -- putting --------------------------------------------------------------- */

/* Of @n messages of @bytes. */
static bool takes(const struct queue *q, size_t n, size_t bytes, bool may_wait)
{
	if (q->conf.policy == QUEUE_DROP_OLDEST)
		return true;
	if (!q->n_blocked && q->n + n <= q->conf.depth &&
	    (q->bytes + bytes <= q->conf.bytes || (!q->n && n == 1)))
		return true;
	return (may_wait || q->conf.policy == QUEUE_BLOCK) &&
	       q->n_blocked + n <= QUEUE_WAITERS;
}

static void block(struct queue *q, struct item *i)
{
	TAILQ_INSERT_TAIL(&q->blocked, i, link);
	q->n_blocked++;
	q->blocked_bytes += i->m.bytes;
}

static void put_or_block(struct queue *q, struct item *i)
{
	bool has = has_room(q, i->m.bytes);

	q->overflowed |= !has;
	while (q->conf.policy == QUEUE_DROP_OLDEST && q->n && !has) {
		drop_oldest(q);
		has = has_room(q, i->m.bytes);
	}
	if (has && !q->n_blocked)
		put_item(q, i);
	else
		block(q, i);
}

/* Of the messages of @m as many items; the memory of @m goes. -ENOMEM: and all
 * that is in it. */
static int make_items(struct queue_msg *m, size_t n, struct items *ret)
{
	struct item *i;
	int r = 0;

	TAILQ_INIT(ret);
	for (size_t at = 0; at < n; at++) {
		i = r == 0 ? calloc(1, sizeof(*i)) : NULL;
		if (!i) {
			r = -ENOMEM;
			free(m[at].data);
			free(m[at].ref);
			free(m[at].reply_to);
			continue;
		}
		i->m = m[at];
		TAILQ_INSERT_TAIL(ret, i, link);
	}
	free(m);
	return r;
}

static void drop_items(struct items *items)
{
	struct item *i;

	while ((i = TAILQ_FIRST(items))) {
		TAILQ_REMOVE(items, i, link);
		item_free(i);
	}
}

void queue_put(struct queue *q, struct rpc_call *call, struct queue_msg *m,
	       size_t n, struct queue_how how)
{
	struct items items;
	size_t bytes = 0;
	struct item *i;

	for (size_t at = 0; at < n; at++)
		bytes += m[at].bytes;
	if (make_items(m, n, &items) < 0) {
		rpc_fail(call, RPC_INTERNAL, "out of memory");
		drop_items(&items);
		return;
	}
	if (!takes(q, n, bytes, how.may_wait)) {
		q->overflowed = true;
		q->n_refused += n;
		rpc_failf(call, RPC_E_FULL,
			  "queue '%s' is full: %zu messages, %zu bytes",
			  q->name, q->n, q->bytes);
		drop_items(&items);
		return;
	}
	i = TAILQ_LAST(&items, items);
	i->call = call;
	while ((i = TAILQ_FIRST(&items))) {
		TAILQ_REMOVE(&items, i, link);
		i->until_taken = how.until_taken;
		put_or_block(q, i);
	}
	serve(q);
}

/* -- the rest -------------------------------------------------------------- */

json_t *queue_stat(const struct queue *q)
{
	return json_pack(
		"{s:s, s:I, s:I, s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
		"queue", q->name, "depth", (json_int_t)q->conf.depth,
		"max_bytes", (json_int_t)q->conf.bytes, "policy",
		queue_policies[q->conf.policy], "frozen", q->frozen, "messages",
		(json_int_t)q->n, "bytes", (json_int_t)q->bytes, "put",
		(json_int_t)q->n_put, "taken", (json_int_t)q->n_taken,
		"dropped", (json_int_t)q->n_dropped, "refused",
		(json_int_t)q->n_refused, "senders_waiting",
		(json_int_t)q->n_blocked, "takers_waiting",
		(json_int_t)q->n_takers);
}

size_t queue_clear(struct queue *q)
{
	size_t n = q->n;
	struct item *i;

	while ((i = TAILQ_FIRST(&q->items))) {
		unlink_item(q, i);
		q->n_dropped++;
		if (i->call)
			rpc_fail(i->call, RPC_E_LOST, "the queue was cleared");
		item_free(i);
	}
	unblock(q);
	serve(q);
	return n;
}

void queue_freeze(struct queue *q, bool frozen)
{
	q->frozen = frozen;
	serve(q);
}

bool queue_overflowed(struct queue *q)
{
	bool now = q->overflowed && !q->overflow_told;

	q->overflowed = false;
	q->overflow_told |= now;
	return now;
}

size_t queue_bytes(const struct queue *q)
{
	return q->bytes + q->blocked_bytes;
}

const char *queue_name(const struct queue *q)
{
	return q->name;
}

struct queue *queue_next(const struct queue *q)
{
	return q->next;
}

void queue_link(struct queue *q, struct queue **list)
{
	q->next = *list;
	*list = q;
}

struct queue *queue_new(struct loop *l, const char *name,
			const struct queue_conf *conf)
{
	struct queue *q = calloc(1, sizeof(*q));

	if (!q)
		return NULL;
	q->loop = l;
	snprintf(q->name, sizeof(q->name), "%s", name);
	q->conf = *conf;
	TAILQ_INIT(&q->items);
	TAILQ_INIT(&q->blocked);
	TAILQ_INIT(&q->takers);
	return q;
}

static void end_items(struct items *items)
{
	struct item *i;

	while ((i = TAILQ_FIRST(items))) {
		TAILQ_REMOVE(items, i, link);
		if (i->call)
			rpc_fail(i->call, RPC_E_GONE, "the task has ended");
		item_free(i);
	}
}

void queue_free(struct queue *q)
{
	struct taker *t;

	end_items(&q->items);
	end_items(&q->blocked);
	while ((t = TAILQ_FIRST(&q->takers))) {
		rpc_fail(t->call, RPC_E_GONE, "the task has ended");
		taker_free(t);
	}
	free(q);
}
