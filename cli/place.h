/* place.h - where a copy comes from, or goes to: a path here or in guests */
#ifndef VMSTEP_CLI_PLACE_H
#define VMSTEP_CLI_PLACE_H

#include <stdbool.h>
#include <stdint.h>

#include "errmsg.h"
#include "rankset.h"

struct place {
	bool guest;
	struct rankset ranks; /* of a guest's */
	const char *path;     /* within the text that was parsed */
	const char *text;     /* "0-3" of a guest's, not ended there */
	size_t text_len;
};

/* "3:/path", "0-3:path", "4-:x"; all else is a path here, ":0:x" the path 0:x.
 * -EINVAL with words. */
int place_parse(const char *text, struct place *ret, struct errmsg *err);
void place_done(struct place *p);

/* @path with its %t replaced by @rank, %% by %: to be freed, NULL without
 * memory. *ret_has (may be NULL): there was a %t. */
char *place_expand(const char *path, uint32_t rank, bool *ret_has);

#endif
