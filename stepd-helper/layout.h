/* layout.h - the CPUs and the memory of the node that are a VM's
 *
 * Chosen before QEMU is started, for its arguments show them (shape.h); its
 * threads are bound (pin.h) once there are any.
 */
#ifndef VMSTEP_LAYOUT_H
#define VMSTEP_LAYOUT_H

#include <jansson.h>
#include <sys/types.h>

#include "errmsg.h"
#include "shape.h"
#include "spec.h"
#include "task.h"

struct layout;

/* Choose. What cannot be had of CPUs is warned of, and the VM runs on any;
 * huge pages that are not there are an error. */
int layout_new(const struct task *t, const struct spec *s, struct shape *ret,
	       struct layout **ret_layout, struct errmsg *err);
void layout_free(struct layout *l); /* NULL is fine */

/* Are there threads to be bound? */
bool layout_binds(const struct layout *l);
/* @cpus: what QEMU's query-cpus-fast says. */
int layout_bind(struct layout *l, pid_t qemu, const json_t *cpus,
		struct errmsg *err);

#endif
