/* op_snapshot.h - vm.snapshot.*: moments of one VM, to go back to
 *
 * QEMU keeps a snapshot, memory and disks, in the VM's own qcow2 disks, as long
 * as those are there: an overlay goes with the step. It does so as a job of
 * its, one at a time, while the VM stands still. What the command was at is
 * kept here, so that only snapshots of this step can be gone back to.
 *
 * Each VM by itself: what it has said to others stays said. vm.save is for all
 * of a step.
 *
 * Owns: what it keeps of the snapshots. Thread: the loop's.
 */
#ifndef VMSTEP_OP_SNAPSHOT_H
#define VMSTEP_OP_SNAPSHOT_H

#include "ops.h"
#include "service.h"

#define OP_SNAPSHOT_NAME_MAX 64
#define OP_SNAPSHOT_DESC_MAX 1000
#define OP_SNAPSHOT_MAX	     64 /* of a VM, here */

struct op_snapshot;

extern const struct rpc_method op_snapshot_methods[];

int op_snapshot_new(const struct service_conf *conf, struct ops *ops,
		    struct op_snapshot **ret);
void op_snapshot_free(struct op_snapshot *s); /* NULL is fine */

#endif
