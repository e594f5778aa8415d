/* crowd.h - a step of many nodes, with a guest on each of its ports
 *
 * One thread plays all guests. Whatever fails ends the benchmark.
 */
#ifndef VMSTEP_BENCH_CROWD_H
#define VMSTEP_BENCH_CROWD_H

#include "guest.h"
#include "netlog.h"
#include "nodes.h"

struct crowd_conf {
	const char *program;
	uint32_t nnodes, per_node;
	uint32_t absent; /* see nodes_conf */
	enum netctl_port kind;
};

struct crowd {
	struct crowd_conf conf;
	uint32_t nranks;
	struct nodes *nodes;
	struct netlog *log;
	struct guest **guests; /* by rank */
	uint64_t *got;	       /* frames of crowd_send(), by rank */
	uint32_t number;       /* of the last of these */
};

/* Processes and ports, but no table of nodes yet. */
void crowd_start(struct crowd *c, const struct crowd_conf *conf);
void crowd_end(struct crowd *c);

/* A frame of @from's: to @to, or to all where that is UINT32_MAX. Wait until
 * all have it, each once. Returns how long that took. */
int64_t crowd_send(struct crowd *c, uint32_t from, uint32_t to);
/* Let every guest take what has come, for as long. */
void crowd_settle(struct crowd *c, int ms);

#endif
