/* showconfig.h - vmstep config: the settings in force, and where from */
#ifndef VMSTEP_CLI_SHOWCONFIG_H
#define VMSTEP_CLI_SHOWCONFIG_H

#include "command.h"

int config_run(const struct invocation *inv);

#endif
