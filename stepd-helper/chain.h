/* chain.h - the files that a disk is made of, followed before QEMU sees them
 *
 * The header of a disk image can name other files. Each must be a regular file
 * that the user may read, in a format that is written down, not guessed, and
 * where the site allows images from.
 */
#ifndef VMSTEP_CHAIN_H
#define VMSTEP_CHAIN_H

#include <stdbool.h>
#include <sys/stat.h>

#include "errmsg.h"
#include "imagespec.h"
#include "option.h"

/* Look at @path (absolute, without links) and what is below it; @kind is its
 * format. @allow: directories with ':' between them, "" for all. All files,
 * without links, the uppermost first, are added to @files. */
int chain_check(const char *path, enum image_kind kind, const char *allow,
		struct strings *files, struct errmsg *err);

/* Where the header of the qcow2 @path names the file below relative to itself:
 * 1, its path from the root in @below (PATH_MAX) and its format in @format.
 * 0: it does not. */
int chain_below(const char *path, char *below, char format[16],
		struct errmsg *err);

/* Is @path (without links) one of @dirs, or in one, directories with ':'
 * between? */
bool chain_is_in(const char *path, const char *dirs);
/* May images come from there? @allow: as above, "" for all. */
int chain_allowed(const char *path, const char *allow, struct errmsg *err);

/* Open what must be a regular file that is not empty, for reading: its
 * descriptor or -errno. */
int chain_open(const char *path, struct stat *st, struct errmsg *err);

#endif
