/* restore.h - a saved step, seen by a task that starts from it
 *
 * Owns: what it has read. Borrows: the task. Thread: any.
 */
#ifndef VMSTEP_RESTORE_H
#define VMSTEP_RESTORE_H

#include <jansson.h>
#include <stdint.h>

#include "errmsg.h"
#include "imagespec.h"
#include "spec.h"
#include "task.h"

struct restore;
struct qemu_plan;

/* Read what spec->restore has of this task: of as many tasks, and whole. */
int restore_new(const struct task *t, const struct spec *s,
		struct restore **ret, struct errmsg *err);
void restore_free(struct restore *r); /* NULL is fine */

/* "memory" or "seed": a descriptor or -errno. */
int restore_open(const struct restore *r, const char *name, struct errmsg *err);
/* The @i'th disk: its file in *ret_path (to be freed), and its format where
 * another than @kind was saved. */
int restore_disk(const struct restore *r, unsigned int i, enum image_kind *kind,
		 char **ret_path, struct errmsg *err);
/* Is @plan the machine that was saved? -EINVAL, -ESTALE with words. */
int restore_check(const struct restore *r, const struct qemu_plan *plan,
		  struct errmsg *err);
/* The step's key that its guest knows; NULL: it knows none. */
const uint8_t *restore_key(const struct restore *r);
/* Borrowed: {"state"}: "running" with "proc" and "program", "ended" with
 * "status", "vmboot", or "none". */
const json_t *restore_command(const struct restore *r);

#endif
