/* connect.h - vmstep connect: the step for Python, and for any program
 *
 * Python's package (contrib/python) does its own talking with the tasks'
 * sockets; what it does not know it asks here: which step, where its sockets
 * are (--where), and for those of other nodes a way there (--raw).
 */
#ifndef VMSTEP_CLI_CONNECT_H
#define VMSTEP_CLI_CONNECT_H

#include "command.h"

extern const struct cmd_option connect_options[];

int connect_run(const struct invocation *inv);

#endif
