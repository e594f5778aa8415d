/* pcapfile.h - where a task's captured frames go: --vm-capture
 *
 * vmstep-net writes them into a pipe, without ever waiting; a thread here takes
 * them from it into the file, which may be on a disk that is slow.
 *
 * Owns:   the file, the pipe's other end, the thread.
 */
#ifndef VMSTEP_HELPER_PCAPFILE_H
#define VMSTEP_HELPER_PCAPFILE_H

#include "errmsg.h"

#define PCAPFILE_END_MS 5000 /* for what is on its way at the end */

struct pcapfile;

/* Makes, or empties, the file @path. *ret_pipe is for vmstep-net, the
 * caller's to close. */
int pcapfile_new(const char *path, int *ret_pipe, struct pcapfile **ret,
		 struct errmsg *err);
/* Waits until all copies of the pipe are closed, and what was in it is written,
 * PCAPFILE_END_MS at most. < 0: the file is not complete, with words. NULL is
 * fine. */
int pcapfile_free(struct pcapfile *p, struct errmsg *err);

#endif
