/* op_save.h - vm.save: all VMs of the step, as they are at one moment
 *
 * The task that is asked has all tasks, itself too, do one thing after the
 * other (vm.save.part), each when all have done the one before:
 *
 *   begin   can this VM be saved, and be written there?
 *   pause   its CPUs stop. From here on nothing is on its way that one VM has
 *           sent and another has not got, but what TCP sends again
 *   write   memory, devices, disks go into a directory that has no name yet
 *   end     it goes on
 *
 * Before the end the directory gets its name. Where one task cannot do its
 * part all go straight to the end, and the directory is removed. A task that is
 * lost ends the step.
 *
 * Those that were restored meet here, too, before they run: at task 0.
 *
 * Owns: the directory while it has no name. Borrows: peers. Thread: the loop's.
 */
#ifndef VMSTEP_OP_SAVE_H
#define VMSTEP_OP_SAVE_H

#include "ops.h"
#include "peers.h"
#include "service.h"

struct op_save;

extern const struct rpc_method op_save_methods[];

int op_save_new(const struct service_conf *conf, struct peers *peers,
		struct ops *ops, struct op_save **ret);
void op_save_free(struct op_save *s); /* NULL is fine */

/* This task's VM is loaded: @fn is called when all are, or with words. Once. */
typedef void (*op_save_met_fn)(const char *error, void *arg);
void op_save_meet(struct op_save *s, op_save_met_fn fn, void *arg);

#endif
