/* topo.h - the nodes of a step, with its VMs on them, as lstopo draws them */
#ifndef VMSTEP_CLI_TOPO_H
#define VMSTEP_CLI_TOPO_H

#include "command.h"

extern const struct cmd_option topo_options[];

int topo_run(const struct invocation *inv);

#endif
