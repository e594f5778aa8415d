/* Steps of many nodes, and what they cost. */
#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "proc.h"
#include "scale.h"

#define SETTLE_MS 200
#define ALL	  UINT32_MAX
#define PORTS_MAX 256
#define LINK_AIM  4.0	/* KiB */
#define PORT_AIM  256.0 /* KiB */

static struct sample look(const struct crowd *c, uint32_t node,
			  unsigned int links)
{
	pid_t pid = nodes_pid(c->nodes, node);

	return (struct sample){
		.nodes = c->conf.nnodes + c->conf.absent,
		.ports = c->conf.per_node,
		.links = links,
		.tree = links,
		.kib = proc_status(pid, "RssAnon:"),
		.pte_kib = proc_status(pid, "VmPTE:"),
		.fds = proc_fds(pid),
		.wire_ms = -1,
	};
}

static void report_sample(const struct scale *s, const char *group,
			  const struct sample *p)
{
	struct report *r = s->bench->report;

	report_add(r, group, "memory of a node", "KiB", p->kib);
	report_add(r, group, "page tables of a node", "KiB", p->pte_kib);
	if (p->fds >= 0)
		report_add(r, group, "descriptors of a node", "", p->fds);
	else
		report_note(r, "descriptors: needs root");
	report_add(r, group, "links of a node", "", p->links);
	if (p->wire_ms >= 0)
		report_add(r, group, "wire-up, CPU of a node", "ms",
			   p->wire_ms);
}

/* -- wire-up -------------------------------------------------------------- */

static double cpu_ms(const struct crowd *c, uint32_t node)
{
	return (double)process_cpu_ns(nodes_pid(c->nodes, node)) / 1e6;
}

/* From the helpers' table of nodes until all tasks know that all are ready.
 * @cpu is by node. Returns the real time. */
static double wire_up(struct crowd *c, double *cpu)
{
	int64_t start;

	nodes_say_all(c->nodes, NETCTL_READY);
	crowd_settle(c, SETTLE_MS);
	for (uint32_t n = 0; n < c->conf.nnodes; n++)
		cpu[n] = -cpu_ms(c, n);
	start = now_ns();
	if (c->conf.nnodes > 1)
		nodes_table(c->nodes);
	nodes_await_all(c->nodes, NETCTL_READY);
	start = now_ns() - start;
	crowd_settle(c, SETTLE_MS);
	for (uint32_t n = 0; n < c->conf.nnodes; n++)
		cpu[n] += cpu_ms(c, n);
	return (double)start / 1e6;
}

static void sample_nodes(struct scale *s, struct crowd *c, bool held,
			 const char *group, const double *cpu)
{
	struct netlog_node *counts =
		calloc(c->conf.nnodes, sizeof(struct netlog_node));

	netlog_read(c->log, c->nodes, c->conf.nnodes, counts);
	for (uint32_t n = 0; n < c->conf.nnodes; n++) {
		struct sample p = look(c, n, counts[n].links);

		p.wire_ms = cpu[n];
		report_sample(s, group, &p);
		scale_sample(s, held, p);
	}
	free(counts);
}

/* -- frames --------------------------------------------------------------- */

static struct netlog_node sums(struct crowd *c)
{
	struct netlog_node *n = calloc(c->conf.nnodes, sizeof(*n)), sum;

	netlog_read(c->log, c->nodes, c->conf.nnodes, n);
	sum = netlog_sum(n, c->conf.nnodes);
	free(n);
	return sum;
}

/* From the first rank, the last, and others. What the first one finds to be
 * opened is not timed. */
static void broadcasts(struct scale *s, struct crowd *c, const char *group)
{
	const uint32_t from[] = { 0, c->nranks - 1, c->nranks / 2,
				  c->nranks / 3, c->conf.per_node };
	double want = c->conf.nnodes - 1, most = 0, sent;
	struct netlog_node before, after = sums(c);

	for (size_t i = 0; i < sizeof(from) / sizeof(from[0]); i++) {
		if (from[i] >= c->nranks)
			continue;
		crowd_send(c, from[i], ALL);
		before = after;
		after = sums(c);
		sent = (double)(after.link_out - before.link_out);
		report_add(s->bench->report, group,
			   "messages between nodes, of a broadcast", "", sent);
		most = sent > most ? sent : most;
		report_add(s->bench->report, group, "until all have one", "us",
			   (double)crowd_send(c, from[i], ALL) / 1e3);
		after = sums(c);
	}
	if (c->conf.nnodes == 64)
		scale_aim(s, "a broadcast to 1023 guests on 64 nodes: messages",
			  "", most, want + 1);
}

/* Rank 0 talks to every node. What its node has more of then is the links':
 * buffers for frames it had before. @fresh is from when nothing was sent yet.
 */
static void links(struct scale *s, struct crowd *c, struct sample fresh,
		  bool held)
{
	struct netlog_node *counts = calloc(c->conf.nnodes, sizeof(*counts));
	struct sample before, after;

	netlog_read(c->log, c->nodes, c->conf.nnodes, counts);
	before = look(c, 0, counts[0].links);
	for (uint32_t n = 1; n < c->conf.nnodes; n++)
		crowd_send(c, 0, n * c->conf.per_node);
	netlog_read(c->log, c->nodes, c->conf.nnodes, counts);
	after = look(c, 0, counts[0].links);
	free(counts);
	if (after.links == before.links)
		return;
	fresh.kib += after.kib - before.kib;
	fresh.fds += after.fds - before.fds;
	fresh.links = after.links;
	scale_sample(s, held, fresh);
	report_add(s->bench->report, "one more", "idle link: memory", "KiB",
		   (after.kib - before.kib) / (after.links - before.links));
	if (after.fds >= 0)
		report_add(s->bench->report, "one more",
			   "idle link: descriptors", "",
			   (after.fds - before.fds) /
				   (after.links - before.links));
	if (c->conf.nnodes == 64)
		scale_aim(s, "an idle link: memory", "KiB",
			  (after.kib - before.kib) /
				  (after.links - before.links),
			  LINK_AIM);
}

static void idle(struct scale *s, struct crowd *c, const char *group)
{
	double ms = 0;

	for (uint32_t n = 0; n < c->conf.nnodes; n++)
		ms -= cpu_ms(c, n);
	sleep(s->bench->idle_s);
	for (uint32_t n = 0; n < c->conf.nnodes; n++)
		ms += cpu_ms(c, n);
	report_add(s->bench->report, group, "idle: CPU of all nodes", "ms/s",
		   ms / s->bench->idle_s);
}

void scale_step(struct scale *s, uint32_t nnodes, bool last)
{
	const struct crowd_conf conf = { s->bench->program, nnodes, PORTS, 0,
					 NETCTL_VHOST_USER };
	double *cpu = calloc(nnodes, sizeof(*cpu)), ms;
	struct sample fresh;
	struct crowd c;
	char group[REPORT_NAME_MAX];

	snprintf(group, sizeof(group), "%" PRIu32 " nodes, %" PRIu32 " ranks",
		 nnodes, nnodes * PORTS);
	crowd_start(&c, &conf);
	ms = wire_up(&c, cpu);
	sample_nodes(s, &c, last, group, cpu);
	fresh = look(&c, 0, 0);
	report_add(s->bench->report, group, "wire-up, real time here", "ms",
		   ms);
	broadcasts(s, &c, group);
	if (nnodes > 16) /* else all are neighbours in the tree */
		links(s, &c, fresh, last);
	if (last)
		idle(s, &c, group);
	crowd_end(&c);
	free(cpu);
}

/* -- what does not need many nodes ---------------------------------------- */

static void one_node(struct scale *s, enum netctl_port kind,
		     struct sample ret[2])
{
	for (int i = 0; i < 2; i++) {
		const struct crowd_conf conf = { s->bench->program, 1,
						 i ? PORTS_MAX : 1, 0, kind };
		struct crowd c;

		crowd_start(&c, &conf);
		crowd_settle(&c, SETTLE_MS);
		ret[i] = look(&c, 0, 0);
		crowd_end(&c);
		if (kind == NETCTL_VHOST_USER)
			scale_sample(s, false, ret[i]);
	}
}

void scale_ports(struct scale *s)
{
	static const struct {
		enum netctl_port kind;
		const char *name;
	} kinds[] = { { NETCTL_VHOST_USER, "vhost-user" },
		      { NETCTL_STREAM, "stream" } };
	char name[64];

	for (int i = 0; i < 2; i++) {
		struct sample p[2];
		double kib;

		one_node(s, kinds[i].kind, p);
		kib = (p[1].kib + p[1].pte_kib - p[0].kib - p[0].pte_kib) /
		      (PORTS_MAX - 1);
		snprintf(name, sizeof(name),
			 "%s port: memory, with page tables", kinds[i].name);
		report_add(s->bench->report, "one more", name, "KiB", kib);
		if (i == 0)
			scale_aim(s, "a vhost-user port: memory", "KiB", kib,
				  PORT_AIM);
		if (p[0].fds < 0)
			continue;
		snprintf(name, sizeof(name), "%s port: descriptors",
			 kinds[i].name);
		report_add(s->bench->report, "one more", name, "",
			   (p[1].fds - p[0].fds) / (PORTS_MAX - 1));
	}
}

/* One node of so many. It is the root, and the others are still expected. */
void scale_table(struct scale *s, uint32_t nnodes, bool held)
{
	const struct crowd_conf conf = { s->bench->program, 1, PORTS,
					 nnodes - 1, NETCTL_VHOST_USER };
	struct sample p;
	struct crowd c;
	char group[REPORT_NAME_MAX];
	double ms;

	crowd_start(&c, &conf);
	crowd_settle(&c, SETTLE_MS);
	ms = -cpu_ms(&c, 0);
	nodes_table(c.nodes);
	crowd_settle(&c, SETTLE_MS);
	p = look(&c, 0, 0);
	p.wire_ms = ms + cpu_ms(&c, 0);
	snprintf(group, sizeof(group), "one node of %" PRIu32, nnodes);
	report_sample(s, group, &p);
	scale_sample(s, held, p);
	crowd_end(&c);
}
