/* outfile.h - a file that the user named for something to be written to */
#ifndef VMSTEP_OUTFILE_H
#define VMSTEP_OUTFILE_H

#include "errmsg.h"

/* Open @path for writing, made if it is not there, with @flags (O_TRUNC,
 * O_APPEND). Does not wait: a FIFO that nobody reads is refused with -ENXIO,
 * and the descriptor does not block. Returns it, the caller's, or -errno with
 * words that name @option. */
int outfile_open(const char *option, const char *path, int flags,
		 struct errmsg *err);

#endif
