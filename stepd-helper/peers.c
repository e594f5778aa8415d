#include <config.h>

#include "peers.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "cleanup.h"
#include "peers_impl.h"

#define CHUNK	   400	/* receivers of one message, where they are scattered */
#define PROBE_TEXT "{}" /* no request, no answer: that it arrives says all */

/* A request of ours, to one or more ranks. */
struct request {
	TAILQ_ENTRY(request) link;
	struct peers *peers;
	json_int_t id;
	uint64_t first, last; /* the messages that carried it */
	struct rankset to, answered;
	uint64_t left;
	peers_reply_fn fn; /* NULL: nobody wants to know */
	void *arg;
	struct loop_timer *timer;
	int64_t made_ms;
	bool busy; /* being sent: not to be freed */
};

/* What another task has asked. */
struct peer {
	LIST_ENTRY(peer) link;
	struct peers *peers;
	struct ops_origin origin;
	struct rpc *rpc;
};

static const struct rpc_method no_methods[] = { { 0 } };

/* -- requests -------------------------------------------------------------- */

static void request_free(struct request *q)
{
	TAILQ_REMOVE(&q->peers->requests, q, link);
	q->peers->n_requests--;
	loop_timer_free(q->timer);
	rankset_done(&q->to);
	rankset_done(&q->answered);
	free(q);
}

static void end_if_complete(struct request *q)
{
	peers_reply_fn fn = q->fn;
	void *arg = q->arg;

	if (q->left || q->busy)
		return;
	request_free(q);
	if (fn)
		fn(UINT32_MAX, NULL, arg);
}

static bool is_awaited(const struct request *q, uint32_t rank)
{
	return rankset_has(&q->to, rank) && !rankset_has(&q->answered, rank);
}

static void take_reply(struct request *q, uint32_t rank,
		       const struct rpc_reply *reply)
{
	if (!is_awaited(q, rank) || rankset_add(&q->answered, rank, rank) < 0)
		return;
	q->left--;
	if (q->fn)
		q->fn(rank, reply, q->arg);
}

static void fail_one(struct request *q, uint32_t rank, int code,
		     const char *why)
{
	struct errmsg text;
	const struct rpc_reply reply = { .code = code, .message = text.text };

	errmsg_say(&text, 0, "vm[%" PRIu32 "]: %s", rank, why);
	take_reply(q, rank, &reply);
}

static void fail_rest(struct request *q, int code, const char *why)
{
	q->busy = true;
	for (uint32_t r = rankset_next(&q->to, 0); r != UINT32_MAX;
	     r = rankset_next(&q->to, r + 1))
		fail_one(q, r, code, why);
	q->left = 0; /* also without memory */
	q->busy = false;
	end_if_complete(q);
}

static void on_timeout(void *arg)
{
	fail_rest(arg, RPC_E_TIMEOUT, "no answer in time");
}

/* What it would have been given they keep. If that does not reach them, it is
 * as with an answer that was on its way. */
static void take_back(struct request *q)
{
	struct rankset left = { 0 };
	char text[96];
	uint64_t id;
	int n = snprintf(text, sizeof(text),
			 "{\"jsonrpc\":\"2.0\",\"method\":\"rpc.cancel\","
			 "\"params\":{\"id\":%" JSON_INTEGER_FORMAT "}}",
			 q->id);

	for (uint32_t r = rankset_next(&q->to, 0); r != UINT32_MAX;
	     r = rankset_next(&q->to, r + 1))
		if (is_awaited(q, r))
			rankset_add(&left, r, r);
	if (left.n)
		oplink_send(q->peers->oplink, &left, text, (size_t)n, &id);
	rankset_done(&left);
}

void peers_forget(struct peers *p, const void *arg)
{
	struct request *q, *next;

	for (q = TAILQ_FIRST(&p->requests); q; q = next) {
		next = TAILQ_NEXT(q, link);
		if (q->arg != arg || !q->fn)
			continue;
		q->fn = NULL;
		take_back(q);
		q->left = 0;
		end_if_complete(q);
	}
}

static struct request *request_new(struct peers *p, const struct rankset *to,
				   int64_t timeout_ms, peers_reply_fn fn,
				   void *arg)
{
	struct request *q = calloc(1, sizeof(*q));

	if (!q)
		return NULL;
	if (p->n_requests >= PEERS_REQUESTS || rankset_merge(&q->to, to) < 0 ||
	    (timeout_ms >= 0 && loop_timer_add(p->loop, timeout_ms, on_timeout,
					       q, &q->timer) < 0)) {
		rankset_done(&q->to);
		free(q);
		return NULL;
	}
	q->peers = p;
	q->id = ++p->last_id;
	q->left = rankset_count(to);
	q->fn = fn;
	q->arg = arg;
	q->made_ms = loop_now_ms();
	TAILQ_INSERT_TAIL(&p->requests, q, link);
	p->n_requests++;
	return q;
}

static void send_chunk(struct request *q, const struct rankset *to,
		       const char *text)
{
	uint64_t id;
	int r = to->n ? oplink_send(q->peers->oplink, to, text, strlen(text),
				    &id)
		      : 0;

	if (to->n && r == 0) {
		q->first = q->first ? q->first : id;
		q->last = id;
	}
	for (uint32_t rank = rankset_next(to, 0); r < 0 && rank != UINT32_MAX;
	     rank = rankset_next(to, rank + 1))
		switch (r) {
		case -EMSGSIZE:
			fail_one(q, rank, RPC_E_TOOBIG,
				 "more than 1 MiB for another task");
			break;
		case -ENOTCONN:
			fail_one(q, rank, RPC_E_UNREACHABLE,
				 "this node's vmstep-net is gone");
			break;
		default:
			fail_one(q, rank, RPC_E_FULL,
				 "too much waits for other tasks");
		}
}

/* Who has no room for it is told apart, so that the others get it. */
static void send_request(struct request *q, const char *text)
{
	struct rankset some = { 0 };

	for (uint32_t r = rankset_next(&q->to, 0); r != UINT32_MAX;
	     r = rankset_next(&q->to, r + 1)) {
		if (!oplink_has_room(q->peers->oplink, r, strlen(text)) ||
		    rankset_add(&some, r, r) < 0)
			fail_one(q, r, RPC_E_FULL, "too much waits for it");
		if (some.n < CHUNK)
			continue;
		send_chunk(q, &some, text);
		rankset_done(&some);
	}
	send_chunk(q, &some, text);
	rankset_done(&some);
}

static void watch_lives(struct peers *p)
{
	if (p->probes)
		return;
	p->probes = true;
	loop_timer_set(p->probe, PEERS_PROBE_MS);
}

static void refuse_all(const struct rankset *to, peers_reply_fn fn, void *arg)
{
	const struct rpc_reply reply = {
		.code = RPC_E_FULL,
		.message = "too many requests wait for other tasks",
	};

	for (uint32_t r = rankset_next(to, 0); r != UINT32_MAX;
	     r = rankset_next(to, r + 1))
		fn(r, &reply, arg);
	fn(UINT32_MAX, NULL, arg);
}

void peers_request(struct peers *p, const struct rankset *to,
		   const char *method, json_t *params, int64_t timeout_ms,
		   peers_reply_fn fn, void *arg)
{
	struct request *q = request_new(p, to, timeout_ms, fn, arg);
	_cleanup_free_ char *text = NULL;
	json_t *msg;

	if (!q) {
		json_decref(params);
		refuse_all(to, fn, arg);
		return;
	}
	msg = json_pack("{s:s, s:I, s:s, s:o}", "jsonrpc", "2.0", "id", q->id,
			"method", method, "params", params);
	text = msg ? json_dumps(msg, JSON_COMPACT) : NULL;
	json_decref(msg);
	q->busy = true;
	if (text)
		send_request(q, text);
	q->busy = false;
	watch_lives(p);
	if (text)
		end_if_complete(q);
	else
		fail_rest(q, RPC_INTERNAL, "out of memory");
}

static void on_reply(struct peers *p, uint32_t from, const json_t *msg)
{
	const json_t *error = json_object_get(msg, "error");
	const json_t *data = json_object_get(error, "data");
	json_int_t id = json_integer_value(json_object_get(msg, "id"));
	struct rpc_reply reply = { .result = json_object_get(msg, "result") };
	struct request *q;

	if (error || !reply.result)
		reply = (struct rpc_reply){
			.code = (int)json_integer_value(
				json_object_get(error, "code")),
			.message = json_string_value(
				json_object_get(error, "message")),
			.what = json_string_value(
				json_object_get(data, "what")),
			.data = json_is_object(data) ? data : NULL,
		};
	if (!reply.result && (!reply.code || !reply.message)) {
		reply.code = RPC_E_PROTO;
		reply.message = "an answer that is none";
	}
	TAILQ_FOREACH(q, &p->requests, link)
	if (q->id == id)
		break;
	if (!q)
		return; /* it was too late, or came twice */
	take_reply(q, from, &reply);
	end_if_complete(q);
}

/* -- what others ask ------------------------------------------------------- */

/* A rpc_send_fn. */
static int send_text(const char *text, size_t len, void *arg)
{
	struct peer *peer = arg;

	return peers_answer(peer->peers, peer->origin.rank, text, len);
}

static struct peer *peer_get(struct peers *p, uint32_t rank)
{
	struct peer *peer;

	LIST_FOREACH(peer, &p->peers, link)
	if (peer->origin.rank == rank)
		return peer;
	peer = calloc(1, sizeof(*peer));
	if (!peer)
		return NULL;
	peer->peers = p;
	peer->origin = (struct ops_origin){ .ops = p->ops,
					    .who = OPS_TASK,
					    .rank = rank };
	peer->rpc = rpc_new(no_methods, NULL, send_text, peer);
	if (!peer->rpc) {
		free(peer);
		return NULL;
	}
	rpc_set_limit(peer->rpc, PEERS_CALLS);
	rpc_set_handler(peer->rpc, ops_handle, &peer->origin);
	LIST_INSERT_HEAD(&p->peers, peer, link);
	return peer;
}

static void peer_free(struct peer *peer)
{
	LIST_REMOVE(peer, link);
	rpc_free(peer->rpc);
	free(peer);
}

static void on_message(uint32_t from, const char *data, size_t len, void *arg)
{
	struct peers *p = arg;
	struct peer *peer;
	json_t *msg;

	if (len == strlen(PROBE_TEXT) && memcmp(data, PROBE_TEXT, len) == 0)
		return;
	if (len && *data != '{') {
		if (p->other)
			p->other->message(from, data, len, p->other_arg);
		return;
	}
	msg = json_loadb(data, len, JSON_REJECT_DUPLICATES, NULL);
	if (msg && !json_object_get(msg, "method")) {
		on_reply(p, from, msg);
	} else if (msg) {
		peer = peer_get(p, from);
		if (peer)
			rpc_receive(peer->rpc, data, len);
		if (peer && !rpc_open_calls(peer->rpc))
			peer_free(peer);
	}
	json_decref(msg);
}

/* -- signs of life --------------------------------------------------------- */

/* All that waits for @rank ends. */
static void rank_lost(struct peers *p, uint32_t rank, const char *why)
{
	struct request *q, *next;

	for (q = TAILQ_FIRST(&p->requests); q; q = next) {
		next = TAILQ_NEXT(q, link);
		if (q->busy || !is_awaited(q, rank))
			continue;
		q->busy = true;
		fail_one(q, rank, RPC_E_UNREACHABLE, why);
		q->busy = false;
		end_if_complete(q);
		next = TAILQ_FIRST(&p->requests); /* others may be gone, too */
	}
	if (p->other)
		p->other->lost(rank, why, p->other_arg);
}

/* Who has no room is asked already: it does not end what it has. */
static void add_awaited(const struct peers *p, uint32_t rank,
			struct rankset *whom)
{
	if (whom->n < CHUNK && !rankset_has(whom, rank) &&
	    oplink_has_room(p->oplink, rank, 0))
		rankset_add(whom, rank, rank);
}

/* Who has waited for others since before @before_ms. */
static void find_awaited(const struct peers *p, int64_t before_ms,
			 struct rankset *whom)
{
	struct rankset others = { 0 };
	const struct request *q;

	TAILQ_FOREACH(q, &p->requests, link)
	for (uint32_t r = rankset_next(&q->to, 0);
	     q->made_ms <= before_ms && r != UINT32_MAX;
	     r = rankset_next(&q->to, r + 1))
		if (is_awaited(q, r))
			add_awaited(p, r, whom);
	if (p->other)
		p->other->awaited(before_ms, &others, p->other_arg);
	for (uint32_t r = rankset_next(&others, 0); r != UINT32_MAX;
	     r = rankset_next(&others, r + 1))
		add_awaited(p, r, whom);
	rankset_done(&others);
}

static void on_probe(void *arg)
{
	struct peers *p = arg;
	struct rankset whom = { 0 }, all = { 0 };
	uint64_t id;

	p->probes = false;
	find_awaited(p, loop_now_ms() - PEERS_PROBE_MS, &whom);
	if (whom.n)
		oplink_send(p->oplink, &whom, PROBE_TEXT, strlen(PROBE_TEXT),
			    &id);
	rankset_done(&whom);
	if (p->other)
		p->other->awaited(INT64_MAX, &all, p->other_arg);
	if (!TAILQ_EMPTY(&p->requests) || all.n)
		watch_lives(p);
	rankset_done(&all);
}

/* -- how messages end ------------------------------------------------------ */

static void request_ended(struct request *q, uint32_t rank, enum opmsg_end how)
{
	if (how == OPMSG_TAKEN)
		return; /* now it is the other's */
	fail_one(q, rank, how == OPMSG_FULL ? RPC_E_FULL : RPC_E_UNREACHABLE,
		 opmsg_end_text(how));
	end_if_complete(q);
}

static void find_ended(struct peers *p, uint64_t id, uint32_t rank,
		       enum opmsg_end how)
{
	struct request *q;

	TAILQ_FOREACH(q, &p->requests, link)
	if (q->first <= id && id <= q->last) {
		request_ended(q, rank, how);
		return;
	}
	if (peers_answer_ended(p, id, how))
		return;
	if (p->other && p->other->ended(id, rank, how, p->other_arg))
		return;
	if (how == OPMSG_NO_HELPER || how == OPMSG_UNREACHABLE)
		rank_lost(p, rank, opmsg_end_text(how));
}

static void on_ended(uint64_t id, uint32_t rank, enum opmsg_end how, void *arg)
{
	struct peers *p = arg;

	find_ended(p, id, rank, how);
	if (p->other)
		p->other->room(p->other_arg);
}

void peers_set_other(struct peers *p, const struct peers_other *other,
		     void *arg)
{
	p->other = other;
	p->other_arg = arg;
}

void peers_watch(struct peers *p)
{
	watch_lives(p);
}

/* -- life ------------------------------------------------------------------ */

int peers_new(struct loop *l, const struct task *t, const struct spec *s,
	      struct ops *ops, struct peers **ret, struct errmsg *err)
{
	static const struct oplink_ops oplink_ops = { on_message, on_ended };
	struct peers *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return errmsg_set(err, -ENOMEM, "other tasks");
	p->loop = l;
	p->task = t;
	p->spec = s;
	p->ops = ops;
	TAILQ_INIT(&p->requests);
	LIST_INIT(&p->peers);
	r = oplink_new(l, t->rank, t->ranks, &oplink_ops, p, &p->oplink, err);
	if (r == 0)
		r = loop_timer_add(l, -1, on_probe, p, &p->probe);
	if (r == 0)
		r = peers_answers_init(p);
	if (r < 0) {
		peers_free(p);
		return errmsg_set(err, r, "other tasks");
	}
	*ret = p;
	return 0;
}

void peers_end(struct peers *p, const char *why)
{
	struct request *q;

	while ((q = TAILQ_FIRST(&p->requests)))
		fail_rest(q, RPC_E_STATE, why);
}

void peers_free(struct peers *p)
{
	struct peer *peer;
	struct request *q;

	if (!p)
		return;
	while ((q = TAILQ_FIRST(&p->requests)))
		request_free(q);
	while ((peer = LIST_FIRST(&p->peers)))
		peer_free(peer);
	peers_answers_done(p);
	oplink_free(p->oplink);
	loop_timer_free(p->probe);
	free(p);
}

struct oplink *peers_link(struct peers *p)
{
	return p->oplink;
}
