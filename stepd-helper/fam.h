/* fam.h - fabric-attached memory: one object a node, in every VM of it
 *
 * A file in memory, of the step's own or the user's (--vm-fam's file=), that
 * QEMU maps into each guest as the memory of a PCI device (ivshmem-plain). The
 * link `fam` in the step's directory leads to it. The first task of a node that
 * asks makes it; the step's own is written down before (made.h) and removed
 * with the step.
 */
#ifndef VMSTEP_FAM_H
#define VMSTEP_FAM_H

#include "errmsg.h"
#include "spec.h"
#include "task.h"

#define FAM_LINK "fam"

/* A descriptor of the object, of spec->fam.bytes, or -errno. A lock on it
 * lasts as long as the descriptor and its copies: the step's object is not
 * removed before. */
int fam_open(const struct task *t, const struct spec *s, struct errmsg *err);

#endif
