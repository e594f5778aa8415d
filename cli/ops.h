/* ops.h - commands that are an op of each task: ps, op, pause, ... */
#ifndef VMSTEP_CLI_OPS_H
#define VMSTEP_CLI_OPS_H

#include "command.h"

extern const struct cmd_option op_options[], wait_options[], shutdown_options[];

int op_run(const struct invocation *inv);
int ops_run(const struct invocation *inv);
int ps_run(const struct invocation *inv);
int wait_run(const struct invocation *inv);
int pause_run(const struct invocation *inv);
int resume_run(const struct invocation *inv);
int reset_run(const struct invocation *inv);
int poweroff_run(const struct invocation *inv);
int shutdown_run(const struct invocation *inv);

#endif
