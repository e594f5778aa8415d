/* A model of one node, fitted to those that were measured, and what it says of
 * steps that are larger than this machine. */
#include <config.h>

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "census.h"
#include "fwd.h"
#include "scale.h"

enum quantity { MEMORY, FDS, WIRE_UP, QUANTITIES };

static const struct {
	const char *name, *short_name, *unit;
} texts[] = {
	[MEMORY] = { "memory of a node", "memory", "KiB" },
	[FDS] = { "descriptors of a node", "descriptors", "" },
	[WIRE_UP] = { "wire-up, CPU of a node", "wire-up, CPU", "ms" },
};

#define THOUSAND 1000.0 /* nodes, so that terms are of one size */

static const char *const term_texts[MODEL_TERMS] = {
	"a node",
	"+ a port",
	"+ for a step of several nodes",
	"+ 1000 nodes in its table",
	"+ for having links",
	"+ a link of the wire-up",
	"+ a link later",
};

static void terms(const struct sample *p, double x[MODEL_TERMS])
{
	x[0] = 1;
	x[1] = p->ports;
	x[2] = p->nodes > 1;
	x[3] = p->nodes / THOUSAND;
	x[4] = p->links > 0;
	x[5] = p->tree;
	x[6] = p->links - p->tree;
}

/* -1: not measured. */
static double quantity(const struct sample *p, enum quantity q)
{
	return q == MEMORY ? p->kib : q == FDS ? p->fds : p->wire_ms;
}

/* False: there is nothing to fit it to. */
static bool fit(const struct scale *s, enum quantity q, struct model *ret)
{
	struct model_sum sum = { 0 };
	bool any = false;
	double x[MODEL_TERMS];

	for (unsigned int i = 0; i < s->n_fitted; i++) {
		if (quantity(&s->fitted[i], q) < 0)
			continue;
		terms(&s->fitted[i], x);
		model_add(&sum, x, quantity(&s->fitted[i], q));
		any = true;
	}
	*ret = model_fit(&sum);
	return any;
}

/* By how much of what was measured the model is off. */
static void errors(const struct scale *s, const struct model *m,
		   enum quantity q, const struct sample *list, unsigned int n,
		   const char *group)
{
	double x[MODEL_TERMS], y;
	char name[64];

	for (unsigned int i = 0; i < n; i++) {
		y = quantity(&list[i], q);
		if (y <= 0)
			continue;
		terms(&list[i], x);
		snprintf(name, sizeof(name), "%s, %s", texts[q].name,
			 list[i].nodes > THOUSAND ? "of a large step"
						  : "of a step");
		report_add(s->bench->report, group, name, "%",
			   100 * fabs(model_at(m, x) - y) / y);
	}
}

/* Neighbours in the tree of states; the busiest node's, a parent of many. */
static double tree_links(uint32_t nnodes)
{
	uint32_t children =
		nnodes - 1 < CENSUS_FANOUT ? nnodes - 1 : CENSUS_FANOUT;
	bool has_parent = nnodes > 2 * CENSUS_FANOUT; /* node 1 has all */

	return children + has_parent;
}

static unsigned int levels(uint32_t nnodes)
{
	unsigned int n = 0;

	for (uint32_t node = nnodes - 1; node;
	     node = (node - 1) / CENSUS_FANOUT)
		n++;
	return n;
}

static void extrapolate(const struct scale *s, const struct model m[],
			const bool known[], uint32_t nnodes, uint32_t ports)
{
	struct sample p = { .nodes = nnodes,
			    .ports = ports,
			    .links = tree_links(nnodes),
			    .tree = tree_links(nnodes) };
	unsigned int far = nnodes > FWD_FLAT_NODES ? 2 * levels(nnodes) : 1;
	struct report *r = s->bench->report;
	double x[MODEL_TERMS];
	char group[REPORT_NAME_MAX];

	snprintf(group, sizeof(group),
		 "model: %" PRIu32 " nodes, %" PRIu32 " ranks", nnodes,
		 nnodes * ports);
	terms(&p, x);
	report_add(r, group, "links of a node, at least up to", "", p.links);
	for (int q = 0; q < QUANTITIES; q++)
		if (known[q])
			report_add(r, group, texts[q].name, texts[q].unit,
				   model_at(&m[q], x));
	report_add(r, group, "messages between nodes, of a broadcast", "",
		   nnodes - 1);
	report_add(r, group, "of these one after another, at most", "", far);
	p.links = nnodes - 1;
	terms(&p, x);
	report_add(r, group, "memory of a node with a link to every other",
		   "KiB", model_at(&m[MEMORY], x));
}

static void print_terms(const struct scale *s, const struct model *m,
			enum quantity q)
{
	char name[64];

	for (int i = 0; i < MODEL_TERMS; i++) {
		snprintf(name, sizeof(name), "%s: %s", texts[q].short_name,
			 term_texts[i]);
		report_add(s->bench->report, "the model", name, texts[q].unit,
			   m->c[i]);
	}
}

void scale_model(struct scale *s)
{
	static const uint32_t steps[][2] = {
		{ 625, 16 }, { 10000, 1 }, { 10000, 16 }, { 10000, 64 }
	};
	struct model m[QUANTITIES];
	bool known[QUANTITIES];

	for (int q = 0; q < QUANTITIES; q++) {
		known[q] = fit(s, q, &m[q]);
		if (!known[q])
			continue;
		print_terms(s, &m[q], q);
		errors(s, &m[q], q, s->fitted, s->n_fitted,
		       "error of the model, of what it was fitted to");
		errors(s, &m[q], q, s->held, s->n_held,
		       "error of the model, of what it had not seen");
	}
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
		extrapolate(s, m, known, steps[i][0], steps[i][1]);
}
