/* source.h - where figures come from: vmstep itself, on each node of the step
 *
 * Runs `vmstep COMMAND --here` as a child, by srun --overlap where the step is
 * not on this node alone, and puts its lines together (here.h).
 *
 * Owns:    the child. Borrows the loop.
 */
#ifndef VMSTEP_CLI_SOURCE_H
#define VMSTEP_CLI_SOURCE_H

#include <jansson.h>
#include <stdbool.h>

#include "errmsg.h"
#include "loop.h"
#include "step.h"

struct source;

struct source_conf {
	struct loop *loop;
	const struct step_name *step;
	const char *config; /* NULL: the usual one */
	const char *ranks;  /* -r; NULL: all */
	/* What vmstep is to do there; NULL ends it. Borrowed. */
	const char *const *words;
	const char *input; /* that each of them reads; NULL: none. Borrowed. */
	const char *nodes; /* as Slurm writes them; NULL: this one only */
	/* What @node said; @o is borrowed. */
	void (*said)(const char *node, json_t *o, void *arg);
	/* The child has ended, with this wait status. */
	void (*ended)(int wstatus, void *arg);
	void *arg;
};

int source_start(const struct source_conf *conf, struct source **ret,
		 struct errmsg *err);
/* Have the child end; ended() follows. */
void source_stop(struct source *s);
void source_free(struct source *s); /* NULL is fine */

/* One line of the child's, changed in place: 1 with a whole JSON text of
 * *ret_node (borrowed from @line), a new reference; 0: it was a part, or is no
 * line of ours. For tests and fuzzing, too. */
struct pieces;
struct pieces *pieces_new(void);
void pieces_free(struct pieces *p); /* NULL is fine */
int pieces_take(struct pieces *p, char *line, const char **ret_node,
		json_t **ret);

#endif
