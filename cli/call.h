/* call.h - an op of several tasks of a step, wherever they are
 *
 * Asks the tasks of this node itself, and those of others by srun, which runs
 * `vmstep op --here` there.
 */
#ifndef VMSTEP_CLI_CALL_H
#define VMSTEP_CLI_CALL_H

#include <jansson.h>
#include <stdbool.h>

#include "command.h"
#include "errmsg.h"
#include "rankset.h"
#include "step.h"

#define CALL_S 10 /* for an answer, if nothing else is said */

struct call_conf {
	const struct invocation *inv; /* -j, -r, --config */
	const char *method;
	const json_t *params;	/* borrowed; NULL: none */
	unsigned int timeout_s; /* for the tasks' answers */
};

/* {"step", "tasks", "results": {"RANK": {"result": ...} or {"error": ...}}}, a
 * new reference in *ret, with each rank that was asked for. Returns EXIT_DONE;
 * else what went wrong has been said. */
int call_tasks(const struct call_conf *conf, json_t **ret);

/* The same of the tasks of this node only, without srun; {"error"} with words.
 */
struct call_where;
json_t *call_of_node(const struct call_conf *conf, const struct call_where *w);

/* The same from the tasks of this node, printed for another vmstep. */
int call_here(const struct call_conf *conf);

/* The same of the one task that is meant. *ret is its result, *ret_rank and
 * *ret_step say which it is; all to be freed. Another number of tasks than one
 * is EXIT_USAGE, said with @what as in "ssh". */
int call_one(const struct call_conf *conf, const char *what, json_t **ret,
	     char **ret_rank, char **ret_step);

/* The ranks of "@NAME" in -r, as its step has them: *ret, to be freed; NULL
 * where -r names no group. An EXIT_ status. */
int call_group(const struct invocation *inv, char **ret);

/* What all of it takes: which step, which ranks, the site. */
struct call_where {
	struct step_name step;
	struct rankset ranks;
	bool all; /* no -r */
	char runtime_dir[4096];
};
/* An EXIT_ status; other than EXIT_DONE, words have been logged. */
int call_where(const struct invocation *inv, struct call_where *ret);
void call_where_done(struct call_where *w);
/* The directory of the one step that is meant, where all of it is on this
 * node: *ret to be freed; NULL: it is not. */
int call_local_dir(const struct invocation *inv, const struct call_where *w,
		   char **ret);
/* The directory of the step's part that is on this node: *ret to be freed;
 * NULL: nothing of it is. An EXIT_ status, with words logged. */
int call_here_dir(const struct call_where *w, char **ret);

/* Has the step begun, and with @all does each of its tasks that are meant
 * answer? False, too, where that cannot be known; nothing is said. What @inv
 * asks for is in @w. */
bool call_has_begun(const struct invocation *inv, const struct call_where *w,
		    bool all);

#endif
