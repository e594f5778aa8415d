/* snapshot.h - vmstep snapshot: moments of VMs, to go back to */
#ifndef VMSTEP_CLI_SNAPSHOT_H
#define VMSTEP_CLI_SNAPSHOT_H

#include "command.h"

extern const struct cmd_option snapshot_options[];

int snapshot_run(const struct invocation *inv);

#endif
