/* filelist.h - what is in a directory, in the order of names, a part at a time
 */
#ifndef VMSTEP_FILELIST_H
#define VMSTEP_FILELIST_H

#include <jansson.h>

#include "errmsg.h"

#define FILELIST_MAX   10000
#define FILELIST_BYTES (200 * 1024) /* an answer is one control message */

struct filelist {
	const char *path;
	const char *pattern; /* of fnmatch(3); NULL: all but "." and ".." */
	const char *after;   /* names up to this one were listed; NULL: none */
	size_t limit;
};

/* {"entries": [{"name", ...}], "next"}: next is the name to go on after, and
 * missing where that was all. */
int filelist_take(const struct filelist *f, json_t **ret, struct errmsg *err);

#endif
