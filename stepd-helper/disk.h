/* disk.h - a guest's disks: private, and without a name in any directory
 *
 * The image itself is never written. What the guest writes goes to a qcow2
 * file, an overlay or a disk that was empty, that has no name (O_TMPFILE, or
 * unlinked at once where the file system has no such files): QEMU gets its
 * descriptor, and it is gone with the last process that holds it, however that
 * ends.
 */
#ifndef VMSTEP_DISK_H
#define VMSTEP_DISK_H

#include <stddef.h>
#include <stdint.h>

#include "errmsg.h"
#include "imagespec.h"

/* An anonymous file of the user's in @dir; its descriptor or -errno. */
int disk_anonymous(const char *dir, struct errmsg *err);

/* qemu-img of the same installation as @qemu, else the one in PATH. */
void disk_tool(const char *qemu, char *ret, size_t size);

/* An overlay above @base, an absolute path, in @rundir, made by qemu-img.
 * Its descriptor or -errno. */
int disk_overlay(const char *base, enum image_kind format, const char *rundir,
		 const char *qemu, struct errmsg *err);
/* An empty disk of @bytes, not 0. */
int disk_empty(uint64_t bytes, const char *rundir, const char *qemu,
	       struct errmsg *err);

#endif
