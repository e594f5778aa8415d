/* pin.h - which CPU of the task each virtual CPU runs on (hwloc)
 *
 * Slurm has given this process a CPU mask. Where the mask holds just this
 * task's CPUs, virtual CPU i gets the i'th of them. Where it holds enough for
 * all tasks of the node, which then share it (no task affinity), task t takes
 * the t'th part. Else nothing is pinned.
 */
#ifndef VMSTEP_PIN_H
#define VMSTEP_PIN_H

#include <stdint.h>
#include <sys/types.h>

#include "errmsg.h"

struct pin;

int pin_new(struct pin **ret, struct errmsg *err);
void pin_free(struct pin *p); /* NULL is fine */

/* Choose CPUs for @n virtual CPUs of task @local_id of @local_tasks. Returns 1
 * when there are enough, 0 when nothing is to be pinned, or -errno. */
int pin_plan(struct pin *p, unsigned int n, unsigned int local_id,
	     unsigned int local_tasks, struct errmsg *err);
/* Bind thread @tid to the CPU planned for virtual CPU @i. */
int pin_thread(struct pin *p, unsigned int i, pid_t tid, struct errmsg *err);

#endif
