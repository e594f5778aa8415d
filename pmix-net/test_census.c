#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "census.h"

/* A step in one process: up to NODES_MAX nodes whose links are queues. What
 * can happen next, happens in an order that a seed decides; time passes only
 * when nothing else can happen. The rules of the queues are those of mesh.c:
 * messages of one direction stay in order, what was sent before an orderly
 * close arrives, a node that leaves waits until each link has brought an ACK
 * or a BYE; a link that breaks before a BYE is made anew by both ends. */

#define NODES_MAX 60

enum kind { STATE, BYE, BYE_ALL_DONE, ACK };

struct message {
	struct message *next;
	enum kind kind;
	size_t len;
	char text[];
};

struct direction { /* from one node to another */
	struct message *head, **tail;
	bool up;      /* the sender regards the link as up */
	bool closed;  /* the sender has closed it: down after the messages */
	bool bye;     /* the sender said BYE */
	bool dialled; /* the sender has asked for a link */
	bool useless; /* BYE came from there, or it cannot be reached */
};

struct node {
	struct census *c;
	uint32_t id;
	bool started, soon, leaving, handed_over, exited, killed;
	int64_t timers[CENSUS_TIMERS]; /* < 0: not armed */
	bool told_ready, told_done, told_lost;
	char lost[NETCTL_TEXT_LEN];
	unsigned int n_done, n_ready; /* of its ranks */
	char *record;
	size_t record_len;
};

static struct {
	unsigned int seed;
	uint32_t nnodes, per_node;
	struct node nodes[NODES_MAX];
	struct direction dirs[NODES_MAX][NODES_MAX];
	bool linger; /* nodes leave after all are done, not when theirs are */
	bool all_ready, all_done; /* in truth */
	bool lossy;	     /* a node was killed: its tasks need not be done */
	unsigned int breaks; /* so many links are still to break */
} s;

static unsigned int roll_dice(unsigned int sides)
{
	return (unsigned int)rand_r(&s.seed) % sides;
}

/* -- the network ---------------------------------------------------------- */

static void put(uint32_t from, uint32_t to, enum kind kind, const char *text,
		size_t len)
{
	struct direction *d = &s.dirs[from][to];
	struct message *m = malloc(sizeof(*m) + len);

	assert_true(d->up && !d->closed && !d->bye);
	*m = (struct message){ NULL, kind, len };
	memcpy(m->text, text, len);
	*d->tail = m;
	d->tail = &m->next;
	d->bye = kind == BYE || kind == BYE_ALL_DONE;
}

static void empty(struct direction *d)
{
	struct message *m;

	while ((m = d->head)) {
		d->head = m->next;
		free(m);
	}
	d->tail = &d->head;
}

/* @n closes its end: what is on its way to @peer arrives, what @peer sends is
 * lost. */
static void close_end(uint32_t n, uint32_t peer)
{
	s.dirs[n][peer].up = false;
	s.dirs[n][peer].closed = true;
	empty(&s.dirs[peer][n]);
}

static void check_exit(struct node *n)
{
	if (!n->handed_over || n->exited)
		return;
	for (uint32_t i = 0; i < s.nnodes; i++)
		if (s.dirs[n->id][i].up)
			return;
	n->exited = true;
}

static bool accepts(const struct node *n)
{
	return n->started && !n->handed_over && !n->exited;
}

static void try_dial(uint32_t from, uint32_t to)
{
	struct direction *d = &s.dirs[from][to];

	if (s.nodes[to].exited || s.nodes[to].handed_over) {
		d->dialled = false;
		if (!d->useless) {
			d->useless = true;
			census_unreachable(s.nodes[from].c, to);
		}
		return;
	}
	if (!accepts(&s.nodes[to]))
		return; /* not started yet: later */
	d->dialled = s.dirs[to][from].dialled = false;
	if (d->up || d->useless || s.dirs[to][from].useless)
		return;
	d->up = s.dirs[to][from].up = true;
	census_up(s.nodes[from].c, to);
	census_up(s.nodes[to].c, from);
}

static void take(uint32_t from, uint32_t to)
{
	struct direction *d = &s.dirs[from][to], *back = &s.dirs[to][from];
	struct node *n = &s.nodes[to];
	struct message *m = d->head;
	struct errmsg err;

	d->head = m->next;
	if (!d->head)
		d->tail = &d->head;
	if (m->kind == STATE) {
		assert_int_equal(census_recv(n->c, from, m->text, m->len, &err),
				 0);
	} else if (m->kind != ACK) {
		assert_int_equal(
			census_bye(n->c, from, m->kind == BYE_ALL_DONE), 0);
		back->useless = true;
	} else {
		census_ack(n->c, from);
	}
	if (m->kind != STATE && back->bye && back->up)
		close_end(to, from);
	free(m);
	check_exit(n);
}

static void link_down(uint32_t from, uint32_t to)
{
	struct direction *back = &s.dirs[to][from];

	s.dirs[from][to].closed = false;
	if (!back->up)
		return;
	back->up = false;
	empty(back);
	if (!back->useless && !back->bye) {
		back->dialled = true;
		census_broken(s.nodes[to].c, from);
	}
	check_exit(&s.nodes[to]);
}

/* What is on its way is lost, and both ends learn of it. */
static void break_link(uint32_t a, uint32_t b)
{
	struct direction *ab = &s.dirs[a][b], *ba = &s.dirs[b][a];

	if (!ab->up || !ba->up || ab->bye || ba->bye)
		return;
	ab->up = ba->up = false;
	ab->dialled = ba->dialled = true;
	empty(ab);
	empty(ba);
	census_broken(s.nodes[a].c, b);
	census_broken(s.nodes[b].c, a);
}

/* -- what the nodes want -------------------------------------------------- */

static void on_soon(void *arg)
{
	((struct node *)arg)->soon = true;
}

static void on_reach(uint32_t node, void *arg)
{
	struct node *n = arg;
	struct direction *d = &s.dirs[n->id][node];

	if (!d->up && !d->useless)
		d->dialled = true;
}

static int on_send_state(uint32_t node, const char *text, size_t len, void *arg)
{
	put(((struct node *)arg)->id, node, STATE, text, len);
	return 0;
}

static void on_send_ack(uint32_t node, void *arg)
{
	put(((struct node *)arg)->id, node, ACK, "", 0);
}

static void on_send_bye(uint32_t node, bool all_done, void *arg)
{
	put(((struct node *)arg)->id, node, all_done ? BYE_ALL_DONE : BYE, "",
	    0);
}

static void on_timer(enum census_timer which, int64_t ms, void *arg)
{
	((struct node *)arg)->timers[which] = ms;
}

static void on_all(enum netctl_state state, void *arg)
{
	struct node *n = arg;

	if (state == NETCTL_READY) {
		assert_true(s.all_ready && !n->told_ready);
		n->told_ready = true;
	} else {
		assert_true((s.all_done || s.lossy) && !n->told_done);
		n->told_done = true;
	}
}

static void on_lost(uint32_t rank, const char *text, void *arg)
{
	struct node *n = arg;

	assert_false(n->told_lost);
	n->told_lost = true;
	snprintf(n->lost, sizeof(n->lost), "%s", text);
}

static int on_without(uint32_t node, struct rankset *ranks, void *arg)
{
	assert_true(s.nodes[node].killed);
	return rankset_add(ranks, node * s.per_node,
			   (node + 1) * s.per_node - 1);
}

/* Each node's is what a new one in its place would be told. */
static int on_record(const char *text, size_t len, void *arg)
{
	struct node *n = arg;

	n->record = realloc(n->record, n->record_len + len);
	assert_non_null(n->record);
	memcpy(n->record + n->record_len, text, len);
	n->record_len += len;
	return 0;
}

static void on_handed_over(bool all_done, void *arg)
{
	struct node *n = arg;

	n->handed_over = true;
	for (uint32_t i = 0; i < s.nnodes; i++) {
		s.dirs[n->id][i].dialled = false;
		if (s.dirs[n->id][i].up && !s.dirs[n->id][i].bye)
			on_send_bye(i, all_done, n);
	}
	check_exit(n);
}

static void node_text(uint32_t node, char *text, size_t size, void *arg)
{
	snprintf(text, size, "node %u", node);
}

static const struct census_ops ops = {
	.soon = on_soon,
	.reach = on_reach,
	.send_state = on_send_state,
	.send_ack = on_send_ack,
	.send_bye = on_send_bye,
	.timer = on_timer,
	.all = on_all,
	.lost = on_lost,
	.without = on_without,
	.record = on_record,
	.handed_over = on_handed_over,
	.node_text = node_text,
};

/* -- the story ------------------------------------------------------------ */

static void begin(unsigned int seed, uint32_t nnodes, uint32_t per_node,
		  bool linger)
{
	memset(&s, 0, sizeof(s));
	s.seed = seed;
	s.nnodes = nnodes;
	s.per_node = per_node;
	s.linger = linger;
	for (uint32_t i = 0; i < nnodes; i++) {
		struct node *n = &s.nodes[i];

		n->id = i;
		for (int which = 0; which < CENSUS_TIMERS; which++)
			n->timers[which] = -1;
		assert_int_equal(census_new(nnodes * per_node, CENSUS_GRACE_MS,
					    &ops, n, &n->c, NULL),
				 0);
		for (uint32_t j = 0; j < nnodes; j++)
			s.dirs[i][j].tail = &s.dirs[i][j].head;
	}
}

static void finish(void)
{
	for (uint32_t i = 0; i < s.nnodes; i++) {
		census_free(s.nodes[i].c);
		free(s.nodes[i].record);
		for (uint32_t j = 0; j < s.nnodes; j++)
			empty(&s.dirs[i][j]);
	}
}

static bool everyone(unsigned int (*count)(const struct node *))
{
	for (uint32_t i = 0; i < s.nnodes; i++)
		if (count(&s.nodes[i]) < s.per_node)
			return false;
	return true;
}

static unsigned int ready_count(const struct node *n)
{
	return n->n_ready;
}

static unsigned int done_count(const struct node *n)
{
	return n->n_done;
}

static void say(struct node *n, uint32_t index, enum netctl_state state)
{
	uint32_t rank = n->id * s.per_node + index;
	char why[32];

	snprintf(why, sizeof(why), "vm[%u]@node%u: broke", rank, n->id);
	n->n_ready += state == NETCTL_READY;
	n->n_done += state != NETCTL_READY;
	s.all_ready = everyone(ready_count);
	s.all_done = everyone(done_count);
	assert_int_equal(census_state(n->c, rank, state, why), 0);
}

/* Something that @n's tasks may do next. Returns false when there is none. */
static bool live(struct node *n)
{
	if (!n->started) {
		n->started = true;
		assert_int_equal(census_start(n->c, n->id, s.nnodes), 0);
	} else if (n->n_ready < s.per_node) {
		say(n, n->n_ready, NETCTL_READY);
	} else if (n->n_done < s.per_node) {
		say(n, n->n_done, NETCTL_DONE);
	} else if (!n->leaving && (!s.linger || n->told_done || n->told_lost)) {
		n->leaving = true;
		census_leave(n->c);
	} else {
		return false;
	}
	return true;
}

static bool step_link(uint32_t from, uint32_t to)
{
	struct direction *d = &s.dirs[from][to];

	if (d->head && !s.nodes[to].exited && s.dirs[to][from].up) {
		take(from, to);
	} else if (d->head && (s.nodes[to].exited || !s.dirs[to][from].up)) {
		empty(d);
	} else if (d->closed) {
		link_down(from, to);
	} else if (d->dialled && (s.nodes[to].started || s.nodes[to].exited)) {
		try_dial(from, to);
	} else {
		return false;
	}
	return true;
}

static bool step_node(struct node *n, bool tasks)
{
	if (n->exited)
		return false;
	if (n->soon) {
		n->soon = false;
		census_sync(n->c);
		return true;
	}
	return tasks && live(n);
}

/* One event: from a random place on, the first that is possible. */
static bool step(bool tasks)
{
	uint32_t n = s.nnodes, at = roll_dice(n * (n + 4));

	for (uint32_t i = 0; i < n * (n + 4); i++) {
		uint32_t x = (at + i) % (n * (n + 4));

		if (x < n * n ? step_link(x / n, x % n)
			      : step_node(&s.nodes[x % n], tasks))
			return true;
	}
	return false;
}

/* The first timer that is due goes off. */
static bool pass_time(void)
{
	struct node *n = NULL;
	int which = 0;

	for (uint32_t i = 0; i < s.nnodes; i++)
		for (int w = 0; w < CENSUS_TIMERS && !s.nodes[i].exited; w++)
			if (s.nodes[i].timers[w] >= 0 &&
			    (!n || s.nodes[i].timers[w] < n->timers[which])) {
				n = &s.nodes[i];
				which = w;
			}
	if (!n)
		return false;
	n->timers[which] = -1;
	census_timeout(n->c, (enum census_timer)which);
	return true;
}

static void break_some(void)
{
	if (!s.breaks || roll_dice(8))
		return;
	s.breaks--;
	break_link(roll_dice(s.nnodes), roll_dice(s.nnodes));
}

static void run(bool tasks)
{
	while (step(tasks) || pass_time())
		break_some();
}

static void kill_node(uint32_t id)
{
	struct node *n = &s.nodes[id];

	n->exited = n->killed = s.lossy = true;
	for (uint32_t i = 0; i < s.nnodes; i++) {
		s.dirs[id][i].dialled = false;
		if (s.dirs[id][i].up)
			close_end(id, i);
	}
}

/* -- tests ---------------------------------------------------------------- */

static void one_node_is_a_step(void **state)
{
	begin(1, 1, 3, true);
	run(true);
	assert_true(s.nodes[0].told_ready && s.nodes[0].told_done);
	assert_true(s.nodes[0].exited && !s.nodes[0].told_lost);
	finish();
}

static void a_step_that_lingers_ends_everywhere(void **state)
{
	for (unsigned int seed = 1; seed <= 200; seed++) {
		begin(seed, 1 + seed % NODES_MAX, 1 + seed % 3, true);
		run(true);
		for (uint32_t i = 0; i < s.nnodes; i++) {
			assert_true(s.nodes[i].told_ready);
			assert_true(s.nodes[i].told_done);
			assert_false(s.nodes[i].told_lost);
			assert_true(s.nodes[i].exited);
		}
		finish();
	}
}

/* Each leaves when its own tasks are done: in any order, many at once. */
static void departures_in_any_order_lose_nothing(void **state)
{
	for (unsigned int seed = 1; seed <= 300; seed++) {
		uint32_t stays;

		begin(seed, 2 + seed % (NODES_MAX - 1), 1 + seed % 3, false);
		s.breaks = seed % 2 ? 4 * s.nnodes * s.nnodes : 0;
		stays = roll_dice(s.nnodes);
		s.nodes[stays].leaving = true; /* as far as live() goes */
		run(true);
		for (uint32_t i = 0; i < s.nnodes; i++) {
			assert_false(s.nodes[i].told_lost);
			assert_true(i == stays || s.nodes[i].exited);
		}
		assert_true(s.nodes[stays].told_ready);
		assert_true(s.nodes[stays].told_done);
		finish();
	}
}

static void links_that_break_lose_nothing(void **state)
{
	for (unsigned int seed = 1; seed <= 300; seed++) {
		begin(seed, 2 + seed % (NODES_MAX - 1), 1 + seed % 3, true);
		s.breaks = 4 * s.nnodes * s.nnodes;
		run(true);
		for (uint32_t i = 0; i < s.nnodes; i++) {
			assert_true(s.nodes[i].told_ready);
			assert_true(s.nodes[i].told_done);
			assert_false(s.nodes[i].told_lost);
			assert_true(s.nodes[i].exited);
		}
		finish();
	}
}

static void a_rank_that_fails_early_is_known_everywhere(void **state)
{
	for (unsigned int seed = 1; seed <= 200; seed++) {
		struct node *n;

		begin(seed, 1 + seed % NODES_MAX, 1 + seed % 2, true);
		n = &s.nodes[roll_dice(s.nnodes)];
		n->started = true;
		assert_int_equal(census_start(n->c, n->id, s.nnodes), 0);
		say(n, s.per_node - 1, NETCTL_FAILED);
		n->n_ready = s.per_node; /* never, but live() shall go on */
		run(true);
		for (uint32_t i = 0; i < s.nnodes; i++) {
			assert_true(s.nodes[i].told_lost);
			assert_false(s.nodes[i].told_ready);
			assert_non_null(strstr(s.nodes[i].lost, "broke"));
		}
		finish();
	}
}

static void a_rank_that_fails_late_counts_as_done(void **state)
{
	for (unsigned int seed = 1; seed <= 50; seed++) {
		begin(seed, 1 + seed % NODES_MAX, 1, true);
		for (uint32_t i = 0; i < s.nnodes; i++) {
			live(&s.nodes[i]);
			live(&s.nodes[i]);
		}
		run(false);
		say(&s.nodes[roll_dice(s.nnodes)], 0, NETCTL_FAILED);
		run(true);
		for (uint32_t i = 0; i < s.nnodes; i++) {
			assert_true(s.nodes[i].told_ready);
			assert_true(s.nodes[i].told_done);
			assert_false(s.nodes[i].told_lost);
		}
		finish();
	}
}

static void a_node_that_dies_is_a_loss_for_all(void **state)
{
	for (unsigned int seed = 1; seed <= 300; seed++) {
		uint32_t dead;

		begin(seed, 2 + seed % (NODES_MAX - 1), 1, true);
		for (uint32_t i = 0; i < s.nnodes; i++)
			live(&s.nodes[i]);
		for (unsigned int i = roll_dice(5 * s.nnodes); i; i--)
			step(false);
		dead = roll_dice(s.nnodes);
		kill_node(dead);
		run(false);
		for (uint32_t i = 0; i < s.nnodes; i++)
			assert_true(i == dead || s.nodes[i].told_lost);
		finish();
	}
}

/* Until every rank of all nodes has said ready, and all know. */
static void get_ready(void)
{
	for (uint32_t i = 0; i < s.nnodes; i++)
		while (s.nodes[i].n_ready < s.per_node)
			live(&s.nodes[i]);
	run(false);
	for (uint32_t i = 0; i < s.nnodes; i++)
		assert_true(s.nodes[i].told_ready);
}

static void a_node_that_dies_late_counts_as_done(void **state)
{
	for (unsigned int seed = 1; seed <= 200; seed++) {
		uint32_t dead;

		begin(seed, 2 + seed % (NODES_MAX - 1), 1 + seed % 3, true);
		get_ready();
		dead = roll_dice(s.nnodes);
		kill_node(dead);
		for (uint32_t i = 0; i < s.nnodes; i++)
			while (i != dead && s.nodes[i].n_done < s.per_node) {
				live(&s.nodes[i]);
				while (roll_dice(3) && step(false))
					;
			}
		run(true);
		for (uint32_t i = 0; i < s.nnodes; i++) {
			assert_true(i == dead || s.nodes[i].told_done);
			assert_true(s.nodes[i].exited);
			assert_false(s.nodes[i].told_lost);
		}
		finish();
	}
}

/* -- the tree -- */

static struct {
	uint32_t origin, at;
	unsigned int visits[NODES_MAX], messages;
} flood;

static void pass_on(uint32_t node, void *arg)
{
	uint32_t from = flood.at;

	flood.messages++;
	flood.visits[node]++;
	assert_true(flood.visits[node] < 2);
	assert_int_equal(census_toward(s.nodes[node].c, flood.origin), from);
	flood.at = node;
	census_spread(s.nodes[node].c, from, pass_on, NULL);
	flood.at = from;
}

static void spread_from(uint32_t origin, unsigned int living)
{
	memset(&flood, 0, sizeof(flood));
	flood.origin = flood.at = origin;
	flood.visits[origin]++;
	census_spread(s.nodes[origin].c, origin, pass_on, NULL);
	assert_int_equal(flood.messages, living - 1);
	for (uint32_t i = 0; i < s.nnodes; i++)
		assert_int_equal(flood.visits[i], !s.nodes[i].killed);
}

static void the_tree_reaches_each_node_once(void **state)
{
	for (uint32_t n = 1; n <= NODES_MAX; n++) {
		begin(n, n, 1, true);
		get_ready();
		for (uint32_t i = 0; i < n; i++)
			spread_from(i, n);
		run(true);
		finish();
	}
}

/* Nodes 17 to 32 were below it. */
static void so_does_a_tree_that_has_lost_a_node(void **state)
{
	begin(1, 40, 1, true);
	get_ready();
	kill_node(1);
	for (uint32_t i = 0; i < 40; i++)
		if (i != 1)
			census_unreachable(s.nodes[i].c, 1);
	while (step(false))
		;
	for (uint32_t i = 0; i < 40; i++)
		if (i != 1)
			spread_from(i, 39);
	finish();
}

/* Two that cannot reach each other, but others can: the root finds that both
 * are there. */
static void a_node_that_the_root_can_reach_is_not_lost(void **state)
{
	begin(1, 20, 1, true);
	get_ready();
	assert_false(s.dirs[0][18].up);
	census_unreachable(s.nodes[2].c, 18);
	census_unreachable(s.nodes[0].c, 19);
	assert_false(s.dirs[0][19].up);
	census_up(s.nodes[0].c, 19); /* it came by itself */
	s.dirs[0][19].up = s.dirs[19][0].up = true;
	census_up(s.nodes[19].c, 0);
	run(false); /* on_without() would object */
	assert_true(s.dirs[0][18].up);
	run(true);
	for (uint32_t i = 0; i < s.nnodes; i++)
		assert_true(s.nodes[i].told_done && !s.nodes[i].told_lost);
	finish();
}

static void a_node_that_cannot_be_reached_is_waited_for(void **state)
{
	begin(1, 3, 1, true);
	for (uint32_t i = 1; i < 3; i++)
		live(&s.nodes[i]);
	s.nodes[0].exited = true; /* it never was */
	while (step(false))
		;
	assert_true(s.nodes[1].timers[CENSUS_GRACE] > 0);
	assert_false(s.nodes[1].told_lost);
	run(false);
	for (uint32_t i = 1; i < 3; i++)
		assert_non_null(strstr(s.nodes[i].lost, "node 0"));
	finish();
}

static void hostile_states_are_refused(void **state)
{
	struct errmsg err;

	begin(1, 2, 1, true);
	live(&s.nodes[0]);
	census_up(s.nodes[0].c, 1);
	assert_int_equal(census_recv(s.nodes[0].c, 1, "ready 2\n", 8, &err),
			 -EPROTO);
	assert_int_equal(census_recv(s.nodes[0].c, 1, "gone 2\n", 7, &err),
			 -EPROTO);
	s.dirs[0][1].up = true;
	assert_int_equal(census_bye(s.nodes[0].c, 1, false), 0);
	assert_int_equal(census_bye(s.nodes[0].c, 1, false), 0);
	assert_non_null(s.dirs[0][1].head); /* one ACK, not two */
	assert_null(s.dirs[0][1].head->next);
	assert_int_equal(census_recv(s.nodes[0].c, 1, "ready 1\n", 8, &err),
			 -EPROTO);
	finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_node_is_a_step),
		cmocka_unit_test(a_step_that_lingers_ends_everywhere),
		cmocka_unit_test(departures_in_any_order_lose_nothing),
		cmocka_unit_test(links_that_break_lose_nothing),
		cmocka_unit_test(a_rank_that_fails_early_is_known_everywhere),
		cmocka_unit_test(a_rank_that_fails_late_counts_as_done),
		cmocka_unit_test(a_node_that_dies_is_a_loss_for_all),
		cmocka_unit_test(a_node_that_dies_late_counts_as_done),
		cmocka_unit_test(the_tree_reaches_each_node_once),
		cmocka_unit_test(so_does_a_tree_that_has_lost_a_node),
		cmocka_unit_test(a_node_that_the_root_can_reach_is_not_lost),
		cmocka_unit_test(a_node_that_cannot_be_reached_is_waited_for),
		cmocka_unit_test(hostile_states_are_refused),
	};

	return cmocka_run_group_tests_name("census", tests, NULL, NULL);
}
