/* nodes.h - the vmstep-net processes of a step; the benchmark plays the helpers
 *
 * Rank r is on node r / per_node. Whatever fails ends the benchmark.
 */
#ifndef VMSTEP_BENCH_NODES_H
#define VMSTEP_BENCH_NODES_H

#include <stdint.h>
#include <sys/types.h>

#include "netctl.h"

#define NODES_MAX      2
#define NODES_RANK_MAX 16

struct nodes_conf {
	const char *program, *log; /* log NULL: none */
	uint32_t nnodes, per_node;
	/* By node; netns -1: ours. */
	int cpu[NODES_MAX], netns[NODES_MAX];
	const char *address[NODES_MAX]; /* where other nodes reach it */
};

struct nodes;

struct nodes *nodes_start(const struct nodes_conf *conf);
/* HELLO of @rank, WELCOME, and a PORT behind @fd, which is closed. */
void nodes_join(struct nodes *s, uint32_t rank, enum netctl_port kind, int fd);
/* When all have joined. */
void nodes_table(struct nodes *s);
pid_t nodes_pid(const struct nodes *s, uint32_t node);
/* All ranks, which have joined, are done; wait until the processes end. */
void nodes_end(struct nodes *s);

#endif
