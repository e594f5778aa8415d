/* netlog.h - counters of a step's vmstep-net processes, from their log
 *
 * SIGUSR1 has each of them write its counters to the log, which they share.
 *
 * Owns: the file, a temporary one.
 */
#ifndef VMSTEP_BENCH_NETLOG_H
#define VMSTEP_BENCH_NETLOG_H

#include <stdint.h>

#include "nodes.h"

struct netlog;

/* Sums over the ports, or the links, of one node. */
struct netlog_node {
	unsigned int links; /* nodes that it ever had a word for */
	uint64_t link_in, link_out;
	uint64_t port_in, port_out, answered, swallowed, full;
	uint64_t dropped; /* at ports, for whatever other reason */
};

struct netlog *netlog_new(void);
const char *netlog_path(const struct netlog *l);
void netlog_free(struct netlog *l);
/* What the counters of each of @nnodes nodes are now. */
void netlog_read(struct netlog *l, const struct nodes *s, uint32_t nnodes,
		 struct netlog_node *ret);
struct netlog_node netlog_sum(const struct netlog_node *nodes, uint32_t n);

#endif
