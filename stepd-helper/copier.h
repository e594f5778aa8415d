/* copier.h - a process that makes the copies of a task's disks
 *
 * Copies take minutes: meanwhile the helper joins the step and is there for
 * signals. The process ends with the helper; then the copy is another task's
 * to go on with.
 *
 * Owns:    the process, and the descriptors of copies until they are taken.
 * Borrows: loop and @list.
 * Thread:  the loop's.
 */
#ifndef VMSTEP_COPIER_H
#define VMSTEP_COPIER_H

#include <stddef.h>

#include "diskcopy.h"
#include "errmsg.h"
#include "loop.h"

#define COPIER_MAX 24

struct copier;
/* Called once. @error: NULL when all copies are there; their descriptors, as
 * diskcopy_make() has them, are in @fds and the callee's. */
typedef void (*copier_fn)(const char *error, const int *fds, void *arg);

/* @n: 1 to COPIER_MAX. Call before there are threads. */
int copier_start(struct loop *l, const struct diskcopy *list, size_t n,
		 const char *qemu, copier_fn fn, void *arg, struct copier **ret,
		 struct errmsg *err);
void copier_free(struct copier *c); /* ends it; NULL is fine */

#endif
