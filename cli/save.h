/* save.h - vmstep save: the whole step, in a new directory */
#ifndef VMSTEP_CLI_SAVE_H
#define VMSTEP_CLI_SAVE_H

#include "command.h"

extern const struct cmd_option save_options[];

int save_run(const struct invocation *inv);

#endif
