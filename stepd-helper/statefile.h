/* statefile.h - what a saved step is made of
 *
 * A directory:
 *
 *   step.json       {"format", "vmstep", "tasks", "step", "saved"}: the last
 *                   to be written
 *   options         the step's (optset_encode())
 *   task.json.RANK  the VM, as statefile_describe() has it, and what its
 *                   command was at
 *   memory.RANK     its memory and devices, as QEMU writes them
 *   diskN.RANK      its Nth disk, above its image where that is an overlay
 *   seed.RANK       its seed for cloud-init
 */
#ifndef VMSTEP_STATEFILE_H
#define VMSTEP_STATEFILE_H

#include <jansson.h>
#include <stdint.h>

#include "errmsg.h"
#include "qemu.h"

#define STATEFILE_FORMAT 1
#define STATEFILE_MAX	 (1 << 20) /* bytes of JSON */

/* "DIR/NAME.RANK", or "DIR/NAME" with TASK_ANY_RANK; to be freed, NULL without
 * memory. */
char *statefile_path(const char *dir, const char *name, uint32_t rank);

/* Is there anything in @plan that cannot be saved? -EOPNOTSUPP with words. */
int statefile_check(const struct qemu_plan *plan, struct errmsg *err);
/* The same, but for its disks. */
int statefile_check_machine(const struct qemu_plan *plan, struct errmsg *err);

/* The machine, in all that its guest can see: where two of these are the same,
 * what was saved of one can be loaded into the other. NULL: no memory. */
json_t *statefile_describe(const struct qemu_plan *plan);
/* -EINVAL with words: what @now would be other than in @saved, the first of
 * it. */
int statefile_compare(const json_t *saved, const json_t *now,
		      struct errmsg *err);

/* Is the @i'th disk's content saved, or can the guest not write to it? */
bool statefile_saves(const struct qemu_plan *plan, unsigned int i);
/* [{"path", "bytes", "mtime_ns"}, ...]: files that its disks are above, or are;
 * they have to stay as they are. NULL with words. */
json_t *statefile_images(const struct qemu_plan *plan, struct errmsg *err);
int statefile_check_images(const json_t *images, struct errmsg *err);
/* The disks of @plan that are only read have to be among them: the guest knows
 * what is on those that it had. */
int statefile_check_read_only(const json_t *images,
			      const struct qemu_plan *plan, struct errmsg *err);

/* A new reference, or NULL with words. */
json_t *statefile_read(const char *path, struct errmsg *err);
/* A new file, on the disk when this returns. 0 or -errno with words. */
int statefile_write(const char *path, const char *text, struct errmsg *err);

#endif
