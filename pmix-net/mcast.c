#include <config.h>

#include "mcast.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Whatever may change what neighbours are to know asks for tell_all(), which
 * writes down what each is to be told, and sends it where that is not what it
 * was told last. The first change is told at once, further ones
 * MCAST_TELL_MS later, so that a guest that joins and leaves all the time keeps
 * no other node busy.
 */

/* What a neighbour knows. */
struct told {
	struct told *next;
	uint32_t node;
	size_t len;
	uint8_t text[];
};

struct mcast {
	struct mcast_env env;
	struct groups *groups;
	struct told *told;
	struct loop_timer *tell_timer, *due_timer;
	int64_t told_ms, due_ms; /* due_ms -1: not armed */
	bool tell_soon;
};

const struct groups *mcast_groups(const struct mcast *m)
{
	return m->groups;
}

/* -- neighbours ------------------------------------------------------------ */

static struct told **find_told(struct mcast *m, uint32_t node)
{
	struct told **pp = &m->told;

	while (*pp && (*pp)->node != node)
		pp = &(*pp)->next;
	return pp;
}

static void forget_told(struct mcast *m, uint32_t node)
{
	struct told **pp = find_told(m, node), *old = *pp;

	if (!old)
		return;
	*pp = old->next;
	free(old);
}

static void remember_told(struct mcast *m, uint32_t node, const uint8_t *text,
			  size_t len)
{
	struct told *t;

	forget_told(m, node);
	t = malloc(sizeof(*t) + len);
	if (!t)
		return; /* it is told again */
	t->next = m->told;
	t->node = node;
	t->len = len;
	memcpy(t->text, text, len);
	m->told = t;
}

static void tell(uint32_t node, void *arg)
{
	struct mcast *m = arg;
	uint8_t text[GROUPS_TEXT_MAX];
	size_t len = groups_tell(m->groups, node, text);
	const struct told *t = *find_told(m, node);

	if (t && t->len == len && memcmp(t->text, text, len) == 0)
		return;
	if (m->env.tell(node, text, len, m->env.arg) == 0)
		remember_told(m, node, text, len);
	else
		forget_told(m, node);
}

static void tell_all(void *arg)
{
	struct mcast *m = arg;

	m->tell_soon = false;
	m->told_ms = loop_now_ms();
	m->env.neighbours(tell, m, m->env.arg);
}

static void tell_soon(struct mcast *m)
{
	int64_t ms = m->told_ms + MCAST_TELL_MS - loop_now_ms();

	if (m->tell_soon)
		return;
	m->tell_soon = true;
	loop_timer_set(m->tell_timer, ms > 0 ? ms : 0);
}

/* -- guests ---------------------------------------------------------------- */

/* In IPv4, IPv6, or, with @group, the one that it is of. */
static void ask(struct mcast *m, uint32_t rank, const struct group *group)
{
	uint8_t frame[SNOOP_QUERY_BYTES];

	for (int ip6 = 0; ip6 < 2; ip6++) {
		if (group && group_is_ip4(group) == ip6)
			continue;
		m->env.send(rank, frame,
			    snoop_put_query(frame, ip6, m->env.service, group,
					    MCAST_ANSWER_MS),
			    m->env.arg);
	}
}

static void ask_port(uint32_t rank, void *arg)
{
	ask(arg, rank, NULL);
}

/* After whatever changes the groups. */
static void arm(struct mcast *m)
{
	int64_t due = groups_due(m->groups), now = loop_now_ms();

	if (due == INT64_MAX)
		due = -1;
	if (due == m->due_ms)
		return;
	m->due_ms = due;
	loop_timer_set(m->due_timer, due < 0 ? -1 : due > now ? due - now : 0);
}

static void changed(struct mcast *m, bool is_news)
{
	if (is_news)
		tell_soon(m);
	arm(m);
}

static void on_due(void *arg)
{
	struct mcast *m = arg;

	m->due_ms = -1;
	changed(m, groups_tick(m->groups, loop_now_ms(), ask_port, m));
}

int mcast_port(struct mcast *m, uint32_t rank)
{
	int r = groups_port(m->groups, rank, loop_now_ms(), m->env.settle_ms);

	if (r < 0)
		return r;
	changed(m, r);
	ask(m, rank, NULL);
	return 0;
}

void mcast_forget_port(struct mcast *m, uint32_t rank)
{
	changed(m, groups_forget_port(m->groups, rank));
}

struct hearing {
	struct mcast *mcast;
	uint32_t rank;
	bool is_news;
};

static void on_word(enum snoop_word word, const struct group *g, void *arg)
{
	struct hearing *h = arg;
	struct mcast *m = h->mcast;
	bool is_member = false;

	if (word == SNOOP_JOINS)
		h->is_news |= groups_join(m->groups, h->rank, g, loop_now_ms());
	else
		groups_leave(m->groups, h->rank, g, loop_now_ms(), &is_member);
	if (is_member)
		ask(m, h->rank, g);
}

void mcast_heard(struct mcast *m, uint32_t rank, enum snoop kind,
		 const uint8_t *frame, size_t len, bool cut)
{
	struct hearing h = { m, rank, false };
	bool is_router = kind == SNOOP_QUERY && snoop_is_router(frame, len);

	if (kind == SNOOP_REPORT && !cut)
		snoop_report(frame, len, on_word, &h);
	else if (kind == SNOOP_REPORT || is_router)
		h.is_news =
			groups_all(m->groups, rank, is_router, loop_now_ms());
	changed(m, h.is_news);
}

/* -- nodes ----------------------------------------------------------------- */

void mcast_link_up(struct mcast *m, uint32_t node)
{
	forget_told(m, node);
	tell_soon(m);
}

int mcast_told(struct mcast *m, uint32_t node, const uint8_t *text, size_t len,
	       struct errmsg *err)
{
	int r = groups_told(m->groups, node, text, len);

	tell_soon(m);
	if (r == -EPROTO)
		return errmsg_say(
			err, r,
			"it sent %zu bytes of multicast groups that are none",
			len);
	return 0; /* without memory it gets all, which does no harm */
}

void mcast_forget_node(struct mcast *m, uint32_t node)
{
	forget_told(m, node);
	if (groups_forget_node(m->groups, node))
		tell_soon(m);
}

void mcast_tree_changed(struct mcast *m)
{
	tell_soon(m);
}

/* -- life ------------------------------------------------------------------ */

int mcast_new(const struct mcast_env *env, struct mcast **ret,
	      struct errmsg *err)
{
	struct mcast *m = calloc(1, sizeof(*m));

	if (!m)
		return errmsg_set(err, -ENOMEM, "multicast groups");
	m->env = *env;
	m->due_ms = -1;
	m->groups = groups_new();
	if (!m->groups ||
	    loop_timer_add(env->loop, -1, tell_all, m, &m->tell_timer) < 0 ||
	    loop_timer_add(env->loop, -1, on_due, m, &m->due_timer) < 0) {
		mcast_free(m);
		return errmsg_set(err, -ENOMEM, "multicast groups");
	}
	*ret = m;
	return 0;
}

void mcast_free(struct mcast *m)
{
	if (!m)
		return;
	while (m->told)
		forget_told(m, m->told->node);
	loop_timer_free(m->tell_timer);
	loop_timer_free(m->due_timer);
	groups_free(m->groups);
	free(m);
}
