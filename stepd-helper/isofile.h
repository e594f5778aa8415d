/* isofile.h - an ISO 9660 image for a guest to read, with a label
 *
 * Written by libarchive into a file without a name. The functions take what
 * isofile_new() gave; the first that fails says why.
 */
#ifndef VMSTEP_ISOFILE_H
#define VMSTEP_ISOFILE_H

#include <archive.h>
#include <stddef.h>
#include <sys/types.h>

#include "errmsg.h"

/* To descriptor @fd (borrowed). NULL with @err. */
struct archive *isofile_new(int fd, const char *label, struct errmsg *err);
int isofile_put(struct archive *a, const char *name, mode_t mode,
		const void *bytes, size_t size, struct errmsg *err);
/* All that is in @dir, an absolute path without links: files and directories,
 * links as what they lead to, which has to be in @dir, too. */
int isofile_put_tree(struct archive *a, const char *dir, struct errmsg *err);
/* Ends it, and frees @a; with @failed it is freed only. */
int isofile_end(struct archive *a, int failed, struct errmsg *err);

/* The same file, open for reading only, as QEMU wants the descriptor of a disk
 * that is; or -errno. */
int isofile_reopen(int fd, struct errmsg *err);

#endif
