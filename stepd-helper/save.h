/* save.h - a task's disk, kept when its VM has ended well
 *
 * What the guest has written is in an overlay without a name, which outlives
 * QEMU by the descriptor that is kept here. Saved it is a qcow2 file above the
 * image, which it names relative to itself, or the whole disk. It is written
 * under a name of its own, which is noted first (made.h), and gets the one that
 * was asked for when it is whole, and on the disk.
 *
 * Owns:    its descriptor, the process that writes.
 * Borrows: loop, task, spec.
 * Thread:  the loop's.
 */
#ifndef VMSTEP_SAVE_H
#define VMSTEP_SAVE_H

#include "errmsg.h"
#include "loop.h"
#include "qemu.h"
#include "spec.h"
#include "task.h"

struct save;

/* Before the VM boots: can the first disk of @plan be saved as spec->save says?
 * Refuses by name what cannot. *ret is NULL where nothing is to be saved, and
 * in a dry run. */
int save_new(const struct task *t, const struct spec *s,
	     const struct qemu_plan *plan, struct save **ret,
	     struct errmsg *err);
/* QEMU is about to be started with @fd for that disk, -1 for none: keep it. */
int save_keep(struct save *sv, int fd, struct errmsg *err);
/* QEMU has ended. @done is called once. */
typedef void (*save_done_fn)(const char *error, void *arg);
int save_start(struct save *sv, struct loop *l, save_done_fn done, void *arg,
	       struct errmsg *err);
void save_free(struct save *sv); /* NULL is fine */

#endif
