#include <config.h>

#include "fwd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "answer.h"
#include "learn.h"
#include "link_wire.h"

#define TAG_BYTES 4 /* of a VLAN, which the MTU does not count */

struct entry {
	uint32_t rank;
	struct inlet *in;
	struct outlet *out;
};

struct fwd {
	struct fwd_conf conf;
	struct answer_conf answers;
	struct learn *learn;

	struct entry *ports; /* by rank, ascending */
	size_t n_ports;

	const struct table *table; /* borrowed; NULL: not known yet */
	uint32_t self;
	fwd_node_fn node;
	void *node_arg;
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

int fwd_add_port(struct fwd *f, uint32_t rank, struct inlet *in,
		 struct outlet *out)
{
	size_t i = port_index(f, rank);
	struct entry *ports;

	if (port_outlet(f, rank))
		return -EEXIST;
	ports = reallocarray(f->ports, f->n_ports + 1, sizeof(*ports));
	if (!ports)
		return -ENOMEM;
	memmove(&ports[i + 1], &ports[i], (f->n_ports - i) * sizeof(*ports));
	ports[i] = (struct entry){ rank, in, out };
	f->ports = ports;
	f->n_ports++;
	return 0;
}

void fwd_remove_port(struct fwd *f, uint32_t rank)
{
	size_t i = port_index(f, rank);

	if (!port_outlet(f, rank))
		return;
	flow_forget(f->conf.flow, f->ports[i].in, f->ports[i].out);
	f->n_ports--;
	memmove(&f->ports[i], &f->ports[i + 1],
		(f->n_ports - i) * sizeof(*f->ports));
}

/* -- where to ------------------------------------------------------------- */

static int drop(struct inlet *in, enum counter why)
{
	count(in->counts, why);
	return 0;
}

static int to_node(struct fwd *f, struct inlet *in, uint32_t node,
		   const uint8_t *frame, size_t len)
{
	struct outlet *out = f->node(node, f->node_arg);

	if (!out)
		return drop(in, COUNT_NODE_GONE);
	return flow_send(f->conf.flow, in, out, frame, len);
}

static int to_port(struct fwd *f, struct inlet *in, uint32_t rank,
		   const uint8_t *frame, size_t len)
{
	struct outlet *out = port_outlet(f, rank);

	if (!out)
		return drop(in, COUNT_NO_PORT);
	return flow_send(f->conf.flow, in, out, frame, len);
}

static void to_every_port(struct fwd *f, const struct inlet *but,
			  const uint8_t *frame, size_t len)
{
	for (size_t i = 0; i < f->n_ports; i++)
		if (f->ports[i].in != but)
			flow_copy(f->ports[i].out, frame, len);
}

static void to_every_node(struct fwd *f, const uint8_t *frame, size_t len)
{
	struct outlet *out;

	for (uint32_t n = 0; f->table && n < table_nnodes(f->table); n++) {
		if (n == f->self)
			continue;
		out = f->node(n, f->node_arg);
		if (out)
			flow_copy(out, frame, len);
	}
}

/* -- checks --------------------------------------------------------------- */

static bool fits(const struct fwd *f, struct inlet *in, size_t len)
{
	if (len < WIRE_FRAME_MIN)
		count(in->counts, COUNT_RUNT);
	else if (len > f->conf.mtu + WIRE_FRAME_MIN + TAG_BYTES)
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
	learn_saw(f->learn, mac, from, loop_now_ms());
	return true;
}

/* -- from a port ---------------------------------------------------------- */

static int to_learnt(struct fwd *f, uint32_t rank, struct inlet *in,
		     const uint8_t *frame, size_t len)
{
	struct learn_owner to;

	if (!learn_find(f->learn, frame, loop_now_ms(), &to))
		return drop(in, COUNT_UNKNOWN);
	if (to.is_node)
		return to_node(f, in, to.id, frame, len);
	if (to.id == rank)
		return drop(in, COUNT_SELF);
	return to_port(f, in, to.id, frame, len);
}

static int unicast(struct fwd *f, uint32_t rank, struct inlet *in,
		   const uint8_t *frame, size_t len)
{
	uint32_t to;

	if (!is_rank(f, frame, &to))
		return to_learnt(f, rank, in, frame, len);
	if (to == rank)
		return drop(in, COUNT_SELF);
	if (rankset_has(f->conf.local, to))
		return to_port(f, in, to, frame, len);
	if (!f->table)
		return drop(in, COUNT_NO_TABLE);
	return to_node(f, in, table_node(f->table, to), frame, len);
}

static void reply_to(struct fwd *f, uint32_t rank, const uint8_t *reply,
		     size_t len)
{
	struct outlet *out = port_outlet(f, rank);

	if (out)
		flow_copy(out, reply, len);
}

/* What is answered or swallowed at the port; true: it is dealt with. */
static bool stays_here(struct fwd *f, uint32_t rank, struct inlet *in,
		       const uint8_t *frame, size_t len)
{
	static const enum counter counts[] = {
		[ANSWER_REPLY] = COUNT_ANSWERED,
		[ANSWER_SWALLOW] = COUNT_SWALLOWED,
		[ANSWER_SPOOFED] = COUNT_SPOOFED,
	};
	uint8_t reply[ANSWER_REPLY_MAX];
	size_t reply_len = 0;
	enum answer answer;

	answer = answer_frame(&f->answers, rank, frame, len, reply, &reply_len);
	if (answer == ANSWER_NOT_OURS)
		return false;
	count(in->counts, counts[answer]);
	if (answer != ANSWER_SPOOFED)
		flow_took(in, len);
	if (answer == ANSWER_REPLY)
		reply_to(f, rank, reply, reply_len);
	return true;
}

int fwd_from_port(struct fwd *f, uint32_t rank, struct inlet *in,
		  const uint8_t *frame, size_t len)
{
	const struct learn_owner from = { .is_node = false, .id = rank };

	if (!fits(f, in, len))
		return 0;
	if (!may_send_as(f, frame + ADDR_MAC_LEN, from))
		return drop(in, COUNT_SPOOFED);
	if (stays_here(f, rank, in, frame, len))
		return 0;
	if (!is_group(frame))
		return unicast(f, rank, in, frame, len);
	to_every_port(f, in, frame, len);
	to_every_node(f, frame, len);
	flow_took(in, len);
	return 0;
}

/* -- from a node ---------------------------------------------------------- */

int fwd_from_node(struct fwd *f, uint32_t node, struct inlet *in,
		  const uint8_t *frame, size_t len)
{
	const struct learn_owner from = { .is_node = true, .id = node };
	struct learn_owner to;
	uint32_t rank;

	if (!fits(f, in, len))
		return 0;
	if (!may_send_as(f, frame + ADDR_MAC_LEN, from))
		return drop(in, COUNT_SPOOFED);
	if (is_group(frame)) {
		to_every_port(f, NULL, frame, len);
		flow_took(in, len);
		return 0;
	}
	if (is_rank(f, frame, &rank))
		return to_port(f, in, rank, frame, len);
	if (!learn_find(f->learn, frame, loop_now_ms(), &to) || to.is_node)
		return drop(in, COUNT_UNKNOWN);
	return to_port(f, in, to.id, frame, len);
}

/* -- life ----------------------------------------------------------------- */

int fwd_new(const struct fwd_conf *conf, struct fwd **ret, struct errmsg *err)
{
	struct fwd *f = calloc(1, sizeof(*f));

	if (f)
		f->learn = learn_new();
	if (!f || !f->learn) {
		free(f);
		return errmsg_set(err, -ENOMEM, "forwarder");
	}
	f->conf = *conf;
	f->answers = (struct answer_conf){ conf->net, conf->nranks };
	*ret = f;
	return 0;
}

void fwd_set_table(struct fwd *f, const struct table *t, uint32_t self,
		   fwd_node_fn node, void *arg)
{
	f->table = t;
	f->self = self;
	f->node = node;
	f->node_arg = arg;
}

void fwd_free(struct fwd *f)
{
	if (!f)
		return;
	learn_free(f->learn);
	free(f->ports);
	free(f);
}
