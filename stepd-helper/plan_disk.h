/* plan_disk.h - from an image to a disk of the machine
 *
 * What ctl= says of it is done here: an overlay, or the file itself, to read or
 * to write, or a copy, which somebody else makes (machine.c, in a process). The
 * files are held as long as the plan is.
 */
#ifndef VMSTEP_PLAN_DISK_H
#define VMSTEP_PLAN_DISK_H

#include "errmsg.h"
#include "image.h"
#include "qemu.h"

/* Add @im, which @spec led to, to @plan, whose task and spec are set. In a dry
 * run nothing is made. */
int plan_disk(const struct imagespec *spec, const struct image *im,
	      struct qemu_plan *plan, struct errmsg *err);
/* Add what goes to -drive as it is. */
int plan_drive(const struct imagespec *spec, struct qemu_plan *plan,
	       struct errmsg *err);

/* Add an empty disk, which is thrown away. */
int plan_empty(const char *serial, uint64_t bytes, struct qemu_plan *plan,
	       struct errmsg *err);
/* @path as a read-only disk; the guest finds it by @serial. */
int plan_data_disk(const char *path, const char *serial, struct qemu_plan *plan,
		   struct errmsg *err);
/* Add the empty disks of plan->spec->scratch, named scratch0 and up. */
int plan_scratch(struct qemu_plan *plan, struct errmsg *err);

/* The copies plan->copy are there, @fds hold them (taken, also on failure):
 * make what is above them. */
int plan_copied(struct qemu_plan *plan, const int *fds, struct errmsg *err);
/* QEMU has ended, or never ran: remove what was to be removed then. */
void plan_clean(struct qemu_plan *plan, bool has_run);

#endif
