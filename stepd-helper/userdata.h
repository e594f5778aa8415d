/* userdata.h - user-data and meta-data of a user's own, and ours
 *
 * cloud-init reads several user-data texts as one MIME message of as many
 * parts. The user's comes first, then ours, with word of how to merge: lists
 * are put together, ours before, and of single values the user's hold. What the
 * user's own parts say of each other stays as it is.
 */
#ifndef VMSTEP_USERDATA_H
#define VMSTEP_USERDATA_H

#include <stddef.h>

#include "errmsg.h"

/* A line for our user-data, at the outermost level of it. */
#define USERDATA_MERGE_HOW \
	"merge_how: \"list(prepend)+dict(no_replace,recurse_list)+str()\"\n"

/* Is @text (@len bytes, a NUL behind them) something that cloud-init takes as
 * user-data or vendor-data? By its first line; where that says cloud-config it
 * must be YAML, and a mapping. The words of @err name line and column. */
int userdata_check(const char *text, size_t len, struct errmsg *err);

/* The user's @text, which is checked, and @ours, a cloud-config: one text, to
 * be freed; NULL without memory. */
char *userdata_merge(const char *text, size_t len, const char *ours);

/* Is @text YAML, and a mapping or nothing? */
int userdata_check_yaml(const char *text, size_t len, struct errmsg *err);

/* The mapping @text with @tail put behind the value of instance-id ("vmstep"
 * where there is none) and the lines @ours, which replace keys of their name.
 * To be freed in *ret. */
int userdata_merge_meta(const char *text, size_t len, const char *tail,
			const char *ours, char **ret, struct errmsg *err);

#endif
