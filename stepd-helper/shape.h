/* shape.h - the guest's CPUs and memory as what the task has of the node
 *
 * What is even is shown as it is: sockets of as many cores each, cores of as
 * many threads each. Where packages or cores give the task unequal shares, the
 * guest has one socket, or cores of one thread: QEMU knows no others.
 */
#ifndef VMSTEP_SHAPE_H
#define VMSTEP_SHAPE_H

#include <stdbool.h>
#include <stdint.h>

#define SHAPE_NODES_MAX 16

/* Where a virtual CPU runs. */
struct shape_cpu {
	unsigned int package, core; /* any numbers that tell them apart */
	int node;		    /* of memory, as Linux counts; -1: none */
	uint64_t node_bytes;	    /* of memory that it has; 0: not known */
};

struct shape {
	unsigned int sockets, cores, threads; /* 0: all are cores of one */
	unsigned int n_nodes; /* of memory; 0: one, from anywhere */
	bool bound;	      /* each from its node of the host */
	struct shape_node {
		unsigned int host;     /* as Linux counts it */
		unsigned int first, n; /* its virtual CPUs */
		uint64_t mem_bytes;
	} node[SHAPE_NODES_MAX];
};

struct shape_want {
	bool threads; /* or may those of a socket run on any CPU of it? */
	bool nodes;
	uint64_t mem_bytes;  /* of the VM, whole pages */
	uint64_t page_bytes; /* a node has whole ones */
	unsigned int host_nodes;
};

/* Of @n virtual CPUs at @cpus, those of one package next to each other, and so
 * those of a core and a node. */
void shape_make(const struct shape_cpu *cpus, unsigned int n,
		const struct shape_want *want, struct shape *ret);

#endif
