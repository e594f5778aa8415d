/* exec.h - vmstep exec: a command in guests, as ssh would run it
 *
 * One guest: its output as it comes, byte for byte. Several: line by line, each
 * with its rank in front, or folded (--fold): once for those that said the
 * same. The exit status is the highest of the commands'.
 */
#ifndef VMSTEP_CLI_EXEC_H
#define VMSTEP_CLI_EXEC_H

#include "command.h"

extern const struct cmd_option exec_options[];

int exec_run(const struct invocation *inv);

#endif
