/* plan_data.h - --vm-input, --vm-output, --vm-mounts and --vm-scratch, before
 *		 there is a guest
 *
 * Finds what they name, refuses what cannot be or the site does not allow, adds
 * disks and shares to the machine.
 */
#ifndef VMSTEP_PLAN_DATA_H
#define VMSTEP_PLAN_DATA_H

#include <sys/stat.h>

#include "errmsg.h"
#include "qemu.h"

/* After plan_scratch(). With spec->dry_run no directory is made. */
int plan_data(struct qemu_plan *plan, struct errmsg *err);

/* @path, as the user named it by @option, in *ret without links (to be freed),
 * with its status in *st: it is there, and the site lets guests have it, as it
 * does what is in @also. */
int plan_data_path(const struct task *t, const char *option, const char *path,
		   const char *also, char **ret, struct stat *st,
		   struct errmsg *err);

#endif
