/* filelock.h - a file that VMs use is locked, for as long as one does
 *
 * On one byte that QEMU's own locks leave alone, by the open file description:
 * a lock goes with the last descriptor of it, however its holders end, and
 * holds between nodes where the file system's locks do.
 */
#ifndef VMSTEP_FILELOCK_H
#define VMSTEP_FILELOCK_H

#include <stdbool.h>

/* Lock @fd, or turn the lock that it has into the other kind: for writing,
 * which excludes all others, or for reading. 0, -EBUSY when another is in the
 * way, or -errno when there are no locks here. Does not wait. */
int filelock(int fd, bool write);
/* Does someone else have a lock on the file of @fd? */
bool filelock_by_others(int fd);

#endif
