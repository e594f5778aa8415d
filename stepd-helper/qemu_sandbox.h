/* qemu_sandbox.h - what QEMU may still do of what its user may do
 *
 * It gets sockets and overlays as descriptors. What it opens itself is what is
 * here: its own program and files, images and what is below them, kernel,
 * firmware, directories that it shares by 9p, devices. All else a guest that
 * has broken out of it finds closed (lib/sandbox.h).
 *
 * What a user's own arguments for QEMU want nobody knows: with such files and
 * TCP stay open.
 */
#ifndef VMSTEP_QEMU_SANDBOX_H
#define VMSTEP_QEMU_SANDBOX_H

#include "errmsg.h"
#include "qemu.h"
#include "sandbox.h"

/* For @plan as it is going to be started, of which @qemu (a path) is the
 * program. */
int qemu_sandbox(const struct qemu_plan *plan, const char *qemu,
		 struct sandbox **ret, struct errmsg *err);

#endif
