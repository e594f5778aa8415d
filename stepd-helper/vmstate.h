/* vmstate.h - a VM's memory, devices and disks, written into a directory
 *
 * QEMU writes its part by itself, into a file that it is given; then its disks
 * are at rest, and are copied by a process (work.h). The VM is paused before,
 * and stays so: QEMU has let go of its disks, and takes them up again when it
 * goes on. What is written stays also where it is not whole.
 *
 * Owns:    the file, the process. Borrows the loop, the task, the machine.
 * Thread:  the loop's.
 */
#ifndef VMSTEP_VMSTATE_H
#define VMSTEP_VMSTATE_H

#include <jansson.h>
#include <stdint.h>

#include "errmsg.h"
#include "loop.h"
#include "machine.h"
#include "task.h"

struct vmstate;

/* @error: NULL when all of it, @bytes, is on the disk. Once. */
typedef void (*vmstate_fn)(const char *error, uint64_t bytes, void *arg);

/* Write what statefile.h says of this task into @dir (without links). @command
 * (borrowed) says what the step's command is at. */
int vmstate_save(struct loop *l, const struct task *t, struct machine *m,
		 const char *dir, const json_t *command, vmstate_fn fn,
		 void *arg, struct vmstate **ret, struct errmsg *err);
void vmstate_free(struct vmstate *v); /* NULL is fine */

#endif
