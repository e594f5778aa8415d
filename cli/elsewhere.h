/* elsewhere.h - a command that talks to guests, on the nodes where they are
 *
 * Another vmstep in our place (relay.h), by srun.
 */
#ifndef VMSTEP_CLI_ELSEWHERE_H
#define VMSTEP_CLI_ELSEWHERE_H

#include <stdbool.h>

#include "call.h"
#include "command.h"

struct elsewhere {
	const struct invocation *inv;
	const struct call_where *where;
	const char *const *words; /* what it is to do there; NULL ends them */
	const char *how;   /* srun's option for input; NULL: none is read */
	bool here;	   /* on this node, without srun */
	const char *nodes; /* NULL: all of the step's */
	bool fold;	   /* its output */
	bool unbuffered;   /* srun would pass its output by lines */
};

/* The nodes of the ranks that were asked for, *ret to be freed: srun's input
 * goes to those that read it only, or it would wait for the others. @one: there
 * has to be one rank. An EXIT_ status, with words logged. */
int elsewhere_find(const struct invocation *inv, bool one, char **ret);
/* Its exit status; EXIT_NOT_RUN with words. */
int elsewhere_run(const struct elsewhere *e);

#endif
