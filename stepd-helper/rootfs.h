/* rootfs.h - root file systems that are no disks yet: SquashFS, directories
 *
 * A directory becomes one SquashFS file a node (diskcopy.h), since that has
 * owners, modes and links as a root needs them, which a share of the node's
 * files by an ordinary user has not; and since guests then see one state of it.
 */
#ifndef VMSTEP_ROOTFS_H
#define VMSTEP_ROOTFS_H

#include <stdint.h>

#include "errmsg.h"

/* Has the file @path the header of a SquashFS that Linux mounts? */
int rootfs_check_squash(const char *path, struct errmsg *err);
/* Has the directory @path what a root has? */
int rootfs_check_dir(const char *path, struct errmsg *err);

/* A number that changes with the tree: names, sizes, times, owners, modes of
 * all that is in it, and who asks. */
int rootfs_fingerprint(const char *dir, uint64_t *ret, struct errmsg *err);

/* Write the tree @dir to the file @to by mksquashfs, whatever is there. What
 * belongs to the caller belongs to root in it. What the caller cannot read is
 * an error. Blocking. */
int rootfs_squash(const char *dir, const char *to, struct errmsg *err);

#endif
