/* scale - what a step costs as it grows, measured and by model
 *
 *	tests/bench/scale [--json] [--nodes=N] [--idle=SECONDS]
 *			  [--program=PATH] [--boot=FILE]
 *
 * Built by `make check`. Runs steps of 1 to 64 (--nodes) real vmstep-net
 * processes with 16 ports each on this machine, and plays their helpers, who
 * wire them up as a step's do, and all guests. Any user may run it; only root
 * sees descriptors. It prints
 *   - for each size: memory (what the process has for itself), descriptors and
 *     links of a node, wire-up (from the table of nodes to the news that all
 *     tasks of the step are ready: real time here, where all nodes share these
 *     CPUs, and CPU time of a node, which is what counts where each has its
 *     own), messages of a broadcast, from counters, and how long it takes;
 *   - what one more port and one more link costs;
 *   - what 256 guests that boot send to other nodes: boot.pcap has what one
 *     sent (scale_boot.c);
 *   - a model, and by how much it misses what was measured: also steps of 64
 *     nodes, and a table of 10,000, which it was not fitted to; and what it
 *     says of steps up to 10,000 nodes.
 *
 * Ends with status 1 where an aim is missed.
 */
#include <config.h>

#include "scale.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef VMSTEP_NET
#define VMSTEP_NET "./vmstep-net"
#endif
#ifndef BENCH_BOOT
#define BENCH_BOOT "boot.pcap"
#endif

#define NODES_LEAST 2

void scale_sample(struct scale *s, bool held, struct sample sample)
{
	struct sample *list = held ? s->held : s->fitted;
	unsigned int *n = held ? &s->n_held : &s->n_fitted;

	if (*n == SAMPLES_MAX)
		die("more than %d samples", SAMPLES_MAX);
	list[(*n)++] = sample;
}

void scale_aim(struct scale *s, const char *what, const char *unit,
	       double value, double limit)
{
	report_add(s->bench->report, "aims", what, unit, value);
	if (value < limit)
		return;
	s->missed++;
	report_note(s->bench->report, "MISSED: %s: %g, not below %g %s", what,
		    value, limit, unit);
}

struct options {
	struct bench bench;
	const char *boot;
	uint32_t nodes;
	bool json;
};

static void parse(struct options *o, int argc, char **argv)
{
	const char *v;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0)
			o->json = true;
		else if ((v = arg_value(argv[i], "--program")))
			o->bench.program = v;
		else if ((v = arg_value(argv[i], "--boot")))
			o->boot = v;
		else if ((v = arg_value(argv[i], "--nodes")))
			o->nodes = (uint32_t)arg_number("--nodes", v);
		else if ((v = arg_value(argv[i], "--idle")))
			o->bench.idle_s = (unsigned int)arg_number("--idle", v);
		else
			die("%s: see the beginning of tests/bench/scale.c",
			    argv[i]);
	}
	if (o->nodes < NODES_LEAST)
		die("--nodes=%u: at least %d", o->nodes, NODES_LEAST);
}

int main(int argc, char **argv)
{
	struct options o = {
		.bench = { .program = getenv("VMSTEP_NET"), .idle_s = 10 },
		.boot = BENCH_BOOT,
		.nodes = 64,
	};
	static const uint32_t tables[] = { 1000, 2000, 4000, 7000, 10000 };
	struct scale *s = calloc(1, sizeof(*s));
	unsigned int missed;

	if (!s)
		die("out of memory");
	if (!o.bench.program)
		o.bench.program = VMSTEP_NET;
	parse(&o, argc, argv);
	signal(SIGPIPE, SIG_IGN);
	o.bench.report = report_new();
	s->bench = &o.bench;
	s->boot = o.boot;

	for (uint32_t n = 1; n < o.nodes; n *= 2)
		scale_step(s, n, false);
	scale_step(s, o.nodes, true);
	scale_ports(s);
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		scale_table(s, tables[i], tables[i] == 10000);
	scale_boot(s);
	scale_aim(s, "8 idle ports: CPU", "ms", bench_idle(&o.bench),
		  o.bench.idle_s);
	scale_model(s);

	report_print(o.bench.report, o.json, stdout);
	report_free(o.bench.report);
	missed = s->missed;
	free(s);
	return missed ? EXIT_FAILURE : EXIT_SUCCESS;
}
