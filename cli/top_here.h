/* top_here.h - what the VMs of this node use, again and again
 *
 * Printed for another vmstep (here.h), a sample a text: {"step", "ms", "total":
 * tasks of the step, "tasks": {RANK: {"state": task.state, "stats": vm.stats}},
 * "ports": net.stats' ports}. What a task does not answer in time is left out.
 */
#ifndef VMSTEP_CLI_TOP_HERE_H
#define VMSTEP_CLI_TOP_HERE_H

#include "rankset.h"

struct top_here {
	const char *dir;	     /* the step's */
	const struct rankset *ranks; /* NULL: all */
	unsigned int every_s;
	unsigned int samples; /* 0: until the tasks have ended */
};

/* Returns an exit status. */
int top_here(const struct top_here *conf);

#endif
