/* signs.h - what becomes of a VM and its agent, as events
 *
 * Looks at their states (op_vm.h) when told that something has changed, and
 * when the agent's next sign of life is overdue:
 *
 *	vm.STATE     booting, running, paused, exited; {"from"}
 *	vm.reset     the guest has reset itself
 *	task.joined  the agent has said hello; {"boot_id"}
 *	task.late, task.lost   3 and 4.5 beacon intervals without a sign of it
 *	task.back    it is heard again
 *	task.left    it is gone; {"reason"} where it has said goodbye
 *	proc.start, proc.exit  of each process, as proc.stat has them
 *
 * Borrows: all that it is given. Thread: the loop's.
 */
#ifndef VMSTEP_HELPER_SIGNS_H
#define VMSTEP_HELPER_SIGNS_H

#include "op_event.h"
#include "service.h"

struct signs;

/* 0 or -errno. */
int signs_new(const struct service_conf *conf, struct op_event *events,
	      struct signs **ret);
void signs_free(struct signs *s); /* NULL is fine */

/* The machine has a guest now. */
void signs_has_guest(struct signs *s);
void signs_changed(struct signs *s);
void signs_reset(struct signs *s);

#endif
