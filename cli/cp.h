/* cp.h - vmstep cp: files and directories into guests, out of them, between */
#ifndef VMSTEP_CLI_CP_H
#define VMSTEP_CLI_CP_H

#include "command.h"

extern const struct cmd_option cp_options[];

int cp_run(const struct invocation *inv);

#endif
