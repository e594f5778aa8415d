/* mountspec.h - what --vm-mounts says: SRC:DST[:ro|:rw], with commas between
 *
 * SRC is a directory of the node, DST where the guest has it. Neither has a
 * comma or a colon in its name.
 */
#ifndef VMSTEP_MOUNTSPEC_H
#define VMSTEP_MOUNTSPEC_H

#include <stdbool.h>
#include <stddef.h>

#include "errmsg.h"

struct mountspec {
	char *src, *dst; /* owned */
	bool ro;
};

struct mountspecs {
	struct mountspec *v; /* owned */
	size_t n;
};

/* Add what @list says; -EINVAL with words, and nothing is added. */
int mountspecs_parse(struct mountspecs *m, const char *list,
		     struct errmsg *err);
/* @src and @dst are copied. */
int mountspecs_add(struct mountspecs *m, const char *src, const char *dst,
		   bool ro);
void mountspecs_done(struct mountspecs *m);

/* Is @path where a guest can have a mount: from /, not / itself, and without
 * ".."? */
int mountspec_check_dst(const char *path, struct errmsg *err);

#endif
