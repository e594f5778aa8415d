#include <config.h>

#include "op_msg.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "mux.h"
#include "param.h"
#include "queue.h"

static_assert(QUEUE_ANSWER_MAX + 4096 <= MUX_CTRL_MAX,
	      "an answer goes into a guest");

struct op_msg {
	struct loop *loop;
	const struct task *task;
	struct op_event *events;
	struct queue *queues;
	size_t n;
};

static const struct queue_conf defaults = { QUEUE_DEPTH, QUEUE_BYTES,
					    QUEUE_REJECT };

static void say(struct op_msg *m, const char *kind, const char *name)
{
	op_event_say(m->events, kind, json_pack("{s:s}", "queue", name));
}

/* -- queues by name -------------------------------------------------------- */

static void bad(struct rpc_call *call, const struct errmsg *err)
{
	rpc_fail(call, RPC_INVALID_PARAMS, err->text);
}

static int take_name(const json_t *params, char **ret, struct errmsg *err)
{
	int r = param_text(params, "queue", ret, err);

	if (r == 0 && !*ret)
		*ret = strdup("default");
	if (r == 0 && !*ret)
		return errmsg_set(err, -ENOMEM, "queue");
	if (r == 0 && (!**ret || strlen(*ret) >= QUEUE_NAME_MAX))
		return errmsg_say(err, -EINVAL,
				  "queue: a name of 1 to %d bytes",
				  QUEUE_NAME_MAX - 1);
	return r;
}

static struct queue *find(const struct op_msg *m, const char *name)
{
	struct queue *q = m->queues;

	while (q && strcmp(queue_name(q), name) != 0)
		q = queue_next(q);
	return q;
}

/* NULL: @call is answered. */
static struct queue *make(struct op_msg *m, struct rpc_call *call,
			  const char *name, const struct queue_conf *conf)
{
	struct queue *q =
		m->n < OP_MSG_QUEUES ? queue_new(m->loop, name, conf) : NULL;

	if (!q) {
		rpc_failf(call, RPC_E_FULL, "this task has %zu queues", m->n);
		return NULL;
	}
	queue_link(q, &m->queues);
	m->n++;
	say(m, "queue.open", name);
	return q;
}

/* The one that @params name; with @may_make it is made where it is not. */
static struct queue *get(struct op_msg *m, struct rpc_call *call,
			 const json_t *params, bool may_make)
{
	_cleanup_free_ char *name = NULL;
	struct errmsg err;
	struct queue *q;

	if (take_name(params, &name, &err) < 0) {
		bad(call, &err);
		return NULL;
	}
	q = find(m, name);
	if (!q && may_make)
		return make(m, call, name, &defaults);
	if (!q)
		rpc_failf(call, RPC_E_NOENT, "no queue '%s'", name);
	return q;
}

/* -- msg.* ----------------------------------------------------------------- */

static size_t all_bytes(const struct op_msg *m)
{
	size_t n = 0;

	for (const struct queue *q = m->queues; q; q = queue_next(q))
		n += queue_bytes(q);
	return n;
}

static int take_text(const json_t *params, const char *name, char **ret,
		     struct errmsg *err)
{
	int r = param_text(params, name, ret, err);

	if (r == 0 && *ret && strlen(*ret) > QUEUE_REF_MAX)
		r = errmsg_say(err, -EINVAL, "%s: more than %d bytes", name,
			       QUEUE_REF_MAX);
	return r;
}

/* How it will be written: json_dumps() of an answer does so, too. */
#define AS_SENT (JSON_COMPACT | JSON_ENCODE_ANY | JSON_ENSURE_ASCII)

static size_t json_bytes(const json_t *v)
{
	return v ? json_dumpb(v, NULL, 0, AS_SENT) : 0;
}

/* What one request puts into a queue. */
struct sent {
	struct queue_msg *msgs; /* NULL: taken */
	size_t n, bytes, longest;
};

static void sent_done(struct sent *s)
{
	for (size_t i = 0; s->msgs && i < s->n; i++) {
		free(s->msgs[i].data);
		free(s->msgs[i].ref);
		free(s->msgs[i].reply_to);
	}
	free(s->msgs);
}

/* The data of each; NULL: it is one message. */
static int take_each(const json_t *params, const json_t **ret,
		     struct errmsg *err)
{
	const json_t *data = json_object_get(params, "data");
	size_t n = json_array_size(data);
	bool each = false;
	int r = param_bool(params, "each", &each, err);

	if (r == 0 && !data)
		r = errmsg_say(err, -EINVAL, "data: what is to be sent?");
	if (r == 0 && each && (!n || n > OP_MSG_EACH))
		r = errmsg_say(err, -EINVAL,
			       "data: with each, an array of 1 to %d messages",
			       OP_MSG_EACH);
	*ret = each ? data : NULL;
	return r;
}

static int take_message(const json_t *params, const json_t *data,
			struct queue_msg *msg, struct errmsg *err)
{
	int r = take_text(params, "ref", &msg->ref, err);

	if (r == 0)
		r = take_text(params, "reply_to", &msg->reply_to, err);
	if (r == 0)
		msg->data = json_dumps(data, AS_SENT);
	if (r == 0 && !msg->data)
		r = errmsg_set(err, -ENOMEM, "data");
	return r;
}

/* What of @params are messages. */
static int take_messages(const json_t *params, uint32_t from, struct sent *s,
			 struct errmsg *err)
{
	size_t more = json_bytes(json_object_get(params, "ref")) +
		      json_bytes(json_object_get(params, "reply_to"));
	const json_t *each;
	int r = take_each(params, &each, err);

	if (r < 0)
		return r;
	s->n = each ? json_array_size(each) : 1;
	s->msgs = calloc(s->n, sizeof(*s->msgs));
	if (!s->msgs)
		return errmsg_set(err, -ENOMEM, "data");
	for (size_t i = 0; i < s->n && r == 0; i++) {
		struct queue_msg *msg = &s->msgs[i];
		size_t len;

		r = take_message(params,
				 each ? json_array_get(each, i)
				      : json_object_get(params, "data"),
				 msg, err);
		len = r == 0 ? strlen(msg->data) : 0;
		msg->from = from;
		msg->bytes = len + more;
		s->bytes += msg->bytes;
		s->longest = len > s->longest ? len : s->longest;
	}
	return r;
}

/* True: @call is answered. */
static bool refuse(struct op_msg *m, struct rpc_call *call,
		   const struct sent *s)
{
	if (s->longest > QUEUE_DATA_MAX)
		rpc_fail(call, RPC_E_TOOBIG, "data: more than 1 MiB");
	else if (all_bytes(m) + s->bytes > OP_MSG_BYTES)
		rpc_fail(call, RPC_E_FULL, "the queues of this task are full");
	else
		return false;
	return true;
}

static void msg_send(struct rpc_call *call, const json_t *params, void *arg)
{
	static const char *const waits[] = { "queued", "taken", "none", NULL };
	static const char *const fulls[] = { "refuse", "wait", NULL };
	_cleanup_(sent_done) struct sent s = { 0 };
	struct op_msg *m = arg;
	int wait = 0, full = 0, r;
	struct errmsg err;
	struct queue *q;

	r = take_messages(params, ops_rank(call, m->task->rank), &s, &err);
	if (r == 0)
		r = param_word(params, "wait", waits, &wait, &err);
	if (r == 0)
		r = param_word(params, "full", fulls, &full, &err);
	if (r == -ENOMEM)
		rpc_fail(call, RPC_INTERNAL, "out of memory");
	else if (r < 0)
		bad(call, &err);
	q = r < 0 ? NULL : get(m, call, params, true);
	if (!q || refuse(m, call, &s))
		return;
	queue_put(q, call, TAKE_PTR(s.msgs), s.n,
		  (struct queue_how){ .until_taken = wait == 1,
				      .may_wait = full == 1 });
	if (queue_overflowed(q))
		say(m, "queue.full", queue_name(q));
}

static void take(struct op_msg *m, struct rpc_call *call, const json_t *params,
		 bool peek)
{
	struct queue_want want = { .from = -1, .peek = peek };
	int64_t count = 1, most = QUEUE_ANSWER_MAX;
	struct errmsg err;
	struct queue *q;
	int r;

	r = param_int(params, "count", 1, QUEUE_DEPTH_MAX, &count, &err);
	if (r == 0)
		r = param_int(params, "max_bytes", 1, most, &most, &err);
	if (r == 0)
		r = param_int(params, "wait_ms", -1, INT32_MAX, &want.wait_ms,
			      &err);
	if (r == 0)
		r = param_int(params, "from", 0, RANK_MAX, &want.from, &err);
	if (r == 0)
		r = param_text(params, "ref", &want.ref, &err);
	if (r < 0) {
		free(want.ref);
		bad(call, &err);
		return;
	}
	want.count = (size_t)count;
	want.max_bytes = (size_t)most;
	q = get(m, call, params, true);
	if (q)
		queue_take(q, call, &want);
	else
		free(want.ref);
}

static void msg_recv(struct rpc_call *call, const json_t *params, void *arg)
{
	take(arg, call, params, false);
}

static void msg_peek(struct rpc_call *call, const json_t *params, void *arg)
{
	take(arg, call, params, true);
}

/* -- queue.* --------------------------------------------------------------- */

static void queue_open(struct rpc_call *call, const json_t *params, void *arg)
{
	struct op_msg *m = arg;
	_cleanup_free_ char *name = NULL;
	int64_t depth = QUEUE_DEPTH, bytes = QUEUE_BYTES;
	struct queue_conf conf;
	struct errmsg err;
	struct queue *q;
	int policy = QUEUE_REJECT, r;

	r = take_name(params, &name, &err);
	if (r == 0)
		r = param_int(params, "depth", 1, QUEUE_DEPTH_MAX, &depth,
			      &err);
	if (r == 0)
		r = param_int(params, "bytes", 1, QUEUE_BYTES_MAX, &bytes,
			      &err);
	if (r == 0)
		r = param_word(params, "policy", queue_policies, &policy, &err);
	if (r < 0) {
		bad(call, &err);
		return;
	}
	if (find(m, name)) {
		rpc_failf(call, RPC_E_EXIST, "there is a queue '%s'", name);
		return;
	}
	conf = (struct queue_conf){ (size_t)depth, (size_t)bytes,
				    (enum queue_policy)policy };
	q = make(m, call, name, &conf);
	if (q)
		rpc_result(call, queue_stat(q));
}

static void queue_stat_op(struct rpc_call *call, const json_t *params,
			  void *arg)
{
	struct queue *q = get(arg, call, params, false);

	if (q)
		rpc_result(call, queue_stat(q));
}

static void queue_list(struct rpc_call *call, const json_t *params, void *arg)
{
	struct op_msg *m = arg;
	json_t *all = json_array();

	for (const struct queue *q = m->queues; q; q = queue_next(q))
		json_array_append_new(all, queue_stat(q));
	rpc_result(call, all);
}

static void queue_clear_op(struct rpc_call *call, const json_t *params,
			   void *arg)
{
	struct queue *q = get(arg, call, params, false);

	if (!q)
		return;
	say(arg, "queue.clear", queue_name(q));
	rpc_result(call,
		   json_pack("{s:I}", "messages", (json_int_t)queue_clear(q)));
}

static void queue_freeze_op(struct rpc_call *call, const json_t *params,
			    void *arg)
{
	bool frozen = true;
	struct errmsg err;
	struct queue *q;

	if (param_bool(params, "frozen", &frozen, &err) < 0) {
		bad(call, &err);
		return;
	}
	q = get(arg, call, params, false);
	if (!q)
		return;
	queue_freeze(q, frozen);
	say(arg, frozen ? "queue.freeze" : "queue.thaw", queue_name(q));
	rpc_result(call, queue_stat(q));
}

const struct rpc_method op_msg_methods[] = {
	{ "msg.peek", msg_peek },
	{ "msg.recv", msg_recv },
	{ "msg.send", msg_send },
	{ "queue.clear", queue_clear_op },
	{ "queue.freeze", queue_freeze_op },
	{ "queue.list", queue_list },
	{ "queue.open", queue_open },
	{ "queue.stat", queue_stat_op },
	{ 0 },
};

int op_msg_new(struct loop *l, const struct task *t, struct op_event *events,
	       struct ops *ops, struct op_msg **ret)
{
	struct op_msg *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return -ENOMEM;
	m->loop = l;
	m->task = t;
	m->events = events;
	r = ops_add(ops, op_msg_methods, m);
	if (r < 0) {
		free(m);
		return r;
	}
	*ret = m;
	return 0;
}

void op_msg_free(struct op_msg *m)
{
	struct queue *q;

	if (!m)
		return;
	while ((q = m->queues)) {
		m->queues = queue_next(q);
		queue_free(q);
	}
	free(m);
}
