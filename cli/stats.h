/* stats.h - vmstep stats */
#ifndef VMSTEP_CLI_STATS_H
#define VMSTEP_CLI_STATS_H

#include "command.h"

extern const struct cmd_option stats_options[];

int stats_run(const struct invocation *inv);

#endif
