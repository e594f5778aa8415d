/* vm.h - the life of one task's VM, from its description to its exit status
 *
 * It ties the modules together: what one of them reports moves another here
 * only (vm_impl.h has the parts). Its states:
 *
 *   JOINING   connected to vmstep-net; other nodes are being found (PMIx). A
 *             guest that needs the step's key in its seed waits here, others
 *             boot meanwhile
 *   BOOTING   QEMU runs; the agent has not configured the network yet
 *   READY     it has; the step is told. The command waits for what --vm-wait
 *             says
 *   RUNNING   the command runs
 *   LINGERING the command has ended (or there is none here: --vm-run=head),
 *             the VM serves the others until all commands have ended
 *   ENDING    QEMU is being ended
 *
 * Whatever goes wrong before the command has ended, or before all have where
 * there is none here, leads to vm_fail(), which says why and ends with 125 (124
 * where the time to boot was up); whatever state it is in, the end is the same:
 * QEMU reaped, step told, status out.
 */
#ifndef VMSTEP_VM_H
#define VMSTEP_VM_H

#include "errmsg.h"
#include "spec.h"
#include "task.h"

enum {
	EXIT_BOOT_TIMEOUT = 124,
	EXIT_VM_FAILED = 125,
};

/* Prepare, boot, run @argv (its first element is the user's), end. Returns the
 * task's exit status; messages have been written. */
int vm_main(const struct task *t, const struct spec *s,
	    const char *const *argv);

/* This task has failed before there was a VM: let the other tasks of the step
 * know, so that they do not wait for it. @s may be NULL. */
void vm_tell_failed(const struct task *t, const struct spec *s,
		    const char *why);

#endif
