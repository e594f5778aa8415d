/* capture.h - vmstep capture: a VM's frames, as they go */
#ifndef VMSTEP_CLI_CAPTURE_H
#define VMSTEP_CLI_CAPTURE_H

#include "command.h"

extern const struct cmd_option capture_options[];

int capture_run(const struct invocation *inv);

#endif
