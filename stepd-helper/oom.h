/* oom.h - has the kernel killed for want of memory, within our limits?
 *
 * The processes of a task are in one memory cgroup, or in those below it. Who
 * was killed cannot say why; the cgroup has counted it.
 */
#ifndef VMSTEP_OOM_H
#define VMSTEP_OOM_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#define OOM_PROC "/proc/self/cgroup" /* others in tests */
#define OOM_ROOT "/sys/fs/cgroup"

struct oom {
	char root[64], dir[PATH_MAX]; /* "": no such cgroup is to be seen */
	bool v2;
	uint64_t kills; /* so far */
};

/* What there is now. */
void oom_look(struct oom *o, const char *proc, const char *root);
/* Have there been any since? *ret_limit: of this cgroup or the next one above
 * that has one, in bytes; 0: none. */
bool oom_struck(const struct oom *o, uint64_t *ret_limit);

#endif
