/* between.h - what goes between tasks, from outside: send, recv, barrier,
 * store
 */
#ifndef VMSTEP_CLI_BETWEEN_H
#define VMSTEP_CLI_BETWEEN_H

#include <jansson.h>

#include "command.h"

extern const struct cmd_option send_options[], recv_options[],
	barrier_options[], store_options[];

/* What recv and store list show of guests' words. */
void recv_show(const char *rank, const json_t *result);
void store_show_keys(const char *rank, const json_t *result);

int send_run(const struct invocation *inv);
int recv_run(const struct invocation *inv);
int barrier_run(const struct invocation *inv);
int store_run(const struct invocation *inv);

#endif
