/* plan_data.h - --vm-input, --vm-output, --vm-mounts and --vm-scratch, before
 *		 there is a guest
 *
 * Finds what they name, refuses what cannot be or the site does not allow, adds
 * disks and shares to the machine.
 */
#ifndef VMSTEP_PLAN_DATA_H
#define VMSTEP_PLAN_DATA_H

#include "errmsg.h"
#include "qemu.h"

/* After plan_scratch(). With spec->dry_run no directory is made. */
int plan_data(struct qemu_plan *plan, struct errmsg *err);

#endif
