#include <config.h>

#include "census.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "roll.h"

#define NOBODY UINT32_MAX

/* What passes between us and a node that there is a link to. */
struct edge {
	bool child;    /* it tells us states: to it we are the parent */
	bool greeted;  /* it got everything once, even if that was nothing */
	bool said_bye; /* we did: nothing may follow */
	struct roll known; /* what that node has from us, or we from it */
};

struct census {
	struct census_ops ops;
	void *arg;
	uint32_t nranks, nnodes, self; /* nnodes 0: not started */
	int grace_ms;
	struct roll roll;
	struct roll recorded;	 /* what ops.record() has had */
	struct rankset settled;	 /* nodes that left, their children told */
	struct rankset without;	 /* nodes whose ranks count as failed */
	struct edge **edges;	 /* by node; NULL: no link */
	unsigned int told_flags; /* what our tasks were told */
	bool told_lost;
	uint32_t grace_for; /* the missing node that the timer runs for */
	bool leaving, handed_over;
};

static void soon(struct census *c)
{
	c->ops.soon(c->arg);
}

static void edge_remove(struct census *c, uint32_t node)
{
	struct edge *e = c->edges[node];

	if (!e)
		return;
	c->edges[node] = NULL;
	roll_done(&e->known);
	free(e);
}

static bool all_done(const struct census *c)
{
	return c->roll.flags & ROLL_ALL_DONE;
}

static bool is_final(const struct census *c)
{
	return c->roll.lost.text[0] || all_done(c);
}

/* -- the tree ------------------------------------------------------------- */

static bool lives(const struct census *c, uint32_t node)
{
	if (rankset_has(&c->roll.sets[ROLL_GONE], node))
		return false;
	return node == c->self || c->edges[node] ||
	       !rankset_has(&c->roll.sets[ROLL_MISSING], node);
}

/* Someone that lives, or left with nothing more to be done for its children. */
static bool is_parent(const struct census *c, uint32_t node)
{
	return lives(c, node) || rankset_has(&c->settled, node);
}

static uint32_t lowest_living(const struct census *c, uint32_t from)
{
	while (from < c->nnodes && !lives(c, from))
		from++;
	return from < c->nnodes ? from : NOBODY;
}

static uint32_t parent_of(const struct census *c, uint32_t node)
{
	uint32_t n = node;

	while (n > 0) {
		n = (n - 1) / CENSUS_FANOUT;
		if (is_parent(c, n))
			return n;
	}
	n = lowest_living(c, 0);
	return n < node ? n : NOBODY;
}

static bool is_neighbour(const struct census *c, uint32_t node)
{
	const struct edge *e = c->edges[node];

	return e && (e->child || parent_of(c, c->self) == node);
}

/* Neighbours are few, and so are nodes with a link. */
void census_spread(const struct census *c, uint32_t from, census_node_fn fn,
		   void *arg)
{
	for (uint32_t n = 0; n < c->nnodes; n++)
		if (n != from && c->edges[n] && is_neighbour(c, n))
			fn(n, arg);
}

uint32_t census_toward(const struct census *c, uint32_t node)
{
	uint32_t up;

	if (node >= c->nnodes || node == c->self)
		return NOBODY;
	while ((up = parent_of(c, node)) != NOBODY && up != c->self)
		node = up;
	if (up == c->self)
		return is_neighbour(c, node) ? node : NOBODY;
	return parent_of(c, c->self);
}

bool census_needs(const struct census *c, uint32_t node)
{
	return is_neighbour(c, node) ||
	       rankset_has(&c->roll.sets[ROLL_MISSING], node);
}

/* Who takes over what a leaving node knows; NOBODY: no one is left. */
static uint32_t find_heir(const struct census *c)
{
	uint32_t parent = parent_of(c, c->self);

	if (parent != NOBODY && lives(c, parent))
		return parent;
	parent = lowest_living(c, 0);
	return parent < c->self ? parent : lowest_living(c, c->self + 1);
}

/* The next node from @from on that should have come to us and has not. */
static uint32_t next_missed(const struct census *c, uint32_t from)
{
	for (uint32_t n = from; n < c->nnodes; n++)
		if (n > c->self && !c->edges[n] && lives(c, n) &&
		    parent_of(c, n) == c->self)
			return n;
	return NOBODY;
}

static void look_for_children(struct census *c)
{
	uint32_t n = 0;

	while ((n = next_missed(c, n)) != NOBODY)
		c->ops.reach(n++, c->arg);
}

/* The tree has changed, and children may be on their way. */
static void await_children(struct census *c)
{
	c->ops.timer(CENSUS_CHILD, CENSUS_CHILD_MS, c->arg);
}

/* -- what the root decides ------------------------------------------------ */

/* It left, or it is not needed any more, or it is known better here. */
static bool is_accounted(const struct census *c, uint32_t node)
{
	if (rankset_has(&c->roll.sets[ROLL_GONE], node) ||
	    rankset_has(&c->without, node))
		return true;
	return (c->roll.flags & ROLL_ALL_READY) &&
	       (node == c->self || c->edges[node]);
}

static uint32_t first_unaccounted(const struct census *c)
{
	const struct rankset *missing = &c->roll.sets[ROLL_MISSING];
	uint32_t n = 0;

	while ((n = rankset_next(missing, n)) < c->nnodes) {
		if (!is_accounted(c, n))
			return n;
		n++;
	}
	return NOBODY;
}

static void watch_missing(struct census *c)
{
	uint32_t node = is_final(c) ? NOBODY : first_unaccounted(c);

	if (node == c->grace_for)
		return;
	c->grace_for = node;
	c->ops.timer(CENSUS_GRACE, node == NOBODY ? -1 : c->grace_ms, c->arg);
	if (node != NOBODY && (c->roll.flags & ROLL_ALL_READY))
		c->ops.reach(node, c->arg);
}

static void decide(struct census *c)
{
	const struct rankset *sets = c->roll.sets;
	uint32_t failed = rankset_next(&sets[ROLL_FAILED], 0);

	watch_missing(c);
	if (failed != UINT32_MAX && !(c->roll.flags & ROLL_ALL_READY))
		roll_say(&c->roll.lost, failed, c->roll.why.text);
	else if (roll_covers(&sets[ROLL_READY], &sets[ROLL_DONE], c->nranks))
		c->roll.flags |= ROLL_ALL_READY;
	if (roll_covers(&sets[ROLL_DONE], &sets[ROLL_FAILED], c->nranks))
		c->roll.flags |= ROLL_ALL_DONE;
}

static void lose_step(struct census *c, uint32_t node)
{
	char who[160], text[256];

	c->ops.node_text(node, who, sizeof(who), c->arg);
	snprintf(
		text, sizeof(text),
		"%s: the network between the step's nodes broke: it cannot be reached",
		who);
	roll_say(&c->roll.lost, ROLL_NO_RANK, text);
}

/* Without memory it is tried again after another grace. */
static void go_without(struct census *c, uint32_t node)
{
	struct rankset ranks = { 0 };

	if (c->ops.without(node, &ranks, c->arg) == 0 &&
	    rankset_merge(&c->roll.sets[ROLL_FAILED], &ranks) == 0)
		rankset_add(&c->without, node, node);
	rankset_done(&ranks);
}

static void grace_is_over(struct census *c)
{
	uint32_t node = c->grace_for;

	c->grace_for = NOBODY; /* watch_missing() looks for the next */
	if (node == NOBODY || node != first_unaccounted(c))
		return;
	if (c->roll.flags & ROLL_ALL_READY)
		go_without(c, node);
	else
		lose_step(c, node);
}

void census_timeout(struct census *c, enum census_timer which)
{
	if (which == CENSUS_GRACE)
		grace_is_over(c);
	else if (!c->leaving && !is_final(c))
		look_for_children(c);
	soon(c);
}

/* -- telling -------------------------------------------------------------- */

static void tell_tasks(struct census *c)
{
	static const struct {
		unsigned int flag;
		enum netctl_state state;
	} flags[] = { { ROLL_ALL_READY, NETCTL_READY },
		      { ROLL_ALL_DONE, NETCTL_DONE } };

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		if (!(c->roll.flags & ~c->told_flags & flags[i].flag))
			continue;
		c->told_flags |= flags[i].flag;
		c->ops.all(flags[i].state, c->arg);
	}
	if (c->roll.lost.text[0] && !c->told_lost) {
		c->told_lost = true;
		c->ops.lost(c->roll.lost.rank, c->roll.lost.text, c->arg);
		look_for_children(c); /* they shall not wait for nothing */
	}
}

struct telling {
	struct census *c;
	uint32_t node;
	bool any;
};

static int tell_text(const char *text, size_t len, void *arg)
{
	struct telling *t = arg;

	t->any = true;
	return t->c->ops.send_state(t->node, text, len, t->c->arg);
}

/* The parent gets everything, and something even if there is nothing, so that
 * it knows its child; a child gets everything once, and then what happens.
 * What ends the step is for everyone. */
static void tell_edge(struct census *c, uint32_t node, bool to_parent)
{
	struct telling t = { c, node };
	struct edge *e = c->edges[node];
	bool full = to_parent || (e->child && (!e->greeted || c->leaving));

	if (roll_tell(&c->roll, &e->known,
		      full ? ROLL_EVERYTHING : ROLL_EVENTS_ONLY, tell_text,
		      &t) < 0)
		return; /* out of memory: with the next news, then */
	if (to_parent && !e->greeted && !t.any)
		tell_text("", 0, &t);
	e->greeted = true;
}

static void tell_edges(struct census *c, uint32_t parent)
{
	for (uint32_t n = 0; n < c->nnodes; n++) {
		const struct edge *e = c->edges[n];

		if (e && !e->said_bye &&
		    (e->child || n == parent || is_final(c)))
			tell_edge(c, n, n == parent);
	}
}

static int record_text(const char *text, size_t len, void *arg)
{
	struct census *c = arg;

	return c->ops.record(text, len, c->arg);
}

/* What fails is in the next text. */
static void record(struct census *c)
{
	roll_tell(&c->roll, &c->recorded, ROLL_EVERYTHING, record_text, c);
}

/* -- leaving -------------------------------------------------------------- */

/* Who leaves decides nothing any more: its heir would not know. It may go when
 * one that stays has ACKed all it knew; or, when all is done, as soon as its
 * children have that news, since nobody waits for any other.
 */

static bool may_go(const struct census *c)
{
	return all_done(c) && next_missed(c, 0) == NOBODY;
}

/* BYE is said to everyone now, and nothing may follow it. */
static void over(struct census *c)
{
	c->handed_over = true;
	c->ops.handed_over(c->nnodes && may_go(c), c->arg);
}

static void hand_over(struct census *c, uint32_t heir)
{
	struct edge *e = heir == NOBODY ? NULL : c->edges[heir];

	if (heir == NOBODY || may_go(c)) {
		over(c);
	} else if (e && !e->said_bye) { /* it was told everything just now */
		e->said_bye = true;
		c->ops.send_bye(heir, false, c->arg);
	}
}

void census_leave(struct census *c)
{
	c->leaving = true;
	soon(c);
}

void census_ack(struct census *c, uint32_t node)
{
	if (c->leaving && !c->handed_over)
		over(c);
}

/* -- events --------------------------------------------------------------- */

void census_sync(struct census *c)
{
	uint32_t up;

	if (c->handed_over)
		return;
	if (!c->nnodes) {
		record(c);
		if (c->leaving)
			over(c);
		return;
	}
	up = c->leaving ? find_heir(c) : parent_of(c, c->self);
	if (up == NOBODY && !c->leaving)
		decide(c);
	record(c);
	tell_tasks(c);
	if (up != NOBODY && !c->edges[up] && !may_go(c) && lives(c, up))
		c->ops.reach(up, c->arg);
	tell_edges(c, up);
	if (c->leaving)
		hand_over(c, up);
}

int census_start(struct census *c, uint32_t self, uint32_t nnodes)
{
	c->edges = calloc(nnodes, sizeof(*c->edges));
	if (!c->edges)
		return -ENOMEM;
	c->self = self;
	c->nnodes = nnodes;
	await_children(c);
	soon(c);
	return 0;
}

int census_restore(struct census *c, const char *text, size_t len,
		   struct errmsg *err)
{
	const struct roll_limits limits = { c->nranks, c->nnodes };
	struct roll old = { 0 };
	int r;

	r = roll_parse(&old, text, len, &limits, err);
	if (roll_merge(&c->roll, &old) < 0 ||
	    roll_merge(&c->recorded, &old) < 0)
		r = errmsg_set(err, -ENOMEM, "record of the step");
	roll_done(&old);
	soon(c);
	return r;
}

int census_state(struct census *c, uint32_t rank, enum netctl_state state,
		 const char *why)
{
	static const enum roll_set sets[] = {
		[NETCTL_READY] = ROLL_READY,
		[NETCTL_DONE] = ROLL_DONE,
		[NETCTL_FAILED] = ROLL_FAILED,
	};

	if (state == NETCTL_FAILED &&
	    rankset_has(&c->roll.sets[ROLL_DONE], rank))
		return 0;
	if (state == NETCTL_FAILED)
		roll_say(&c->roll.why, rank, why);
	soon(c);
	return roll_add(&c->roll, sets[state], rank);
}

void census_up(struct census *c, uint32_t node)
{
	if (!c->edges[node])
		c->edges[node] = calloc(1, sizeof(struct edge));
	soon(c);
}

int census_recv(struct census *c, uint32_t node, const char *text, size_t len,
		struct errmsg *err)
{
	const struct roll_limits limits = { c->nranks, c->nnodes };
	struct edge *e = c->edges[node];
	struct roll news = { 0 };
	int r;

	if (!e)
		return errmsg_say(err, -EPROTO,
				  "it sent a state after its BYE");
	r = roll_parse(&news, text, len, &limits, err);
	if (r == 0)
		r = roll_merge(&c->roll, &news);
	if (r == 0)
		r = roll_merge(&e->known, &news);
	roll_done(&news);
	e->child = true;
	soon(c);
	return r;
}

int census_bye(struct census *c, uint32_t node, bool all_done_there)
{
	if (!c->edges[node])
		return 0; /* one BYE is answered, not any number */
	/* Who leaves itself answers for nothing: its own BYE is the reply. */
	if (!c->leaving)
		c->ops.send_ack(node, c->arg);
	if (all_done_there && rankset_add(&c->settled, node, node) < 0)
		return -ENOMEM;
	edge_remove(c, node);
	await_children(c);
	soon(c);
	return roll_add(&c->roll, ROLL_GONE, node);
}

void census_broken(struct census *c, uint32_t node)
{
	edge_remove(c, node);
	soon(c);
}

void census_unreachable(struct census *c, uint32_t node)
{
	edge_remove(c, node);
	roll_add(&c->roll, ROLL_MISSING, node);
	await_children(c);
	soon(c);
}

/* -- life ----------------------------------------------------------------- */

int census_new(uint32_t nranks, int grace_ms, const struct census_ops *ops,
	       void *arg, struct census **ret, struct errmsg *err)
{
	struct census *c = calloc(1, sizeof(*c));

	if (!c)
		return errmsg_set(err, -ENOMEM, "states of the step");
	c->ops = *ops;
	c->arg = arg;
	c->nranks = nranks;
	c->grace_ms = grace_ms;
	c->grace_for = NOBODY;
	*ret = c;
	return 0;
}

void census_free(struct census *c)
{
	if (!c)
		return;
	for (uint32_t n = 0; n < c->nnodes; n++)
		edge_remove(c, n);
	free(c->edges);
	roll_done(&c->roll);
	roll_done(&c->recorded);
	rankset_done(&c->settled);
	rankset_done(&c->without);
	free(c);
}
