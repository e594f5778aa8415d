/* agent.h - what the parts of the agent share */
#ifndef VMSTEP_AGENT_H
#define VMSTEP_AGENT_H

#include <jansson.h>
#include <sys/queue.h>

#include "loop.h"
#include "mux.h"
#include "rpc.h"

struct agent {
	struct loop *loop;
	struct mux *mux; /* owned by session.c; NULL: no port */
	struct rpc *rpc;
	struct procs *procs;			      /* proc.c */
	struct jobs *jobs;			      /* job.c */
	struct opsock *opsock;			      /* NULL: none */
	struct shutdown *shutdown;		      /* power.c */
	LIST_HEAD(netconf_waits, netconf_wait) waits; /* netconf.c */
};

#endif
