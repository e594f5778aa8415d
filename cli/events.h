/* events.h - vmstep events and vmstep log: what happens in a step
 *
 * On each node of the step another vmstep subscribes to its tasks' events
 * (vmstep-api(7)) and prints them as they come.
 */
#ifndef VMSTEP_CLI_EVENTS_H
#define VMSTEP_CLI_EVENTS_H

#include <jansson.h>
#include <stdbool.h>

#include "command.h"

extern const struct cmd_option events_options[], log_options[];

/* One event (@log: line of a log) of @node, harmless to a terminal. */
void events_show(bool log, const char *node, const json_t *event);

int events_run(const struct invocation *inv);
int log_run(const struct invocation *inv);

#endif
