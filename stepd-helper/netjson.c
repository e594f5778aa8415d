#include <config.h>

#include "netjson.h"

#include <errno.h>

#include "cleanup.h"
#include "netctl.h"
#include "netstats.h"

static json_t *number(uint64_t n)
{
	return json_integer((json_int_t)(n & INT64_MAX));
}

static void set(json_t *o, const char *key, uint64_t n)
{
	json_object_set_new(o, key, number(n));
}

static json_t *sum(const struct netstats_sum *s)
{
	json_t *o = json_object();

	set(o, "frames", s->frames);
	set(o, "bytes", s->bytes);
	return o;
}

/* Drops by reason: those that happened. */
static json_t *drops(const uint64_t *counts)
{
	json_t *o = json_object();

	for (int i = 0; i < COUNT_N; i++)
		if (counter_is_drop((enum counter)i) && counts[i])
			set(o, counter_name((enum counter)i), counts[i]);
	return o;
}

static void set_counts(json_t *o, const uint64_t *counts)
{
	static const enum counter others[] = {
		COUNT_WAITED,	  COUNT_ANSWERED, COUNT_SWALLOWED,
		COUNT_UNCAPTURED, COUNT_STRANGER, COUNT_BAD_LINK,
		COUNT_BAD_TAG
	};
	const struct netstats_sum in = { counts[COUNT_IN_FRAMES],
					 counts[COUNT_IN_BYTES] };
	const struct netstats_sum out = { counts[COUNT_OUT_FRAMES],
					  counts[COUNT_OUT_BYTES] };

	json_object_set_new(o, "in", sum(&in));
	json_object_set_new(o, "out", sum(&out));
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		set(o, counter_name(others[i]), counts[others[i]]);
	json_object_set_new(o, "drops", drops(counts));
}

/* Without the empty buckets at its end. */
static json_t *buckets(const uint64_t *n, size_t len)
{
	json_t *a = json_array();

	while (len && !n[len - 1])
		len--;
	for (size_t i = 0; i < len; i++)
		json_array_append_new(a, number(n[i]));
	return a;
}

static json_t *batches(const struct batches *b)
{
	json_t *o = json_object();

	json_object_set_new(o, "frames", buckets(b->frames, BATCHES_FRAMES));
	json_object_set_new(o, "bytes", buckets(b->bytes, BATCHES_BYTES));
	return o;
}

static json_t *both_batches(const struct batches *in, const struct batches *out)
{
	json_t *o = json_object();

	json_object_set_new(o, "in", batches(in));
	json_object_set_new(o, "out", batches(out));
	return o;
}

static json_t *word(uint64_t i, const char *const *words, size_t n)
{
	return json_string(i < n ? words[i] : "unknown");
}

static json_t *port(const struct netstats_port *p)
{
	static const char *const kinds[] = {
		[0] = "unknown",
		[NETCTL_STREAM] = "stream",
		[NETCTL_DGRAM] = "dgram",
		[NETCTL_VHOST_USER] = "vhost-user",
	};
	const struct netstats_sum peak = { p->peak_frames, p->peak_bytes };
	json_t *o = json_object();

	set(o, "rank", p->rank);
	json_object_set_new(o, "kind", word(p->kind, kinds, ARRAY_SIZE(kinds)));
	set_counts(o, p->counts);
	json_object_set_new(o, "waits", json_boolean(p->waits));
	set(o, "queue_bytes", p->queue_bytes);
	json_object_set_new(o, "peak", sum(&peak));
	json_object_set_new(o, "batches", both_batches(&p->in, &p->out));
	json_object_set_new(o, "rings", json_array());
	return o;
}

static json_t *ring(const struct netstats_ring *r)
{
	json_t *o = json_object();

	set(o, "index", r->index);
	json_object_set_new(o, "direction",
			    json_string(r->index & 1 ? "transmit" : "receive"));
	set(o, "size", r->size);
	set(o, "available", r->available);
	json_object_set_new(o, "event_index", json_boolean(r->event_idx));
	set(o, "event", r->event);
	set(o, "position", r->position);
	set(o, "kicks", r->kicks);
	set(o, "calls", r->calls);
	return o;
}

/* Text of another node: what is not UTF-8 is no name. */
static json_t *name(const struct netstats_name *n)
{
	char text[NETSTATS_NAME];
	json_t *s;

	netstats_name_get(n, text);
	s = json_string(text);
	return s ? s : json_string("");
}

static json_t *link_of(const struct netstats_link *l)
{
	static const char *const states[] = {
		[NETSTATS_LINK_IDLE] = "idle",
		[NETSTATS_LINK_OPENING] = "opening",
		[NETSTATS_LINK_UP] = "up",
		[NETSTATS_LINK_AWAY] = "away",
		[NETSTATS_LINK_GONE] = "gone",
	};
	json_t *o = json_object();

	_Static_assert(ARRAY_SIZE(states) == NETSTATS_LINK_STATES,
		       "every state has a word");
	set(o, "node_id", l->node);
	json_object_set_new(o, "node", name(&l->name));
	json_object_set_new(o, "state",
			    word(l->state, states, ARRAY_SIZE(states)));
	set_counts(o, l->counts);
	set(o, "queue_bytes", l->queue_bytes);
	json_object_set_new(o, "batches", both_batches(&l->in, &l->out));
	return o;
}

static json_t *node(const struct netstats_node *n)
{
	json_t *o = json_object(), *counts = json_object();

	json_object_set_new(o, "node", name(&n->name));
	set(o, "node_id", n->node);
	set(o, "nodes", n->nnodes);
	set(o, "tasks", n->nranks);
	set(o, "up_ms", n->up_ms);
	for (int i = 0; i < COUNT_N; i++)
		if (n->counts[i])
			set(counts, counter_name((enum counter)i),
			    n->counts[i]);
	json_object_set_new(o, "counts", counts);
	json_object_set_new(o, "ports", json_array());
	json_object_set_new(o, "links", json_array());
	return o;
}

static json_t *no_stats(json_t *o, struct errmsg *err)
{
	json_decref(o);
	errmsg_say(
		err, -EPROTO,
		"vmstep-net's statistics are not as this helper knows them: install one vmstep");
	return NULL;
}

static json_int_t rank_at(const json_t *ports, size_t i)
{
	return json_integer_value(
		json_object_get(json_array_get(ports, i), "rank"));
}

/* By rank. */
static int add_port(json_t *ports, const struct netstats_port *p,
		    json_t **ret_rings)
{
	size_t at = json_array_size(ports);
	json_t *o = port(p);

	while (at && rank_at(ports, at - 1) > (json_int_t)p->rank)
		at--;
	*ret_rings = json_object_get(o, "rings");
	return json_array_insert_new(ports, at, o);
}

/* The node's ports and links; *rings: of the last port. */
static int add_record(json_t *o, json_t **rings, int type, const void *rec)
{
	switch (type) {
	case NETSTATS_PORT:
		return add_port(json_object_get(o, "ports"), rec, rings);
	case NETSTATS_RING:
		return json_array_append_new(*rings, ring(rec));
	case NETSTATS_LINK:
		return json_array_append_new(json_object_get(o, "links"),
					     link_of(rec));
	default:
		return -1;
	}
}

json_t *netjson_stats(const uint64_t *words, size_t n, struct errmsg *err)
{
	struct netstats_reader r = { words, n, 0 };
	const void *rec;
	json_t *o, *rings = NULL;
	int type;

	if (netstats_next(&r, &rec) != NETSTATS_NODE)
		return no_stats(NULL, err);
	o = node(rec);
	while ((type = netstats_next(&r, &rec)) > 0)
		if (add_record(o, &rings, type, rec) < 0)
			return no_stats(o, err);
	return type < 0 ? no_stats(o, err) : o;
}

static json_t *peer(const struct netstats_peer *p)
{
	json_t *a = json_array();

	json_array_append_new(a, number(p->rank));
	json_array_append_new(a, number(p->sum.frames));
	json_array_append_new(a, number(p->sum.bytes));
	return a;
}

static json_t *peers(const struct netstats_peers *p)
{
	json_t *o = json_object();

	set(o, "rank", p->rank);
	json_object_set_new(o, "to", json_array());
	json_object_set_new(o, "to_all", sum(&p->to_all));
	json_object_set_new(o, "to_others", sum(&p->others));
	return o;
}

json_t *netjson_peers(const uint64_t *words, size_t n, struct errmsg *err)
{
	struct netstats_reader r = { words, n, 0 };
	const void *rec;
	json_t *o, *to;
	int type;

	if (netstats_next(&r, &rec) != NETSTATS_NODE ||
	    netstats_next(&r, &rec) != NETSTATS_PEERS)
		return no_stats(NULL, err);
	o = peers(rec);
	to = json_object_get(o, "to");
	while ((type = netstats_next(&r, &rec)) == NETSTATS_PEER)
		json_array_append_new(to, peer(rec));
	return type != 0 ? no_stats(o, err) : o;
}

/* -- all nodes ------------------------------------------------------------- */

/* What the next records belong to. */
struct reading {
	json_t *nodes, *node, *rings, *to;
};

static json_t *find_port(const json_t *node, uint64_t rank)
{
	json_t *o;
	size_t i;

	json_array_foreach (json_object_get(node, "ports"), i, o)
		if (json_integer_value(json_object_get(o, "rank")) ==
		    (json_int_t)rank)
			return o;
	return NULL;
}

static int add_peers(struct reading *rd, const struct netstats_peers *p)
{
	json_t *port = find_port(rd->node, p->rank), *o = peers(p);

	rd->to = json_object_get(o, "to");
	if (port)
		json_object_update(port, o); /* which keeps rd->to */
	json_decref(o);
	return port ? 0 : -1;
}

static int add_any(struct reading *rd, const char *step, int type,
		   const void *rec)
{
	switch (type) {
	case NETSTATS_NODE:
		rd->node = node(rec);
		rd->rings = rd->to = NULL;
		json_object_set_new(rd->node, "step", json_string(step));
		return json_array_append_new(rd->nodes, rd->node);
	case NETSTATS_PEERS:
		return add_peers(rd, rec);
	case NETSTATS_PEER:
		return json_array_append_new(rd->to, peer(rec));
	default:
		return add_record(rd->node, &rd->rings, type, rec);
	}
}

json_t *netjson_report(const char *step, const uint64_t *words, size_t n,
		       struct errmsg *err)
{
	struct netstats_reader r = { words, n, 0 };
	struct reading rd = { .nodes = json_array() };
	json_t *first, *count;
	const void *rec;
	int type;

	while ((type = netstats_next(&r, &rec)) > 0)
		if (add_any(&rd, step, type, rec) < 0)
			return no_stats(rd.nodes, err);
	first = json_array_get(rd.nodes, 0);
	if (type < 0 || !first)
		return no_stats(rd.nodes, err);
	count = json_object_get(first, "nodes");
	return json_pack("{s:s, s:O, s:O, s:b, s:o}", "step", step, "tasks",
			 json_object_get(first, "tasks"), "node_count", count,
			 "complete",
			 (json_int_t)json_array_size(rd.nodes) >=
				 json_integer_value(count),
			 "nodes", rd.nodes);
}
