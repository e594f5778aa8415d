/* copyfile.h - copy a large file: by sharing its blocks, or with its holes
 *
 * Blocking.
 */
#ifndef VMSTEP_COPYFILE_H
#define VMSTEP_COPYFILE_H

#include <stdint.h>

#include "errmsg.h"

/* Told about once for each 16 MiB. */
typedef void (*copyfile_fn)(uint64_t done, uint64_t size, void *arg);

/* Make @to, an open file, what @from is. @resume: so many of its first bytes
 * are there already; what is shared begins anew. -ENOSPC before anything is
 * copied where it can be known. */
int copyfile(int from, int to, uint64_t resume, copyfile_fn progress, void *arg,
	     struct errmsg *err);

#endif
