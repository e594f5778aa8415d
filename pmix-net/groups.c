#include <config.h>

#include "groups.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "headers.h"

/* Two sorted arrays. Owners are ports, by rank, and behind them neighbours, by
 * number; members say which owner wants which group, by group and then owner,
 * so that those who want one lie together. Both are short: frames find their
 * way by one walk over the owners and a search among the members.
 *
 * A port that gets all keeps its members: what they say holds when that ends.
 */

enum { TEXT_ALL = 1, TEXT_ROUTER = 2 }; /* flags of what neighbours tell */

struct owner {
	uint64_t key; /* rank; IS_NODE | node */
	unsigned int groups;
	int64_t all_until, router_until; /* 0: not */
	int64_t ask_at;			 /* INT64_MAX: need not be asked */
};

struct member {
	struct group group;
	uint64_t owner;
	int64_t until;
};

struct groups {
	struct owner *owners;
	size_t n_owners;
	struct member *members;
	size_t n_members, max_members;
};

#define IS_NODE (1ull << 32)

static uint64_t port_key(uint32_t rank)
{
	return rank;
}

static uint64_t node_key(uint32_t node)
{
	return IS_NODE | node;
}

static bool is_port(uint64_t key)
{
	return key < IS_NODE;
}

/* -- owners ---------------------------------------------------------------- */

static size_t owner_index(const struct groups *g, uint64_t key)
{
	size_t lo = 0, hi = g->n_owners;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (g->owners[mid].key < key)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static struct owner *find_owner(const struct groups *g, uint64_t key)
{
	size_t i = owner_index(g, key);

	return i < g->n_owners && g->owners[i].key == key ? &g->owners[i]
							  : NULL;
}

static struct owner *add_owner(struct groups *g, uint64_t key)
{
	size_t i = owner_index(g, key);
	struct owner *owners;

	if (i < g->n_owners && g->owners[i].key == key)
		return &g->owners[i];
	owners = reallocarray(g->owners, g->n_owners + 1, sizeof(*owners));
	if (!owners)
		return NULL;
	g->owners = owners;
	memmove(&owners[i + 1], &owners[i],
		(g->n_owners++ - i) * sizeof(*owners));
	owners[i] = (struct owner){ .key = key, .ask_at = INT64_MAX };
	return &owners[i];
}

static bool wants_all(const struct owner *o)
{
	return o->all_until || o->router_until;
}

/* -- members --------------------------------------------------------------- */

static int compare(const struct member *m, const struct group *group,
		   uint64_t owner)
{
	int order = memcmp(&m->group, group, sizeof(*group));

	if (order)
		return order;
	return m->owner < owner ? -1 : m->owner > owner;
}

/* The first that is not before these. */
static size_t member_index(const struct groups *g, const struct group *group,
			   uint64_t owner)
{
	size_t lo = 0, hi = g->n_members;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (compare(&g->members[mid], group, owner) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static struct member *find_member(const struct groups *g,
				  const struct group *group, uint64_t owner)
{
	size_t i = member_index(g, group, owner);

	return i < g->n_members && compare(&g->members[i], group, owner) == 0
		       ? &g->members[i]
		       : NULL;
}

static int make_room(struct groups *g)
{
	size_t max = g->max_members ? 2 * g->max_members : 16;
	struct member *members;

	if (g->n_members < g->max_members)
		return 0;
	members = reallocarray(g->members, max, sizeof(*members));
	if (!members)
		return -ENOMEM;
	g->members = members;
	g->max_members = max;
	return 0;
}

static int add_member(struct groups *g, struct owner *o,
		      const struct group *group, int64_t until)
{
	size_t i = member_index(g, group, o->key);

	if (make_room(g) < 0)
		return -ENOMEM;
	memmove(&g->members[i + 1], &g->members[i],
		(g->n_members++ - i) * sizeof(g->members[0]));
	g->members[i] = (struct member){ *group, o->key, until };
	o->groups++;
	return 0;
}

/* Those of @o that end at @until or before. */
static bool remove_members(struct groups *g, struct owner *o, int64_t until)
{
	size_t kept = 0, n = g->n_members;

	for (size_t i = 0; i < n; i++) {
		if (g->members[i].owner == o->key &&
		    g->members[i].until <= until)
			o->groups--;
		else
			g->members[kept++] = g->members[i];
	}
	g->n_members = kept;
	return kept < n;
}

static bool remove_owner(struct groups *g, uint64_t key)
{
	struct owner *o = find_owner(g, key);
	size_t i;

	if (!o)
		return false;
	remove_members(g, o, INT64_MAX);
	i = (size_t)(o - g->owners);
	g->n_owners--;
	memmove(o, o + 1, (g->n_owners - i) * sizeof(*o));
	return true;
}

/* -- ports ----------------------------------------------------------------- */

static bool give_all(struct owner *o, int64_t until)
{
	bool had = wants_all(o);

	if (o->all_until < until)
		o->all_until = until;
	return !had;
}

int groups_port(struct groups *g, uint32_t rank, int64_t now_ms, int settle_ms)
{
	struct owner *o = add_owner(g, port_key(rank));

	if (!o)
		return -ENOMEM;
	o->ask_at = now_ms + settle_ms / 2;
	return give_all(o, now_ms + settle_ms);
}

bool groups_forget_port(struct groups *g, uint32_t rank)
{
	return remove_owner(g, port_key(rank));
}

static void ask_later(struct owner *o, int64_t now_ms)
{
	if (o->ask_at == INT64_MAX)
		o->ask_at = now_ms + GROUPS_INTERVAL_MS;
}

bool groups_join(struct groups *g, uint32_t rank, const struct group *group,
		 int64_t now_ms)
{
	struct owner *o = find_owner(g, port_key(rank));
	struct member *m = find_member(g, group, port_key(rank));
	int64_t until = now_ms + GROUPS_MEMBER_MS;

	if (!o)
		return false;
	ask_later(o, now_ms);
	if (m) {
		m->until = until;
		return false;
	}
	if (o->groups < GROUPS_PORT_MAX && add_member(g, o, group, until) == 0)
		return true;
	return give_all(o, until);
}

bool groups_leave(struct groups *g, uint32_t rank, const struct group *group,
		  int64_t now_ms, bool *ask)
{
	struct member *m = find_member(g, group, port_key(rank));

	*ask = m && m->until > now_ms + GROUPS_LEAVE_MS;
	if (*ask)
		m->until = now_ms + GROUPS_LEAVE_MS;
	return false;
}

bool groups_all(struct groups *g, uint32_t rank, bool router, int64_t now_ms)
{
	struct owner *o = find_owner(g, port_key(rank));
	bool had;

	if (!o)
		return false;
	ask_later(o, now_ms);
	had = o->router_until;
	if (router)
		o->router_until = now_ms + GROUPS_MEMBER_MS;
	return give_all(o, now_ms + GROUPS_MEMBER_MS) ||
	       had != !!o->router_until;
}

static bool end_at(int64_t *until, int64_t now_ms)
{
	if (!*until || *until > now_ms)
		return false;
	*until = 0;
	return true;
}

bool groups_tick(struct groups *g, int64_t now_ms,
		 void (*ask_port)(uint32_t rank, void *arg), void *arg)
{
	bool changed = false;

	for (size_t i = 0; i < g->n_owners; i++) {
		struct owner *o = &g->owners[i];

		if (!is_port(o->key))
			continue;
		changed |= end_at(&o->all_until, now_ms);
		changed |= end_at(&o->router_until, now_ms);
		if (o->groups)
			changed |= remove_members(g, o, now_ms);
		if (o->ask_at > now_ms)
			continue;
		o->ask_at = INT64_MAX;
		if (!o->groups && !wants_all(o))
			continue;
		ask_later(o, now_ms);
		ask_port((uint32_t)o->key, arg);
	}
	return changed;
}

static int64_t earlier(int64_t a, int64_t b)
{
	return b && b < a ? b : a; /* 0: never */
}

int64_t groups_due(const struct groups *g)
{
	int64_t due = INT64_MAX;

	for (size_t i = 0; i < g->n_owners; i++) {
		const struct owner *o = &g->owners[i];

		if (!is_port(o->key))
			continue;
		due = earlier(due, o->all_until);
		due = earlier(due, o->router_until);
		due = earlier(due, o->ask_at);
	}
	for (size_t i = 0; i < g->n_members; i++)
		due = earlier(due, g->members[i].until);
	return due;
}

/* -- neighbours ------------------------------------------------------------ */

static int check_text(const uint8_t *text, size_t len)
{
	uint32_t flags;

	if (len < 4 || len > GROUPS_TEXT_MAX || (len - 4) % 16)
		return -EPROTO;
	flags = header_get32(text);
	if (flags & ~(uint32_t)(TEXT_ALL | TEXT_ROUTER))
		return -EPROTO;
	for (size_t at = 4 + 16; at < len; at += 16)
		if (memcmp(text + at - 16, text + at, 16) >= 0)
			return -EPROTO;
	return 0;
}

int groups_told(struct groups *g, uint32_t node, const uint8_t *text,
		size_t len)
{
	struct owner *o;
	uint32_t flags;
	int r = check_text(text, len);

	groups_forget_node(g, node);
	if (r < 0)
		return r;
	o = add_owner(g, node_key(node));
	if (!o)
		return -ENOMEM;
	flags = header_get32(text);
	o->router_until = flags & TEXT_ROUTER ? INT64_MAX : 0;
	o->all_until = flags & TEXT_ALL ? INT64_MAX : 0;
	for (size_t at = 4; at < len && !wants_all(o); at += 16) {
		struct group group;

		memcpy(group.ip, text + at, sizeof(group.ip));
		r = add_member(g, o, &group, INT64_MAX);
		if (r < 0)
			break;
	}
	if (r < 0)
		groups_forget_node(g, node);
	return r;
}

bool groups_forget_node(struct groups *g, uint32_t node)
{
	return remove_owner(g, node_key(node));
}

static uint32_t flags_but(const struct groups *g, uint64_t but)
{
	uint32_t flags = 0;

	for (size_t i = 0; i < g->n_owners; i++) {
		const struct owner *o = &g->owners[i];

		if (o->key == but)
			continue;
		flags |= wants_all(o) ? TEXT_ALL : 0;
		flags |= o->router_until ? TEXT_ROUTER : 0;
	}
	return flags;
}

size_t groups_tell(const struct groups *g, uint32_t node,
		   uint8_t text[GROUPS_TEXT_MAX])
{
	uint32_t flags = flags_but(g, node_key(node));
	size_t len = 4;

	for (size_t i = 0; i < g->n_members && !(flags & TEXT_ALL); i++) {
		const struct member *m = &g->members[i];

		if (m->owner == node_key(node) ||
		    (len > 4 && memcmp(text + len - 16, &m->group, 16) == 0))
			continue;
		if (len == GROUPS_TEXT_MAX) {
			flags |= TEXT_ALL;
			break;
		}
		memcpy(text + len, &m->group, 16);
		len += 16;
	}
	header_put32(text, flags);
	return flags & TEXT_ALL ? 4 : len;
}

/* -- frames ---------------------------------------------------------------- */

void groups_each_port(const struct groups *g, const struct group *group,
		      void (*fn)(uint32_t rank, void *arg), void *arg)
{
	size_t at = group ? member_index(g, group, 0) : g->n_members;

	for (size_t i = 0; i < g->n_owners && is_port(g->owners[i].key); i++) {
		const struct owner *o = &g->owners[i];
		bool is_member = at < g->n_members &&
				 compare(&g->members[at], group, o->key) == 0;

		at += is_member;
		if (group ? is_member || wants_all(o) : !!o->router_until)
			fn((uint32_t)o->key, arg);
	}
}

bool groups_node_wants(const struct groups *g, uint32_t node,
		       const struct group *group)
{
	const struct owner *o = find_owner(g, node_key(node));

	if (!group)
		return o && o->router_until;
	if (!o)
		return true;
	return wants_all(o) || find_member(g, group, o->key);
}

/* -- life ------------------------------------------------------------------ */

struct groups *groups_new(void)
{
	return calloc(1, sizeof(struct groups));
}

void groups_free(struct groups *g)
{
	if (!g)
		return;
	free(g->owners);
	free(g->members);
	free(g);
}
