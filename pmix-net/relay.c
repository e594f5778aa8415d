#include <config.h>

#include "relay.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "link_wire.h"
#include "opq.h"

/* A message is in the queue of each place where it goes until that has told
 * how it ended; there is one hop between nodes at the most:
 *
 *   helper --> task's in --> queue of a task here ------------> helper
 *                        \-> queue of a node --> link --> queue of a task there
 *
 * An end goes from the queue in which it was awaited to the message's sender:
 * to its helper, or to its node. What nobody awaits any more is passed over.
 *
 * opq_fail() forgets ends that wait in its queue, also those that it makes
 * itself where a task wrote to itself: the task is gone or the link broke, and
 * who has lost its vmstep-net takes all that it awaited for lost.
 */

#define READS	16 /* a round, so that one helper cannot starve others */
#define TICK_MS 500

static_assert(OPMSG_BATCH <= WIRE_PAYLOAD_MAX, "a link takes a batch");

enum presence { AWAITED, HERE, GONE };

struct task {
	struct relay *relay;
	uint32_t rank;
	enum presence presence;
	int fd; /* -1: none */
	struct loop_io *io;
	struct opmsg_in in;
	struct opq q;
	uint8_t *held; /* a batch that the socket did not take */
	size_t held_len;
	bool due; /* to be sent to when this round of the loop ends */
};

struct place { /* another node */
	struct relay *relay;
	uint32_t node;
	bool up;
	int64_t waits_from_ms; /* for a link, something in q; 0: nothing does */
	struct opmsg_in in;
	struct opq q;
};

struct relay {
	struct relay_env env;
	const struct table *table; /* NULL: all are here */
	uint32_t self;
	bool started;
	struct task *tasks; /* in the order of env.local */
	size_t n_tasks;
	struct place **places; /* by node; NULL: nothing was ever sent */
	struct loop_timer *timer, *flush;
	bool ticks;
	uint8_t *batch; /* OPMSG_BATCH bytes, for one */
};

static const struct opq_limits task_limits = { RELAY_HELPER_MSGS,
					       RELAY_HELPER_BYTES, true,
					       RELAY_PARTS };
static const struct opq_limits node_limits = { RELAY_NODE_MSGS,
					       RELAY_NODE_BYTES, false,
					       RELAY_PARTS };

static struct task *task_of(const struct relay *o, uint32_t rank)
{
	size_t lo = 0, hi = o->n_tasks;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (o->tasks[mid].rank < rank)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < o->n_tasks && o->tasks[lo].rank == rank ? &o->tasks[lo]
							    : NULL;
}

static struct place *place_of(struct relay *o, uint32_t node)
{
	struct place *p = o->places[node];

	if (p)
		return p;
	p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->relay = o;
	p->node = node;
	opq_init(&p->q, &node_limits);
	o->places[node] = p;
	return p;
}

/* -- leaving --------------------------------------------------------------- */

static void watch(struct task *t)
{
	uint32_t events = 0;

	if (t->fd < 0)
		return;
	if (t->relay->started)
		events |= EPOLLIN;
	if (t->held || (opq_has(&t->q) && !t->due))
		events |= EPOLLOUT;
	loop_io_set(t->io, events);
}

/* It has something new: timers run after the round's events. */
static void send_soon(struct task *t)
{
	if (t->fd < 0 || t->held || t->due)
		return;
	t->due = true;
	loop_timer_set(t->relay->flush, 0);
}

static void arm(struct relay *o)
{
	if (o->ticks)
		return;
	o->ticks = true;
	loop_timer_set(o->timer, TICK_MS);
}

/* Its queue has something new. -errno: it cannot get there. */
static int want(struct place *p)
{
	struct relay *o = p->relay;

	if (!p->up && !p->waits_from_ms) {
		p->waits_from_ms = loop_now_ms();
		arm(o);
	}
	return o->env.want(p->node, o->env.arg);
}

/* To who sent the message; whoever is gone need not know. */
static void pass_end(struct relay *o, const struct opmsg_ended *e)
{
	struct task *t = task_of(o, e->src);
	struct place *p;
	uint32_t node;

	if (t) {
		if (t->fd >= 0 && opq_push_end(&t->q, e) == 0)
			send_soon(t);
		return;
	}
	node = o->table ? table_node(o->table, e->src) : TABLE_NONE;
	p = node == TABLE_NONE ? NULL : place_of(o, node);
	if (p && p->up && opq_push_end(&p->q, e) == 0)
		want(p);
}

static void on_failed(const struct opmsg_ended *e, void *arg)
{
	pass_end(arg, e);
}

static void end_all(struct relay *o, const struct opmsg *m,
		    const struct rankset *to, enum opmsg_end how)
{
	struct opmsg_ended e = { m->src, m->id, 0, how };

	for (uint32_t r = rankset_next(to, 0); r != UINT32_MAX;
	     r = rankset_next(to, r + 1)) {
		e.rank = r;
		pass_end(o, &e);
	}
}

static void to_task(struct relay *o, struct opmsg *m, uint32_t rank)
{
	struct rank_range range = { rank, rank };
	const struct rankset to = { &range, 1 };
	struct task *t = task_of(o, rank);
	enum opmsg_end how = OPMSG_FULL;

	if (t->presence == GONE)
		how = OPMSG_NO_HELPER;
	else if (opq_push(&t->q, m, &to) == 0) {
		send_soon(t);
		return;
	}
	end_all(o, m, &to, how);
}

static void to_node(struct relay *o, struct opmsg *m, uint32_t node,
		    const struct rankset *to)
{
	struct place *p = place_of(o, node);
	int r = p ? opq_push(&p->q, m, to) : -ENOMEM;

	if (r < 0)
		end_all(o, m, to, OPMSG_FULL);
	else if (want(p) < 0)
		opq_fail(&p->q, OPQ_NOT_BEGUN, OPMSG_UNREACHABLE, on_failed, o);
}

/* -- from a helper --------------------------------------------------------- */

/* The receivers of one message on one node. */
struct share {
	uint32_t node;
	struct rankset ranks;
};

struct shares {
	struct share *all;
	size_t n;
};

static int shares_add(struct shares *s, uint32_t node, uint32_t rank)
{
	struct share *all;

	for (size_t i = s->n; i > 0; i--)
		if (s->all[i - 1].node == node)
			return rankset_add(&s->all[i - 1].ranks, rank, rank);
	all = realloc(s->all, (s->n + 1) * sizeof(*all));
	if (!all)
		return -ENOMEM;
	s->all = all;
	s->all[s->n++] = (struct share){ .node = node };
	return rankset_add(&s->all[s->n - 1].ranks, rank, rank);
}

static void shares_done(struct shares *s)
{
	for (size_t i = 0; i < s->n; i++)
		rankset_done(&s->all[i].ranks);
	free(s->all);
}

static int from_task(struct opmsg *m, const struct rankset *to,
		     struct errmsg *err, void *arg)
{
	struct task *t = arg;
	struct relay *o = t->relay;
	struct shares s = { 0 };
	int r = 0;

	if (m->src != t->rank || to->ranges[to->n - 1].last >= o->env.nranks)
		return errmsg_say(err, -EPROTO,
				  "a message from or to who there is none");
	for (uint32_t rank = rankset_next(to, 0); rank != UINT32_MAX && r == 0;
	     rank = rankset_next(to, rank + 1))
		if (rankset_has(o->env.local, rank))
			to_task(o, m, rank);
		else if (shares_add(&s, table_node(o->table, rank), rank) < 0)
			r = errmsg_set(err, -ENOMEM, "message");
	for (size_t i = 0; i < s.n && r == 0; i++)
		to_node(o, m, s.all[i].node, &s.all[i].ranks);
	shares_done(&s);
	loop_stay_awake(o->env.loop, OPMSG_AWAKE_US);
	return r;
}

static int ended_by_task(const struct opmsg_ended *e, struct errmsg *err,
			 void *arg)
{
	struct task *t = arg;

	if (e->rank != t->rank)
		return errmsg_say(err, -EPROTO, "another's message has ended");
	if (opq_ended(&t->q, e))
		pass_end(t->relay, e);
	return 0;
}

/* Its socket only: another may follow. What it had not taken is lost. */
static void disconnect(struct task *t, enum opmsg_end how)
{
	if (t->fd >= 0) {
		loop_io_free(t->io);
		close(t->fd);
	}
	t->fd = -1;
	t->io = NULL;
	free(t->held);
	t->held = NULL;
	opmsg_in_reset(&t->in);
	opq_fail(&t->q, OPQ_BEGUN, how, on_failed, t->relay);
}

static bool send_batch(struct task *t, const uint8_t *batch, size_t len)
{
	return send(t->fd, batch, len, MSG_DONTWAIT | MSG_NOSIGNAL) ==
	       (ssize_t)len;
}

/* Other errors than a full socket show in recv(). */
static void hold(struct task *t, const uint8_t *batch, size_t len)
{
	t->held = malloc(len);
	if (!t->held) {
		disconnect(t, OPMSG_LOST);
		return;
	}
	memcpy(t->held, batch, len);
	t->held_len = len;
}

static void send_some(struct task *t)
{
	uint8_t *batch = t->relay->batch;
	size_t len;

	if (t->held && send_batch(t, t->held, t->held_len)) {
		free(t->held);
		t->held = NULL;
	}
	while (!t->held && t->fd >= 0) {
		len = opq_fill(&t->q, batch, OPMSG_BATCH);
		if (!len)
			break;
		if (!send_batch(t, batch, len))
			hold(t, batch, len);
	}
}

static void on_flush(void *arg)
{
	struct relay *o = arg;

	for (size_t i = 0; i < o->n_tasks; i++) {
		struct task *t = &o->tasks[i];

		if (!t->due)
			continue;
		t->due = false;
		if (t->fd >= 0)
			send_some(t);
		watch(t);
	}
}

static const struct opmsg_in_ops task_ops = { from_task, ended_by_task };

static void read_some(struct task *t)
{
	struct relay *o = t->relay;
	struct errmsg err = { "" };
	ssize_t n = 1;

	for (int i = 0; i < READS && n > 0 && t->fd >= 0; i++) {
		n = recv(t->fd, o->batch, OPMSG_BATCH, MSG_DONTWAIT);
		if (n > 0 && opmsg_take(&t->in, o->batch, (size_t)n, &task_ops,
					t, &err) < 0) {
			o->env.refused(t->rank, err.text, o->env.arg);
			n = 0;
		}
	}
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		disconnect(t, OPMSG_LOST);
}

static void on_task(uint32_t events, void *arg)
{
	struct task *t = arg;

	if (events & EPOLLOUT)
		send_some(t);
	if (t->fd >= 0 && (events & ~(uint32_t)EPOLLOUT))
		read_some(t);
	watch(t);
}

int relay_come(struct relay *o, uint32_t rank, int fd)
{
	struct task *t = task_of(o, rank);
	int r;

	disconnect(t, OPMSG_LOST);
	r = loop_io_add(o->env.loop, fd, 0, on_task, t, &t->io);
	if (r < 0) {
		close(fd);
		return r;
	}
	t->fd = fd;
	t->presence = HERE;
	watch(t);
	return 0;
}

void relay_leave(struct relay *o, uint32_t rank)
{
	struct task *t = task_of(o, rank);

	t->presence = GONE;
	disconnect(t, OPMSG_NO_HELPER);
	opq_fail(&t->q, OPQ_ALL, OPMSG_NO_HELPER, on_failed, o);
}

void relay_waited(struct relay *o)
{
	for (size_t i = 0; i < o->n_tasks; i++)
		if (o->tasks[i].presence == AWAITED)
			relay_leave(o, o->tasks[i].rank);
}

/* -- from another node ----------------------------------------------------- */

static int from_node(struct opmsg *m, const struct rankset *to,
		     struct errmsg *err, void *arg)
{
	struct place *p = arg;
	struct relay *o = p->relay;

	if (table_node(o->table, m->src) != p->node)
		return errmsg_say(err, -EPROTO,
				  "it sent a message of another's task");
	for (size_t i = 0; i < to->n; i++)
		if (rankset_next_missing(o->env.local, to->ranges[i].first) <=
		    to->ranges[i].last)
			return errmsg_say(
				err, -EPROTO,
				"it sent a message for another's task");
	for (uint32_t rank = rankset_next(to, 0); rank != UINT32_MAX;
	     rank = rankset_next(to, rank + 1))
		to_task(o, m, rank);
	loop_stay_awake(o->env.loop, OPMSG_AWAKE_US);
	return p->q.n_ends < OPQ_ENDS_MAX
		       ? 0
		       : errmsg_say(err, -EPROTO,
				    "it reads no answers to its messages");
}

static int ended_by_node(const struct opmsg_ended *e, struct errmsg *err,
			 void *arg)
{
	struct place *p = arg;
	struct relay *o = p->relay;

	if (table_node(o->table, e->rank) != p->node)
		return errmsg_say(err, -EPROTO,
				  "it sent the end of another's message");
	if (opq_ended(&p->q, e))
		pass_end(o, e);
	return 0;
}

static const struct opmsg_in_ops node_ops = { from_node, ended_by_node };

int relay_came(struct relay *o, uint32_t node, const uint8_t *batch, size_t len,
	       struct errmsg *err)
{
	struct place *p = o->started ? place_of(o, node) : NULL;

	return p ? opmsg_take(&p->in, batch, len, &node_ops, p, err)
		 : errmsg_set(err, -ENOMEM, "messages between tasks");
}

bool relay_has(const struct relay *o, uint32_t node)
{
	const struct place *p = o->places ? o->places[node] : NULL;

	return p && opq_has(&p->q);
}

size_t relay_fill(struct relay *o, uint32_t node, uint8_t *batch, size_t size)
{
	return relay_has(o, node) ? opq_fill(&o->places[node]->q, batch, size)
				  : 0;
}

void relay_up(struct relay *o, uint32_t node)
{
	struct place *p = o->started ? place_of(o, node) : NULL;

	if (!p)
		return;
	p->up = true;
	p->waits_from_ms = 0;
	if (opq_has(&p->q))
		o->env.want(node, o->env.arg);
}

void relay_closed(struct relay *o, uint32_t node)
{
	struct place *p = o->places ? o->places[node] : NULL;

	if (!p)
		return;
	p->up = false;
	opmsg_in_reset(&p->in);
	if (opq_has(&p->q))
		want(p);
}

void relay_broken(struct relay *o, uint32_t node)
{
	struct place *p = o->places ? o->places[node] : NULL;

	if (!p)
		return;
	p->up = false;
	opmsg_in_reset(&p->in);
	opq_fail(&p->q, OPQ_BEGUN, OPMSG_LOST, on_failed, o);
	if (opq_has(&p->q))
		want(p);
}

void relay_gone(struct relay *o, uint32_t node, bool left)
{
	struct place *p = o->places ? o->places[node] : NULL;

	if (!p)
		return;
	p->up = false;
	p->waits_from_ms = 0;
	opmsg_in_reset(&p->in);
	opq_fail(&p->q, OPQ_BEGUN, left ? OPMSG_NO_HELPER : OPMSG_LOST,
		 on_failed, o);
	opq_fail(&p->q, OPQ_ALL, left ? OPMSG_NO_HELPER : OPMSG_UNREACHABLE,
		 on_failed, o);
}

/* -- time ------------------------------------------------------------------ */

static void on_tick(void *arg)
{
	struct relay *o = arg;
	int64_t now = loop_now_ms();
	bool more = false;

	o->ticks = false;
	for (uint32_t n = 0; n < table_nnodes(o->table); n++) {
		struct place *p = o->places[n];

		if (!p || !p->waits_from_ms)
			continue;
		if (now - p->waits_from_ms < o->env.link_ms) {
			more = true;
			continue;
		}
		p->waits_from_ms = 0;
		opq_fail(&p->q, OPQ_NOT_BEGUN, OPMSG_UNREACHABLE, on_failed, o);
	}
	if (more)
		arm(o);
}

/* -- life ------------------------------------------------------------------ */

int relay_new(const struct relay_env *env, struct relay **ret,
	      struct errmsg *err)
{
	struct relay *o = calloc(1, sizeof(*o));
	uint32_t rank = 0;

	if (!o)
		return errmsg_set(err, -ENOMEM, "messages between tasks");
	o->env = *env;
	o->batch = malloc(OPMSG_BATCH);
	o->tasks = calloc(rankset_count(env->local), sizeof(*o->tasks));
	if (!o->batch || !o->tasks ||
	    loop_timer_add(env->loop, -1, on_tick, o, &o->timer) < 0 ||
	    loop_timer_add(env->loop, -1, on_flush, o, &o->flush) < 0) {
		relay_free(o);
		return errmsg_set(err, -ENOMEM, "messages between tasks");
	}
	while ((rank = rankset_next(env->local, rank)) != UINT32_MAX) {
		struct task *t = &o->tasks[o->n_tasks++];

		t->relay = o;
		t->rank = rank++;
		t->fd = -1;
		opq_init(&t->q, &task_limits);
	}
	*ret = o;
	return 0;
}

int relay_start(struct relay *o, const struct table *t, uint32_t self)
{
	if (t) {
		o->places = calloc(table_nnodes(t), sizeof(struct place *));
		if (!o->places)
			return -ENOMEM;
	}
	o->table = t;
	o->self = self;
	o->started = true;
	for (size_t i = 0; i < o->n_tasks; i++)
		watch(&o->tasks[i]);
	return 0;
}

static void place_free(struct place *p)
{
	if (!p)
		return;
	opmsg_in_reset(&p->in);
	opq_done(&p->q);
	free(p);
}

static void task_free(struct task *t)
{
	if (t->fd >= 0) {
		loop_io_free(t->io);
		close(t->fd);
	}
	free(t->held);
	opmsg_in_reset(&t->in);
	opq_done(&t->q);
}

void relay_free(struct relay *o)
{
	if (!o)
		return;
	for (size_t i = 0; i < o->n_tasks; i++)
		task_free(&o->tasks[i]);
	for (uint32_t n = 0; o->places && n < table_nnodes(o->table); n++)
		place_free(o->places[n]);
	loop_timer_free(o->timer);
	loop_timer_free(o->flush);
	free(o->places);
	free(o->tasks);
	free(o->batch);
	free(o);
}
