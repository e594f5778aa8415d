/* sysinfo.h - what the guest is, and its clock */
#ifndef VMSTEP_SYSINFO_H
#define VMSTEP_SYSINFO_H

#include <jansson.h>

#include "rpc.h"

/* The parameters of agent.hello; NULL without memory. */
json_t *sysinfo_hello(void);
/* Those of agent.alive, the @seq-th of this agent. */
json_t *sysinfo_alive(json_int_t seq, unsigned int procs);

void sysinfo_get(struct rpc_call *call, const json_t *params, void *agent);
void sysinfo_set_time(struct rpc_call *call, const json_t *params, void *agent);
void sysinfo_echo(struct rpc_call *call, const json_t *params, void *agent);

#endif
