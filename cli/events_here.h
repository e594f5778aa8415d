/* events_here.h - the events, or the logs, of a step's tasks on this node
 *
 * Printed for another vmstep (here.h): {"step": S} first, then {"event": E}
 * each, or {"lost": N, "rank": R} where we were too slow.
 */
#ifndef VMSTEP_CLI_EVENTS_HERE_H
#define VMSTEP_CLI_EVENTS_HERE_H

#include <stdbool.h>

#include "rankset.h"

struct events_here {
	const char *dir;	     /* the step's */
	const struct rankset *ranks; /* NULL: all */
	bool log;		     /* the logs, vmstep-net's among them */
	bool follow; /* until the tasks have ended; else what is kept */
	const char *const *kinds;
	int n_kinds; /* 0: all */
};

/* Returns an exit status. */
int events_here(const struct events_here *conf);

#endif
