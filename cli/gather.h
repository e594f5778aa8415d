/* gather.h - what the nodes of a step said, put together
 *
 * Owns:   the last word of each node.
 */
#ifndef VMSTEP_CLI_GATHER_H
#define VMSTEP_CLI_GATHER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "errmsg.h"
#include "rankset.h"

struct gather;

struct gather *
gather_new(const struct rankset *ranks); /* NULL: all; borrowed */
void gather_free(struct gather *g);	 /* NULL is fine */

/* What @node printed (here.h). What is of another shape is refused. */
void gather_add(struct gather *g, const char *node, const json_t *said);

/* Steps that nodes have named: JSON texts, borrowed. */
const json_t *gather_steps(const struct gather *g);
/* The first thing that went wrong on a node; NULL: nothing. */
const char *gather_error(const struct gather *g);
/* Have all nodes of the step said something since the last take? */
bool gather_is_whole(const struct gather *g);

/* {"step", "tasks", "nodes": [...]}: vmstep-api(7), "A step"; a new reference.
 * NULL where no node has said anything yet. */
json_t *gather_take(struct gather *g);

#endif
