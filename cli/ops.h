/* ops.h - commands that are an op of each task: ps, op, pause, ... */
#ifndef VMSTEP_CLI_OPS_H
#define VMSTEP_CLI_OPS_H

#include <jansson.h>

#include "command.h"

extern const struct cmd_option op_options[], wait_options[], shutdown_options[];

/* Ask each task that is meant for @method with @params (stolen; NULL: none);
 * each result is shown by @show (NULL: that is all), or all as JSON. Returns an
 * exit status; words have been logged. */
typedef void (*ops_show_fn)(const char *rank, const json_t *result);
int ops_ask(const struct invocation *inv, const char *method, json_t *params,
	    unsigned int timeout_s, ops_show_fn show);
/* The same of what each task knows: of rank 0 alone, where no ranks are named;
 * within CALL_S. */
int ops_ask_one(const struct invocation *inv, const char *method,
		json_t *params, ops_show_fn show);
/* Show each result of @answer (call_tasks()) by @show, in the order of ranks,
 * and say each error. Returns an exit status: of what went wrong in any of
 * them. */
int ops_show(json_t *answer, ops_show_fn show);

/* What op and ps show of a task, harmless to a terminal. */
void op_show(const char *rank, const json_t *result);
void ps_show(const char *rank, const json_t *result);

int op_run(const struct invocation *inv);
int ops_run(const struct invocation *inv);
int ps_run(const struct invocation *inv);
int wait_run(const struct invocation *inv);
int pause_run(const struct invocation *inv);
int resume_run(const struct invocation *inv);
int reset_run(const struct invocation *inv);
int poweroff_run(const struct invocation *inv);
int shutdown_run(const struct invocation *inv);

#endif
