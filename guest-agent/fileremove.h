/* fileremove.h - a file, or a directory and all in it, goes */
#ifndef VMSTEP_FILEREMOVE_H
#define VMSTEP_FILEREMOVE_H

#include <stdbool.h>

#include "errmsg.h"

#define FILEREMOVE_DEPTH 200 /* directories within each other */

/* No symbolic link is followed within @path, nor at its end. -errno, with words
 * that name the path; -ENOTEMPTY: a directory that is not, without @recursive.
 */
int fileremove(const char *path, bool recursive, struct errmsg *err);

#endif
