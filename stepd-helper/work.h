/* work.h - what takes long, in a process of its own
 *
 * Copies of disks take minutes: meanwhile the helper joins the step and is
 * there for signals. The process ends with the helper; it hears no signal that
 * Slurm sends to all of the step.
 *
 * Owns:    the process, and descriptors that came from it until they are taken.
 * Borrows: loop and what the work is about.
 * Thread:  the loop's.
 */
#ifndef VMSTEP_WORK_H
#define VMSTEP_WORK_H

#include <stddef.h>

#include "errmsg.h"
#include "loop.h"

#define WORK_MAX 24

struct work;
/* In the process: do piece @i. Returns a descriptor, which the helper gets, 0
 * for none, or -errno with words, which ends the work. */
typedef int (*work_fn)(size_t i, const void *what, struct errmsg *err);
/* Called once. @error: NULL when all is done; what came of each piece, -1 for
 * none, is in @fds and the callee's. */
typedef void (*work_done_fn)(const char *error, const int *fds, void *arg);

/* @n pieces, 1 to WORK_MAX. Call before there are threads. */
int work_start(struct loop *l, work_fn fn, const void *what, size_t n,
	       work_done_fn done, void *arg, struct work **ret,
	       struct errmsg *err);
void work_free(struct work *w); /* ends it; NULL is fine */

#endif
