/* here.h - the part of `vmstep stats` that runs on a node of the step
 *
 * Prints what the node has counted, as lines that another vmstep puts together
 * again: Slurm passes lines of up to 1 KiB whole, whatever other nodes say.
 *
 *	NODE + TEXT    a piece of a JSON text
 *	NODE . TEXT    its last piece
 */
#ifndef VMSTEP_CLI_HERE_H
#define VMSTEP_CLI_HERE_H

#include <jansson.h>
#include <stdbool.h>

#include "errmsg.h"
#include "step.h"

#define HERE_PIECE 700

/* What is printed: {"step": S, ...net.stats, with each port's net.peers},
 * {"steps": [...]} where there is not one such step on this node, or {"error":
 * TEXT}. A new reference. *ret_gone: there is no such step, or no task of it
 * any more. */
json_t *here_take(const char *runtime_dir, const struct step_name *name,
		  bool peers, bool *ret_gone);

/* Print @o in pieces. -EIO. */
int here_print(const json_t *o);

#endif
