/* allow.h - who may run VMs: allow_users and allow_groups of vmstep.conf
 *
 * Asked on the node, whose answer counts, and in srun, where it comes before
 * anything is allocated.
 */
#ifndef VMSTEP_ALLOW_H
#define VMSTEP_ALLOW_H

#include <stdbool.h>
#include <sys/types.h>

#include "errmsg.h"
#include "site.h"

/* 0, or -EPERM with words. @user: their name, NULL if this host knows none;
 * @gid: their primary group. */
int allow_user(const struct site *s, const char *user, gid_t gid,
	       struct errmsg *err);
/* Do the lists name users or groups that this host does not know? The words
 * say which. */
bool allow_names_unknown(const struct site *s, struct errmsg *ret);

/* What @options ask for that the site has not for anybody, by name. */
int allow_options(const struct site *s, const struct optset *options,
		  struct errmsg *err);

#endif
