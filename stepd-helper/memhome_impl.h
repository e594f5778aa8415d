/* memhome_impl.h - what the parts of mem.home share; see memhome.h
 *
 *	memhome.c        what it does
 *	memhome_visit.c  who asks for what, and may they?
 */
#ifndef VMSTEP_HELPER_MEMHOME_IMPL_H
#define VMSTEP_HELPER_MEMHOME_IMPL_H

#include <sys/queue.h>

#include "memdir.h"
#include "memhome.h"
#include "memname.h"

#define SIZE_MAX_BYTES (INT64_MAX / 2)

struct memhome {
	const struct task *task;
	struct peers *peers;
	struct memkeep *keep;
	struct memlink *link;
	struct memname *names;
	LIST_HEAD(, copy) copies;
};

/* One call of mem.home. */
struct visit {
	struct memhome *h;
	struct rpc_call *call;
	struct memdir *dir;
	struct mem_who who;
	const json_t *params; /* the op's */
	struct region *region;
	struct item *item;
};

/* -- memhome_visit.c ------------------------------------------------------- */

/* All that are bool: false, and @v is answered. */
bool visit_refuse(const struct visit *v, const struct errmsg *err);
/* That it is missing is no default. */
bool visit_size(const struct visit *v, const char *name, uint64_t *ret);
/* A number, or octal as in "0644"; with @must it may not be missing. */
bool visit_mode(const struct visit *v, bool must, unsigned int *ret);
/* *ret is to be freed, "" where it is missing. */
bool visit_name(const struct visit *v, const char *key, bool must, char **ret);

/* May it read (4), write (2) @what, of that mode and owner? */
bool visit_may(const struct visit *v, unsigned int mode, uint32_t owner,
	       unsigned int want, const char *what);
/* Whoever made it, and the user. */
bool visit_owns(const struct visit *v, uint32_t owner, const char *what);

/* Fill @v->region; @v->item, too. */
bool visit_region(struct visit *v);
bool visit_item(struct visit *v);

#endif
