#include <config.h>

#include "fwd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "answer.h"
#include "lanes.h"
#include "learn.h"
#include "link_wire.h"
#include "offload.h"
#include "outq.h"

#define TAG_BYTES 4 /* of a VLAN, which the MTU does not count */

struct entry {
	uint32_t rank;
	struct outlet *out;
};

struct fwd {
	struct fwd_conf conf;
	struct answer_conf answers;
	struct lock lock; /* of what is learnt */
	struct learn *learn;
	struct inlet own; /* of frames that nobody sent, or another worker's */
	struct counters own_counts;
	struct lanes *cries; /* other workers' frames for many; NULL: none */

	struct entry *ports; /* by rank, ascending */
	size_t n_ports;

	const struct table *table; /* borrowed; NULL: not known yet */
	uint32_t self;
	fwd_node_fn node;
	void *node_arg;
	struct fwd_tree tree;
};

/* -- ports ---------------------------------------------------------------- */

/* Index of @rank's entry, or of where it would be. */
static size_t port_index(const struct fwd *f, uint32_t rank)
{
	size_t lo = 0, hi = f->n_ports;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (f->ports[mid].rank < rank)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static struct outlet *port_outlet(const struct fwd *f, uint32_t rank)
{
	size_t i = port_index(f, rank);

	if (i == f->n_ports || f->ports[i].rank != rank)
		return NULL;
	return f->ports[i].out;
}

int fwd_add_port(struct fwd *f, uint32_t rank, struct outlet *out)
{
	size_t i = port_index(f, rank);
	struct entry *ports;

	if (port_outlet(f, rank))
		return -EEXIST;
	ports = reallocarray(f->ports, f->n_ports + 1, sizeof(*ports));
	if (!ports)
		return -ENOMEM;
	f->ports = ports;
	memmove(&ports[i + 1], &ports[i], (f->n_ports - i) * sizeof(*ports));
	ports[i] = (struct entry){ rank, out };
	f->n_ports++;
	if (f->conf.mcast && mcast_port(f->conf.mcast, rank) < 0) {
		fwd_remove_port(f, rank);
		return -ENOMEM;
	}
	return 0;
}

void fwd_port_started(struct fwd *f, uint32_t rank)
{
	if (f->conf.mcast) /* it is known there: this needs no memory */
		mcast_port(f->conf.mcast, rank);
}

static void send_own(struct fwd *f, uint32_t rank, struct inlet *in,
		     const uint8_t *frame, size_t len)
{
	const struct packet p = packet_flat(frame, len);
	struct outlet *out = port_outlet(f, rank);

	if (out)
		flow_copy(in, out, &p);
}

void fwd_tell_port(struct fwd *f, uint32_t rank, const uint8_t *frame,
		   size_t len)
{
	send_own(f, rank, &f->own, frame, len);
}

void fwd_remove_port(struct fwd *f, uint32_t rank)
{
	size_t i = port_index(f, rank);

	if (!port_outlet(f, rank))
		return;
	flow_forget_outlet(f->conf.flow, f->ports[i].out);
	f->n_ports--;
	memmove(&f->ports[i], &f->ports[i + 1],
		(f->n_ports - i) * sizeof(*f->ports));
	if (f->conf.mcast)
		mcast_forget_port(f->conf.mcast, rank);
}

/* -- where to ------------------------------------------------------------- */

static int drop(struct inlet *in, enum counter why)
{
	count(in->counts, why);
	return 0;
}

/* For @rank; TRAFFIC_NOBODY: for who is behind one. */
static int send_on(struct inlet *in, struct outlet *out, uint32_t rank,
		   const struct packet *p)
{
	int r = flow_send(in, out, p);

	if (r == 0 && in->traffic)
		traffic_add(in->traffic, rank, p->len);
	return r;
}

static struct outlet *node_outlet(struct fwd *f, const struct inlet *in,
				  uint32_t node)
{
	return f->node(node, flow_index(in->flow), f->node_arg);
}

static int to_node(struct fwd *f, struct inlet *in, uint32_t node,
		   uint32_t rank, const struct packet *p)
{
	struct outlet *out = node_outlet(f, in, node);

	if (!out)
		return drop(in, COUNT_NODE_GONE);
	return send_on(in, out, rank, p);
}

static int to_port(struct fwd *f, struct inlet *in, uint32_t rank,
		   const struct packet *p)
{
	struct outlet *out = port_outlet(f, rank);

	if (!out)
		return drop(in, COUNT_NO_PORT);
	return send_on(in, out, rank, p);
}

#define NOBODY UINT32_MAX

static void to_every_port(struct fwd *f, struct inlet *in, uint32_t but,
			  const struct packet *p)
{
	for (size_t i = 0; i < f->n_ports; i++)
		if (f->ports[i].rank != but)
			flow_copy(in, f->ports[i].out, p);
}

static void copy_to_node(struct fwd *f, struct inlet *in, uint32_t node,
			 const struct packet *p)
{
	struct outlet *out = node_outlet(f, in, node);

	if (out)
		flow_copy(in, out, p);
}

static bool is_flat(const struct fwd *f)
{
	return table_nnodes(f->table) <= FWD_FLAT_NODES;
}

struct spreading {
	struct fwd *fwd;
	struct inlet *in;
	const struct packet *packet;
};

static void spread_to(uint32_t node, void *arg)
{
	const struct spreading *s = arg;

	copy_to_node(s->fwd, s->in, node, s->packet);
}

static void to_every_node(struct fwd *f, struct inlet *in,
			  const struct packet *p)
{
	struct spreading s = { f, in, p };

	if (!f->table)
		return;
	if (!is_flat(f)) {
		f->tree.spread(f->self, spread_to, &s, f->tree.arg);
		return;
	}
	for (uint32_t n = 0; n < table_nnodes(f->table); n++)
		if (n != f->self)
			copy_to_node(f, in, n, p);
}

/* It came from @from, where we are not the last. */
static void relay(struct fwd *f, struct inlet *in, uint32_t from,
		  uint32_t origin, const struct packet *p)
{
	struct packet on = *p;
	struct spreading s = { f, in, &on };

	if (is_flat(f))
		return;
	on.relayed = true;
	on.origin = origin;
	f->tree.spread(from, spread_to, &s, f->tree.arg);
}

/* -- to who asked --------------------------------------------------------- */

struct fanout {
	struct fwd *fwd;
	struct inlet *in;
	const struct packet *packet;
	const struct group *group; /* NULL: a report, for routers */
	uint32_t but;		   /* the port that it came from */
	bool taken;
};

static void to_member_port(uint32_t rank, void *arg)
{
	struct fanout *to = arg;
	struct outlet *out = port_outlet(to->fwd, rank);

	if (!out || rank == to->but)
		return;
	to->taken = true;
	flow_copy(to->in, out, to->packet);
}

static void to_member_node(uint32_t node, void *arg)
{
	struct fanout *to = arg;
	const struct groups *g = mcast_groups(to->fwd->conf.mcast);

	if (!groups_node_wants(g, node, to->group))
		return;
	to->taken = true;
	copy_to_node(to->fwd, to->in, node, to->packet);
}

/* It came from port @but, or from the neighbour @from. False: nobody wants
 * it. */
static bool to_members(struct fwd *f, struct inlet *in, uint32_t but,
		       uint32_t from, const struct packet *p,
		       const struct group *group)
{
	struct fanout to = { f, in, p, group, but };

	groups_each_port(mcast_groups(f->conf.mcast), group, to_member_port,
			 &to);
	if (f->table)
		f->tree.spread(from, to_member_node, &to, f->tree.arg);
	return to.taken;
}

/* For whom is it? False: for all. */
static bool is_for_members(const struct fwd *f, const struct packet *p,
			   struct group *group, const struct group **ret)
{
	if (!f->conf.mcast)
		return false;
	if (snoop_kind(p->head, p->head_len) == SNOOP_REPORT) {
		*ret = NULL;
		return true;
	}
	*ret = group;
	return snoop_is_grouped(p->head, p->head_len, group);
}

/* What a guest says of its groups is overheard, and its reports are for
 * routers only. */
static void overhear(struct fwd *f, uint32_t rank, struct inlet *in,
		     const struct packet *p)
{
	enum snoop kind = SNOOP_NOTHING;

	if (f->conf.mcast)
		kind = snoop_kind(p->head, p->head_len);
	if (kind == SNOOP_NOTHING)
		return;
	mcast_heard(f->conf.mcast, rank, kind, p->head, p->head_len, p->n_rest);
	if (kind == SNOOP_REPORT)
		to_members(f, in, rank, f->self, p, NULL);
}

/* -- checks --------------------------------------------------------------- */

static bool fits(const struct fwd *f, struct inlet *in, const struct packet *p)
{
	if (p->len < WIRE_FRAME_MIN)
		count(in->counts, COUNT_RUNT);
	else if (p->len > WIRE_FRAME_MAX ||
		 offload_longest(p) > f->conf.mtu + WIRE_FRAME_MIN + TAG_BYTES)
		count(in->counts, COUNT_OVERSIZE);
	else
		return true;
	return false;
}

static bool is_group(const uint8_t *mac)
{
	return mac[0] & 1;
}

/* A rank's address: one of the step's, not another that looks like it. */
static bool is_rank(const struct fwd *f, const uint8_t *mac, uint32_t *rank)
{
	return addr_mac_rank(mac, rank) && *rank < f->conf.nranks;
}

/* May @from send as @mac? What is no rank's address is learnt. */
static bool may_send_as(struct fwd *f, const uint8_t *mac,
			struct learn_owner from)
{
	uint32_t rank;

	if (is_group(mac))
		return false;
	if (is_rank(f, mac, &rank))
		return from.is_node ? table_node(f->table, rank) == from.id
				    : rank == from.id;
	lock_take(&f->lock);
	learn_saw(f->learn, mac, from, loop_now_ms());
	lock_drop(&f->lock);
	return true;
}

static bool find_learnt(struct fwd *f, const uint8_t *mac,
			struct learn_owner *ret)
{
	bool found;

	lock_take(&f->lock);
	found = learn_find(f->learn, mac, loop_now_ms(), ret);
	lock_drop(&f->lock);
	return found;
}

/* -- from a port ---------------------------------------------------------- */

static int to_learnt(struct fwd *f, uint32_t rank, struct inlet *in,
		     const struct packet *p)
{
	struct learn_owner to;

	if (!find_learnt(f, p->head, &to))
		return drop(in, COUNT_UNKNOWN);
	if (to.is_node)
		return to_node(f, in, to.id, TRAFFIC_NOBODY, p);
	if (to.id == rank)
		return drop(in, COUNT_SELF);
	return to_port(f, in, to.id, p);
}

static int unicast(struct fwd *f, uint32_t rank, struct inlet *in,
		   const struct packet *p)
{
	uint32_t to;

	if (!is_rank(f, p->head, &to))
		return to_learnt(f, rank, in, p);
	if (to == rank)
		return drop(in, COUNT_SELF);
	if (rankset_has(f->conf.local, to))
		return to_port(f, in, to, p);
	if (!f->table)
		return drop(in, COUNT_NO_TABLE);
	return to_node(f, in, table_node(f->table, to), to, p);
}

/* What is answered or swallowed at the port; true: it is dealt with. */
static bool stays_here(struct fwd *f, uint32_t rank, struct inlet *in,
		       const struct packet *p)
{
	static const enum counter counts[] = {
		[ANSWER_REPLY] = COUNT_ANSWERED,
		[ANSWER_SWALLOW] = COUNT_SWALLOWED,
		[ANSWER_SPOOFED] = COUNT_SPOOFED,
	};
	uint8_t reply[ANSWER_REPLY_MAX];
	size_t reply_len = 0;
	enum answer answer;

	answer = answer_frame(&f->answers, rank, p->head, p->head_len, reply,
			      &reply_len);
	if (answer == ANSWER_NOT_OURS)
		return false;
	count(in->counts, counts[answer]);
	if (answer != ANSWER_SPOOFED)
		flow_took(in, p->len);
	if (answer == ANSWER_REPLY)
		send_own(f, rank, in, reply, reply_len);
	return true;
}

static int group_from_port(struct fwd *f, uint32_t rank, struct inlet *in,
			   const struct packet *p)
{
	const struct group *to;
	struct group group;

	if (is_for_members(f, p, &group, &to)) {
		if (!to_members(f, in, rank, f->self, p, to))
			return drop(in, COUNT_NO_MEMBERS);
	} else {
		to_every_port(f, in, rank, p);
		to_every_node(f, in, p);
	}
	flow_took(in, p->len);
	if (in->traffic)
		traffic_add_all(in->traffic, p->len);
	return 0;
}

/* Groups, and the tree of nodes, are worker 0's: another one hands it the
 * frame, and as its origin the port's rank; CRY_STAYS: it is only to be
 * overheard. */
#define CRY_STAYS 0x80000000u
static_assert(RANK_MAX < CRY_STAYS, "both fit");

static void cry(struct fwd *f, struct inlet *in, uint32_t origin,
		const struct packet *p)
{
	struct outlet *out =
		lanes_outlet(f->cries, flow_index(in->flow), LANES_CRIES);
	struct packet on = *p;

	on.relayed = true;
	on.origin = origin;
	if (out)
		flow_copy(in, out, &on);
}

static int cry_from_port(struct fwd *f, uint32_t rank, struct inlet *in,
			 const struct packet *p)
{
	if (!stays_here(f, rank, in, p)) {
		cry(f, in, rank, p);
		flow_took(in, p->len);
		if (in->traffic)
			traffic_add_all(in->traffic, p->len);
	} else if (snoop_kind(p->head, p->head_len) != SNOOP_NOTHING) {
		cry(f, in, rank | CRY_STAYS, p);
	}
	return 0;
}

static void take_cry(struct fwd *f, struct packet *p)
{
	uint32_t rank = p->origin & ~CRY_STAYS;
	uint64_t *nobody = &f->own_counts.n[COUNT_NO_MEMBERS];
	struct outlet *port = port_outlet(f, rank);

	p->relayed = false;
	overhear(f, rank, &f->own, p);
	if (!(p->origin & CRY_STAYS))
		group_from_port(f, rank, &f->own, p);
	if (*nobody && port) /* which its own worker does not count */
		port->counts->n[COUNT_NO_MEMBERS] += *nobody;
	*nobody = 0;
}

static void on_cries(uint32_t node, void *arg)
{
	struct fwd *f = arg;
	struct packet p;
	struct buf *b;

	while ((b = lanes_take(f->cries, LANES_CRIES))) {
		size_t len = b->end - sizeof(struct wire_header), at = 0;

		while (outq_next_frame(b->data + sizeof(struct wire_header),
				       len, &at, &p) > 0)
			take_cry(f, &p);
		buf_return(f->conf.pool, b);
	}
}

/* What may be for us is looked at in one piece, and then goes on as that: the
 * sender cannot change it any more. What is longer is nothing of that kind. */
static int from_port(struct fwd *f, uint32_t rank, struct inlet *in,
		     const struct packet *p)
{
	if (is_group(p->head) && flow_index(in->flow))
		return cry_from_port(f, rank, in, p);
	if (is_group(p->head))
		overhear(f, rank, in, p);
	if (stays_here(f, rank, in, p))
		return 0;
	if (!is_group(p->head))
		return unicast(f, rank, in, p);
	return group_from_port(f, rank, in, p);
}

int fwd_from_port(struct fwd *f, uint32_t rank, struct inlet *in,
		  const struct packet *p)
{
	const struct learn_owner from = { .is_node = false, .id = rank };
	uint8_t whole[ANSWER_REPLY_MAX];
	struct packet flat;

	if (!fits(f, in, p))
		return 0;
	if (!may_send_as(f, p->head + ADDR_MAC_LEN, from))
		return drop(in, COUNT_SPOOFED);
	if (!answer_may_be_ours(&f->answers, p->head, p->head_len))
		return unicast(f, rank, in, p);
	if (!p->n_rest || p->len > sizeof(whole))
		return from_port(f, rank, in, p);
	packet_read(p, 0, whole, p->len);
	flat = packet_flat(whole, p->len);
	flat.offload = p->offload;
	flat.flow = p->flow;
	return from_port(f, rank, in, &flat);
}

/* -- from a node ---------------------------------------------------------- */

/* Who sent it, where @from passed it on. A node passes on what is for all, and
 * what comes from the side of the tree that it is on. */
static bool find_origin(const struct fwd *f, uint32_t from,
			const struct packet *p, uint32_t *ret)
{
	*ret = p->relayed ? p->origin : from;
	if (!p->relayed)
		return true;
	return is_group(p->head) && p->origin < table_nnodes(f->table) &&
	       f->tree.toward(p->origin, f->tree.arg) == from;
}

/* From the neighbour @node, where @origin sent it. */
static int group_from_node(struct fwd *f, uint32_t node, uint32_t origin,
			   struct inlet *in, const struct packet *p)
{
	struct packet on = *p;
	const struct group *to;
	struct group group;

	if (is_for_members(f, p, &group, &to)) {
		on.relayed = true;
		on.origin = origin;
		to_members(f, in, NOBODY, node, &on, to);
	} else {
		to_every_port(f, in, NOBODY, p);
		relay(f, in, node, origin, p);
	}
	flow_took(in, p->len);
	return 0;
}

int fwd_from_node(struct fwd *f, uint32_t node, struct inlet *in,
		  const struct packet *p)
{
	struct learn_owner from = { .is_node = true }, to;
	uint32_t rank;

	if (!fits(f, in, p))
		return 0;
	if (!find_origin(f, node, p, &from.id) ||
	    !may_send_as(f, p->head + ADDR_MAC_LEN, from))
		return drop(in, COUNT_SPOOFED);
	if (is_group(p->head))
		return group_from_node(f, node, from.id, in, p);
	if (is_rank(f, p->head, &rank))
		return to_port(f, in, rank, p);
	if (!find_learnt(f, p->head, &to) || to.is_node)
		return drop(in, COUNT_UNKNOWN);
	return to_port(f, in, to.id, p);
}

/* -- life ----------------------------------------------------------------- */

static int share(struct fwd *f)
{
	const struct lanes_conf cries = {
		.workers = f->conf.workers,
		.pool = f->conf.pool,
		.came = on_cries,
		.arg = f,
	};

	f->cries = lanes_new(&cries);
	lock_share(&f->lock);
	return f->cries ? 0 : -ENOMEM;
}

int fwd_new(const struct fwd_conf *conf, struct fwd **ret, struct errmsg *err)
{
	struct fwd *f = calloc(1, sizeof(*f));
	int r = -ENOMEM;

	if (f) {
		f->conf = *conf;
		f->learn = learn_new();
		r = f->learn ? 0 : -ENOMEM;
	}
	if (r == 0 && flow_is_shared(conf->flow))
		r = share(f);
	if (r < 0) {
		fwd_free(f);
		return errmsg_set(err, r, "forwarder");
	}
	f->own = (struct inlet){ NULL, &f->own_counts, conf->flow };
	f->answers = (struct answer_conf){ conf->net, conf->nranks, conf->mtu,
					   conf->names };
	*ret = f;
	return 0;
}

void fwd_set_table(struct fwd *f, const struct table *t, uint32_t self,
		   fwd_node_fn node, void *arg, const struct fwd_tree *tree)
{
	f->table = t;
	f->self = self;
	f->node = node;
	f->node_arg = arg;
	f->tree = *tree;
}

void fwd_free(struct fwd *f)
{
	if (!f)
		return;
	lanes_free(f->cries);
	learn_free(f->learn);
	lock_done(&f->lock);
	free(f->ports);
	free(f);
}
