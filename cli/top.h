/* top.h - vmstep top: what a step's VMs use now */
#ifndef VMSTEP_CLI_TOP_H
#define VMSTEP_CLI_TOP_H

#include "command.h"

extern const struct cmd_option top_options[];

int top_run(const struct invocation *inv);

#endif
