/* step.h - which step is meant, and what of it is on this node */
#ifndef VMSTEP_CLI_STEP_H
#define VMSTEP_CLI_STEP_H

#include <stdbool.h>
#include <stdint.h>

#include "errmsg.h"
#include "option.h"

#define STEP_NAME 48

struct step_name {
	char job[16];	      /* "1234" */
	char step[STEP_NAME]; /* "1234.0", "1234.0+1"; "": any of the job */
};

/* From -j, or from the job that this runs in. -EINVAL, -ENOENT with words. */
int step_name(const char *given, struct step_name *ret, struct errmsg *err);

/* The VM steps of @name on this node that are ours (root: anybody's): their
 * names to @ret, and their directories to @dirs. */
int step_find(const char *runtime_dir, const struct step_name *name,
	      struct strings *ret, struct strings *dirs, struct errmsg *err);

#endif
