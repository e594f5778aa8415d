/* stats.h - what this node has counted, read in one go
 *
 * The only place where counters of ports and links are read for others. What
 * is read is copied, so that whoever asked can take its time with it: the
 * forwarder stands still for as long as that takes, some microseconds a port.
 *
 * Thread:  the loop's, with no worker in a port or link.
 */
#ifndef VMSTEP_STATS_H
#define VMSTEP_STATS_H

#include <stdint.h>

#include "counters.h"
#include "mesh.h"
#include "netstats.h"
#include "ports.h"

#define STATS_ALL UINT32_MAX

struct stats_env { /* all borrowed */
	const char *name;
	uint32_t node, nnodes, nranks;
	int64_t started_ms;
	const struct counters *counts; /* the program's */
	const struct ports *ports;
	const struct mesh *mesh;
};

/* Node, ports and links with STATS_ALL; else node and the peers of @rank.
 * -ENOENT: it has no port; -ENOMEM. */
int stats_take(const struct stats_env *env, uint32_t rank,
	       struct netstats *ret);
/* The same in a memfd, the caller's. Returns it or -errno. */
int stats_memfd(const struct stats_env *env, uint32_t rank);

/* Whom @p's guest has sent to. */
void stats_peers(const struct port *p, struct netstats *s);
/* Node, ports, links, and peers of as many ports as @max bytes hold. */
void stats_take_whole(const struct stats_env *env, size_t max,
		      struct netstats *s);

#endif
