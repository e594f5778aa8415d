/* exec_here.h - a command in the guests of this node
 *
 * The tasks get our descriptors where there is one guest and no terminal;
 * else pipes, and the bytes go through here.
 */
#ifndef VMSTEP_CLI_EXEC_HERE_H
#define VMSTEP_CLI_EXEC_HERE_H

#include <stdbool.h>

#include "rankset.h"

struct exec_here {
	const char *dir;	     /* the step's; NULL: there is none */
	const struct rankset *ranks; /* NULL: all */
	const char *const *argv;
	int n_args;
	bool input, tty;
	const char *user, *cwd; /* NULL: the step's */
};

/* Returns the highest exit status; EXIT_NOT_RUN, with words, where none of the
 * ranks is here. */
int exec_here(const struct exec_here *conf);

#endif
