/* op_vm.h - vm.* and task.*: a task's VM, for the step's user
 *
 * What QEMU is asked is answered within OP_VM_QMP_MS, also when it is mute.
 */
#ifndef VMSTEP_OP_VM_H
#define VMSTEP_OP_VM_H

#include "ops.h"
#include "service.h"

#define OP_VM_QMP_MS	  5000
#define OP_VM_QUIT_MS	  2000	/* for QEMU to end when told to */
#define OP_VM_SHUTDOWN_MS 60000 /* for a guest, if nothing else is said */

struct op_vm;

extern const struct rpc_method op_vm_methods[];

int op_vm_new(const struct service_conf *conf, struct ops *ops,
	      struct op_vm **ret);
void op_vm_free(struct op_vm *v); /* NULL is fine */

/* Something has changed: see service_changed(). */
void op_vm_changed(struct op_vm *v);
/* See service_woke(). */
void op_vm_woke(struct op_vm *v);

/* "created", "booting", "running", "paused", "exited". */
const char *op_vm_state(const struct machine *m);
/* "none", "alive", "late", "lost", "gone", "qga": QEMU's; a paused VM's is as
 * it was. */
const char *op_vm_agent_state(const struct machine *m);

#endif
