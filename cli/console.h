/* console.h - vmstep console: a guest's serial console */
#ifndef VMSTEP_CLI_CONSOLE_H
#define VMSTEP_CLI_CONSOLE_H

#include "command.h"

extern const struct cmd_option console_options[];

int console_run(const struct invocation *inv);

#endif
