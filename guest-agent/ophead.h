/* ophead.h - what an op of a kernel says of itself
 *
 * Comment lines at the beginning of its file, which may be a script of any
 * language whose comments begin with # / - ; or %:
 *
 *	#!/bin/sh
 *	# op: add(a, b, [round]): the sum of two numbers
 *	# user: nobody
 *	# timeout: 30
 *
 * The first line that is neither a comment nor empty ends them. Owns nothing.
 */
#ifndef VMSTEP_OPHEAD_H
#define VMSTEP_OPHEAD_H

#include <stddef.h>
#include <stdint.h>

#include "errmsg.h"

#define OPHEAD_BYTES 4096 /* of a file that are looked at */
#define OPHEAD_TEXT  512  /* of each text; what is longer is cut */

struct ophead {
	char params[OPHEAD_TEXT], help[OPHEAD_TEXT]; /* "" where nothing is
							said */
	char user[64];				     /* "": root */
	int64_t timeout_ms;			     /* 0: nothing is said */
};

/* Is it a name of a kernel, or of an op? */
int opname_check(const char *what, const char *name, struct errmsg *err);

/* -EINVAL with words for a line that cannot be what it says it is. */
int ophead_parse(const char *text, size_t len, struct ophead *ret,
		 struct errmsg *err);

#endif
