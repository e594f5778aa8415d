/* hold.h - files of disks that this VM uses, held against others' writing
 *
 * Many may read a file, or one may write to it (filelock.h). Held as long as
 * the descriptors are open.
 */
#ifndef VMSTEP_HOLD_H
#define VMSTEP_HOLD_H

#include <stdbool.h>
#include <stddef.h>

#include "errmsg.h"
#include "option.h"

struct hold {
	int *fd; /* owned */
	size_t n;
};

/* Hold @files, the first for writing if @write. -EBUSY when another VM is in
 * the way. */
int hold_files(struct hold *h, const struct strings *files, bool write,
	       struct errmsg *err);
void hold_done(struct hold *h);

#endif
