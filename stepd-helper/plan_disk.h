/* plan_disk.h - from an image to a disk of the machine
 *
 * What ctl= says of it is done here: an overlay, or the file itself, to read or
 * to write. The files are held as long as the plan is.
 */
#ifndef VMSTEP_PLAN_DISK_H
#define VMSTEP_PLAN_DISK_H

#include "errmsg.h"
#include "image.h"
#include "qemu.h"
#include "spec.h"
#include "task.h"

/* Add @im, which @spec led to. In a dry run nothing is made. */
int plan_disk(const struct task *t, const struct spec *s,
	      const struct imagespec *spec, const struct image *im,
	      struct qemu_plan *plan, struct errmsg *err);
/* Add what goes to -drive as it is. */
int plan_drive(const struct task *t, const struct imagespec *spec,
	       struct qemu_plan *plan, struct errmsg *err);

#endif
