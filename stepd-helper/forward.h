/* forward.h - --vm-publish: ports of the node's 127.0.0.1 that lead into the
 * guest
 *
 * QEMU listens at them, once it takes orders. A port that was named is taken,
 * or the task fails; of others, one after the other is tried.
 */
#ifndef VMSTEP_FORWARD_H
#define VMSTEP_FORWARD_H

#include "publish.h"
#include "qmp.h"
#include "spec.h"
#include "task.h"

struct forward;

/* @error: NULL when all are open. */
typedef void (*forward_fn)(const char *error, void *arg);
/* 0: @fn will be called, from QEMU's answers; or -errno. @s and @t are
 * borrowed. */
int forward_start(struct qmp *q, const struct task *t, const struct spec *s,
		  forward_fn fn, void *arg, struct forward **ret);
void forward_free(struct forward *f); /* after @q; NULL is fine */

/* The ports, host ports filled in; NULL is fine, and has none. */
const struct publish *forward_ports(const struct forward *f, size_t *ret_n);

#endif
