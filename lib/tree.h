/* tree.h - a directory and all in it, as a tar stream (tar.h)
 *
 * Files, directories, symbolic links, hard links among them and fifos go with
 * their modes and times; devices and sockets do not, and are counted.
 *
 * Taking one in, nothing outside of the directory is touched, whatever the
 * archive says and whoever else works in that directory: names are walked from
 * its descriptor one by one, none may be "..", and no symbolic link is followed
 * on the way (openat2() would do the same, but is missing before Linux 5.6, and
 * one way is easier to trust than two). Each file is there when it is whole.
 * Blocking.
 */
#ifndef VMSTEP_TREE_H
#define VMSTEP_TREE_H

#include <stdbool.h>
#include <stdint.h>

#include "errmsg.h"
#include "flow.h"

#define TREE_DEPTH 200 /* directories within each other: a descriptor each */

struct tree_counts {
	uint64_t entries;      /* that were sent, or made */
	uint64_t files, bytes; /* of these, files, and what is in them */
	uint64_t skipped;      /* devices and sockets */
	uint64_t changed; /* files that shrank while they were read, and went
			     with zeros in the place of what was missing */
};

/* Send what is in directory @dir, "./" itself first, and flush. Where @globs
 * (NULL at the end; NULL: all) are given, of what is below only that whose path
 * matches one of them as a shell's would, and all that is in such a directory.
 * Returns 0 or -errno, with words that name the path. */
int tree_send(int dir, const char *const *globs, struct flow *out,
	      struct tree_counts *ret, struct errmsg *err);

struct tree_options {
	bool owner; /* give files the owners that they have in the archive */
	bool sync;  /* each file is on the disk before it has its name */
	bool fresh; /* the directory was made for this: it gets its own, too */
	/* So many names at the beginning of each path are left out; what has
	 * no more than those is not made. */
	unsigned int strip;
};
/* Make what comes in directory @dir. What is there stays, but for files and
 * links of the same names, and directories keep their modes and times. -EPERM
 * with words for a path that leads out. */
int tree_receive(int dir, struct flow *in, const struct tree_options *o,
		 struct tree_counts *ret, struct errmsg *err);

#endif
