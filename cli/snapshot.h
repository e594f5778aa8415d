/* snapshot.h - vmstep snapshot: moments of VMs, to go back to */
#ifndef VMSTEP_CLI_SNAPSHOT_H
#define VMSTEP_CLI_SNAPSHOT_H

#include <jansson.h>

#include "command.h"

extern const struct cmd_option snapshot_options[];

/* What list shows: names and words may be of an image's maker. */
void snapshot_show_list(const char *rank, const json_t *result);

int snapshot_run(const struct invocation *inv);

#endif
