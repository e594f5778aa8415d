/* kernel.h - vmstep kernel: the guests' named sets of ops
 *
 * list, ops, add, drop: an op of each task that is meant (ops.h). What is added
 * is scripts of this machine.
 */
#ifndef VMSTEP_CLI_KERNEL_H
#define VMSTEP_CLI_KERNEL_H

#include <jansson.h>

#include "command.h"
#include "errmsg.h"

#define KERNEL_SCRIPTS_MAX 32768 /* bytes that a request has room for */

/* What list and ops show of guests' words. */
void kernel_show_list(const char *rank, const json_t *result);
void kernel_show_ops(const char *rank, const json_t *result);

int kernel_run(const struct invocation *inv);

/* The ops of kernel.add: each of @paths (@n) is a script, or a directory with
 * some. NULL with words. */
json_t *kernel_scripts(const char *const *paths, int n, struct errmsg *err);

#endif
