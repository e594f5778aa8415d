/* nodes.h - the vmstep-net processes of a step; the benchmark plays the helpers
 *
 * Rank r is on node r / per_node. Whatever fails ends the benchmark.
 */
#ifndef VMSTEP_BENCH_NODES_H
#define VMSTEP_BENCH_NODES_H

#include <stdint.h>
#include <sys/types.h>

#include "netctl.h"

struct nodes_conf {
	const char *program, *log; /* log NULL: none; of all nodes */
	const char *options;	   /* further ones; NULL: none */
	uint32_t nnodes, per_node;
	/* Nodes of the table beyond nnodes: nobody is there. */
	uint32_t absent;
	/* By node; NULL: any CPU, our network namespace, 127.0.0.1. */
	const int *cpu, *netns;
	const char *const *address; /* where other nodes reach it */
};

struct nodes;

/* What @conf points at is used until this returns. */
struct nodes *nodes_start(const struct nodes_conf *conf);
/* HELLO of @rank, WELCOME, and a PORT behind @fd, which is closed. */
void nodes_join(struct nodes *s, uint32_t rank, enum netctl_port kind, int fd);
/* When all have joined. */
void nodes_table(struct nodes *s);
/* All ranks, which have joined, say so, and wait until it holds for all. */
void nodes_say_all(struct nodes *s, enum netctl_state state);
void nodes_await_all(struct nodes *s, enum netctl_state state);
pid_t nodes_pid(const struct nodes *s, uint32_t node);
/* All ranks are done; wait until the processes end. With absent nodes they
 * are not waited for, but killed. */
void nodes_end(struct nodes *s);

#endif
