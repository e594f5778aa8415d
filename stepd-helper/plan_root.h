/* plan_root.h - a machine that boots a root file system
 *
 * The site's kernel and initial RAM disk, or the user's, boot it: the latter
 * has /sbin/vmstep-root, which finds the disk whose serial number is "root",
 * puts an overlay above it, on the disk "overlay" or in memory, and starts our
 * agent there (contrib/mkimage.d/tiny/sbin).
 */
#ifndef VMSTEP_PLAN_ROOT_H
#define VMSTEP_PLAN_ROOT_H

#include "errmsg.h"
#include "image.h"
#include "qemu.h"

/* Add @im, whose root is set and which @spec led to, as the first disk of
 * @plan, and what boots it. */
int plan_root(const struct imagespec *spec, const struct image *im,
	      struct qemu_plan *plan, struct errmsg *err);

#endif
