/* plan.h - from what was asked for to a machine that can be started
 *
 * Finds the images, makes the overlays, chooses the accelerator. Everything
 * that can be wrong with a user's image is found here, before QEMU runs.
 */
#ifndef VMSTEP_PLAN_H
#define VMSTEP_PLAN_H

#include <stdbool.h>

#include "errmsg.h"
#include "qemu.h"
#include "spec.h"
#include "task.h"

/* Fill @plan (from qemu_plan_init()) but for QEMU's ends of the sockets and the
 * seed. With spec->dry_run nothing is made. */
int plan_prepare(const struct task *t, const struct spec *s,
		 struct qemu_plan *plan, struct errmsg *err);

/* Decide plan->kvm. @why_not has words when a VM falls to TCG by itself. */
int plan_accel(const struct task *t, const struct spec *s,
	       struct qemu_plan *plan, struct errmsg *why_not,
	       struct errmsg *err);

/* Print addresses and QEMU's command line, ready for a shell, to stdout. */
int plan_print(const struct qemu_plan *plan, const char *qemu);

#endif
