/* check.h - vmstep check: is the site set up, and is this node ready? */
#ifndef VMSTEP_CLI_CHECK_H
#define VMSTEP_CLI_CHECK_H

#include "command.h"

extern const struct cmd_option check_options[];
int check_run(const struct invocation *inv);

#endif
