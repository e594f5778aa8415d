#include <config.h>

#include "lanes.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "offload.h"
#include "outq.h"

#define LOW_BYTES (OUTQ_BYTES / 2)

struct lane {
	struct outlet out;
	struct counters counts;
	struct batches batches;
	struct lanes *all;
	uint32_t node;
	struct round_job came;
	struct outq q; /* this and what follows: under the outlet's lock */
	bool was_full; /* someone may wait for room */
};

struct lanes {
	struct lanes_conf conf;
	struct flow *flow;	  /* worker 0's; borrowed */
	struct round *round;	  /* the same */
	unsigned int others;	  /* workers besides 0 */
	unsigned int turn;	  /* of these: whose batch is taken next */
	_Atomic(uint8_t) *states; /* by node: enum lanes_state */
	/* By node, each with a place for each of the others, which makes it. */
	_Atomic(struct lane *) lanes[];
};

/* The last nodes' place is LANES_CRIES'. */
static _Atomic(struct lane *) *place(struct lanes *ls, uint32_t node,
				     unsigned int other)
{
	if (node == LANES_CRIES)
		node = ls->conf.nnodes;
	return &ls->lanes[(size_t)node * ls->others + other];
}

static struct lane *find(const struct lanes *ls, uint32_t node,
			 unsigned int other)
{
	/* acquire: pairs with the release of its maker, in lanes_outlet() */
	return atomic_load_explicit(place((struct lanes *)ls, node, other),
				    memory_order_acquire);
}

/* Relaxed: who has just missed a change is let go after it. */
static enum lanes_state state_of(struct lanes *ls, uint32_t node)
{
	if (node == LANES_CRIES)
		return LANES_OPEN;
	return atomic_load_explicit(&ls->states[node], memory_order_relaxed);
}

/* -- frames come ----------------------------------------------------------- */

static struct lane *of_outlet(struct outlet *out)
{
	return (struct lane *)((char *)out - offsetof(struct lane, out));
}

static int lane_send(struct outlet *out, const struct packet *p)
{
	struct lane *l = of_outlet(out);
	int r = outq_frame(&l->q, p);

	if (r == -EAGAIN && state_of(l->all, l->node) != LANES_OPEN)
		return -ENOTCONN; /* who knows for how long */
	if (r < 0)
		l->was_full = true;
	return r;
}

static void lane_flush(struct outlet *out)
{
	struct lane *l = of_outlet(out);

	round_post(l->all->round, &l->came);
}

static void on_came(struct round_job *job)
{
	struct lane *l =
		(struct lane *)((char *)job - offsetof(struct lane, came));

	l->all->conf.came(l->node, l->all->conf.arg);
}

static struct lane *lane_new(struct lanes *ls, uint32_t node)
{
	struct lane *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->all = ls;
	l->node = node;
	l->came.fn = on_came;
	l->q.pool = ls->conf.pool;
	l->q.batches = &l->batches;
	l->out = (struct outlet){ lane_send, &l->counts, FLOW_LINK_MS,
				  OFFLOAD_ALL };
	l->out.flush = lane_flush;
	flow_outlet(ls->flow, &l->out);
	return l;
}

struct outlet *lanes_outlet(struct lanes *ls, unsigned int worker,
			    uint32_t node)
{
	struct lane *l = find(ls, node, worker - 1);

	assert(worker >= 1 && worker <= ls->others);
	if (!l) {
		l = lane_new(ls, node);
		/* release: it is whole when worker 0 finds it */
		atomic_store_explicit(place(ls, node, worker - 1), l,
				      memory_order_release);
	}
	return l && state_of(ls, node) != LANES_SHUT ? &l->out : NULL;
}

/* -- batches go ------------------------------------------------------------ */

/* With the lock. */
static void let_go(struct lane *l)
{
	if (!l->was_full)
		return;
	l->was_full = false;
	flow_drained(l->all->flow, &l->out);
}

static struct buf *lane_take(struct lane *l)
{
	struct buf *b;

	outlet_lock(&l->out);
	b = outq_take(&l->q);
	if (l->q.bytes <= LOW_BYTES)
		let_go(l);
	outlet_unlock(&l->out);
	return b;
}

struct buf *lanes_take(struct lanes *ls, uint32_t node)
{
	for (unsigned int i = 0; i < ls->others; i++) {
		unsigned int other = (ls->turn + i) % ls->others;
		struct lane *l = find(ls, node, other);
		struct buf *b = l ? lane_take(l) : NULL;

		if (b) {
			ls->turn = other + 1;
			return b;
		}
	}
	return NULL;
}

static bool lane_has(struct lane *l)
{
	bool has;

	outlet_lock(&l->out);
	has = l->q.frames.head != NULL;
	outlet_unlock(&l->out);
	return has;
}

bool lanes_has(const struct lanes *ls, uint32_t node)
{
	for (unsigned int i = 0; i < ls->others; i++) {
		struct lane *l = find(ls, node, i);

		if (l && lane_has(l))
			return true;
	}
	return false;
}

void lanes_lose(struct lanes *ls, uint32_t node)
{
	for (unsigned int i = 0; i < ls->others; i++) {
		struct lane *l = find(ls, node, i);

		if (!l)
			continue;
		outlet_lock(&l->out);
		l->counts.n[COUNT_NODE_GONE] += outq_lose_frames(&l->q);
		let_go(l);
		outlet_unlock(&l->out);
	}
}

void lanes_set(struct lanes *ls, uint32_t node, enum lanes_state state)
{
	atomic_store_explicit(&ls->states[node], state, memory_order_relaxed);
	if (state == LANES_OPEN)
		return;
	for (unsigned int i = 0; i < ls->others; i++) {
		struct lane *l = find(ls, node, i);

		if (!l)
			continue;
		outlet_lock(&l->out);
		let_go(l);
		outlet_unlock(&l->out);
	}
}

static void add_batches(struct batches *sum, const struct batches *b)
{
	for (int i = 0; i < BATCHES_FRAMES; i++)
		sum->frames[i] += b->frames[i];
	for (int i = 0; i < BATCHES_BYTES; i++)
		sum->bytes[i] += b->bytes[i];
}

void lanes_count(const struct lanes *ls, uint32_t node, struct counters *counts,
		 struct batches *batches, uint64_t *queued)
{
	for (unsigned int i = 0; i < ls->others; i++) {
		const struct lane *l = find(ls, node, i);

		if (!l)
			continue;
		for (int c = 0; c < COUNT_N; c++)
			counts->n[c] += l->counts.n[c];
		add_batches(batches, &l->batches);
		*queued += l->q.bytes;
	}
}

/* -- life ------------------------------------------------------------------ */

struct lanes *lanes_new(const struct lanes_conf *conf)
{
	unsigned int others = conf->workers ? workers_n(conf->workers) - 1 : 0;
	size_t n = ((size_t)conf->nnodes + 1) * others;
	struct lanes *ls = calloc(1, sizeof(*ls) + n * sizeof(ls->lanes[0]));

	if (ls)
		ls->states = calloc(conf->nnodes + 1, sizeof(ls->states[0]));
	if (!ls || !ls->states) {
		free(ls);
		return NULL;
	}
	ls->conf = *conf;
	ls->others = others;
	if (others) {
		ls->flow = workers_get(conf->workers, 0)->flow;
		ls->round = workers_get(conf->workers, 0)->round;
	}
	return ls;
}

static void lane_free(struct lane *l)
{
	if (!l)
		return;
	flow_forget_outlet(l->all->flow, &l->out);
	round_forget(l->all->round, &l->came);
	outq_done(&l->q);
	lock_done(&l->out.lock);
	free(l);
}

void lanes_free(struct lanes *ls)
{
	if (!ls)
		return;
	for (size_t i = 0; i < ((size_t)ls->conf.nnodes + 1) * ls->others; i++)
		lane_free(ls->lanes[i]);
	free(ls->states);
	free(ls);
}
