/* diskcopy.h - a copy of an image in the run directory, made once a node
 *
 * While it is being made it has a name that begins with a dot, and its maker
 * has it locked for writing; then it takes its place by rename. Whoever wants
 * the same copy waits, and goes on with it should the maker die. What is there
 * under its name is whole.
 *
 * A copy that many read is taken as it is where it was made of this image
 * (size and time are the image's) and is to stay, or where someone reads it. A
 * copy that one VM writes to is taken as that VM left it, if it was to stay.
 *
 * A directory's copy is a SquashFS, made in the same way.
 */
#ifndef VMSTEP_DISKCOPY_H
#define VMSTEP_DISKCOPY_H

#include <stdbool.h>

#include "errmsg.h"
#include "imagespec.h"

struct diskcopy {
	char *from; /* owned; the image's path, without links */
	char *to;   /* owned; absolute */
	enum image_kind kind;
	bool own;     /* its VM writes to it; else many may read it */
	bool removed; /* at the end */
	/* @from is a directory, the copy a SquashFS of it; what the tree is
	 * like is in the name @to (rootfs.h), so there is one for each state */
	bool squash;
};

void diskcopy_done(struct diskcopy *c);

/* The name that it has while it is made: a path, to be freed. */
char *diskcopy_part(const struct diskcopy *c, struct errmsg *err);

/* Make it, or find it made. Blocking; says what it does and waits for. Returns
 * a descriptor that has it locked (filelock.h), for writing if it is an own
 * one, or -errno. */
int diskcopy_make(const struct diskcopy *c, const char *qemu,
		  struct errmsg *err);

/* The copy's user, who has @fd, has ended: remove it if nobody else has it. */
void diskcopy_remove(const struct diskcopy *c, int fd);

#endif
