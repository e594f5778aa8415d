/* sigbus.h - memory of others that may go away under us
 *
 * A page of a shared mapping whose file has been cut, or for which nobody has
 * memory (a full tmpfs, no huge page left, a broken DIMM), faults with SIGBUS,
 * which ends a program. In a mapping that was given to sigbus_guard() such a
 * page is replaced by one of zeroes instead, that nobody shares, and *gone is
 * set: whoever used it sees to it when it can. A SIGBUS anywhere else does what
 * it would have done without us. A system call that is given such memory gets
 * EFAULT, and *gone is not set.
 *
 * A guard takes over the signal where we do not have it; no thread may block
 * it.
 *
 * Owns:    a table of what is guarded. Borrows the mappings and the flags.
 * Thread:  any.
 */
#ifndef VMSTEP_SIGBUS_H
#define VMSTEP_SIGBUS_H

#include <stdatomic.h>
#include <stddef.h>

struct sigbus_guard;

/* [map, map + len), of pages of @page bytes, until sigbus_forget(). 0, or
 * -ENOMEM, or another -errno where the signal cannot be had. */
int sigbus_guard(void *map, size_t len, size_t page, atomic_bool *gone,
		 struct sigbus_guard **ret);
/* Before it is unmapped; NULL is fine. Nobody uses the mapping any more. */
void sigbus_forget(struct sigbus_guard *g);

#endif
