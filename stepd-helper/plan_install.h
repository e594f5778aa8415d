/* plan_install.h - a machine that is installed from media, and its new disk */
#ifndef VMSTEP_PLAN_INSTALL_H
#define VMSTEP_PLAN_INSTALL_H

#include "errmsg.h"
#include "image.h"
#include "qemu.h"

/* Where @spec says size= and there is no such image: make it. Returns 0, or 1
 * in a dry run where it would be made. */
int plan_new_image(const struct imagespec *spec,
		   const struct image_place *place,
		   const struct qemu_plan *plan, struct errmsg *err);
/* The disk that it would be. */
int plan_unmade(const struct imagespec *spec, struct qemu_plan *plan,
		struct errmsg *err);

/* After plan_data(): add the media of plan->spec->install, which the firmware
 * tries before the disks that are there, and the directory that comes with it.
 */
int plan_install(struct qemu_plan *plan, struct errmsg *err);

#endif
