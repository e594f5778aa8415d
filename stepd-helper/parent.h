/* parent.h - notice that slurmstepd is gone
 *
 * A slurmstepd that is killed takes no task with it: Slurm calls the step
 * ended, and a VM would run on. The kernel's parent-death signal is no help,
 * for it comes when the thread ends that forked us. Thread: the loop's.
 */
#ifndef VMSTEP_PARENT_H
#define VMSTEP_PARENT_H

#include <sys/types.h>

#include "errmsg.h"
#include "loop.h"

struct parent;

typedef void (*parent_gone_fn)(void *arg);

/* Call @fn from the loop, once, when the process @pid, which was our parent to
 * begin with, is no more; at once where it is gone already. */
int parent_watch(struct loop *l, pid_t pid, parent_gone_fn fn, void *arg,
		 struct parent **ret, struct errmsg *err);
void parent_free(struct parent *p); /* NULL is fine */

#endif
