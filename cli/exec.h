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

/* @argv of @n words in the one VM that @inv means, as @user, with our standard
 * input and output as they are: no byte waits for the end of its line. */
int exec_as(const struct invocation *inv, const char *user,
	    const char *const *argv, int n);

int exec_run(const struct invocation *inv);

#endif
