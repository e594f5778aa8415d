/* plugstack.h - vmstep.so's line in Slurm's plugstack.conf */
#ifndef VMSTEP_CLI_PLUGSTACK_H
#define VMSTEP_CLI_PLUGSTACK_H

#include <limits.h>
#include <stdbool.h>

#include "errmsg.h"
#include "option.h"

struct plugstack {
	unsigned int n; /* how many lines load a vmstep.so; of the first: */
	char file[PATH_MAX]; /* where it stands: */
	unsigned int line;
	bool required; /* else optional */
	char *plugin;  /* owned; as it is written: a path, or a file's name */
	struct strings args;
};

/* In @path and what that includes. -ENOENT: it is not there; -errno with
 * words. */
int plugstack_load(const char *path, struct plugstack *ret, struct errmsg *err);
void plugstack_done(struct plugstack *p);

#endif
