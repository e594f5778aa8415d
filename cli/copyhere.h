/* copyhere.h - a copy's stream from a guest of this node, or into several
 *
 * What `vmstep cp --here` does on a node of the step. The stream is that of
 * copyhead.h.
 */
#ifndef VMSTEP_CLI_COPYHERE_H
#define VMSTEP_CLI_COPYHERE_H

#include <stdbool.h>

#include "rankset.h"

struct copyhere {
	const char *dir;	     /* the step's */
	const struct rankset *ranks; /* those of them that are here */
	const char *path;	     /* in the guests */
	const char *user;	     /* NULL: the step's */
	bool sync, owner;	     /* of what is put */
};

/* One task's @path to standard output; nothing where it is not here. An EXIT_
 * status; what went wrong is said in the stream, where nothing else was. */
int copyhere_get(const struct copyhere *conf);

/* Standard input to @path of each task that is here. What each said goes to
 * standard output (here.h): {"results": {"RANK": {"result"} or {"error"}}}. */
int copyhere_put(const struct copyhere *conf);

#endif
