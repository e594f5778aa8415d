/* events.h - vmstep events and vmstep log: what happens in a step
 *
 * On each node of the step another vmstep subscribes to its tasks' events
 * (vmstep-api(7)) and prints them as they come.
 */
#ifndef VMSTEP_CLI_EVENTS_H
#define VMSTEP_CLI_EVENTS_H

#include "command.h"

extern const struct cmd_option events_options[], log_options[];

int events_run(const struct invocation *inv);
int log_run(const struct invocation *inv);

#endif
