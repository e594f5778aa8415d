/* together.h - would two disks of a step get into each other's way?
 *
 * Each task knows what all of them were given, so each refuses by itself,
 * before any boots. Where a name can mean different files on different nodes
 * hold.h has the last word.
 */
#ifndef VMSTEP_TOGETHER_H
#define VMSTEP_TOGETHER_H

#include "errmsg.h"
#include "spec.h"
#include "task.h"

/* -EBUSY where a disk that one task writes to, or removes, is another's, too,
 * or is named twice by one, and this task is one of them. */
int together_check(const struct task *t, const struct spec *s,
		   struct errmsg *err);

/* -EEXIST where another task's --vm-save names @path, which is in @dir, too. */
int together_check_save(const struct task *t, const char *path, const char *dir,
			struct errmsg *err);

#endif
