/* account.h - who a process runs as, by /etc/passwd and /etc/group
 *
 * The agent is linked statically and has no name service switch, so accounts
 * of a directory service are not found.
 */
#ifndef VMSTEP_ACCOUNT_H
#define VMSTEP_ACCOUNT_H

#include <stddef.h>
#include <sys/types.h>

#include "errmsg.h"

#define ACCOUNT_GROUPS_MAX 1024

struct account {
	uid_t uid;
	gid_t gid;
	gid_t *groups; /* owned; all, gid among them */
	size_t n_groups;
	char *name, *home, *shell; /* owned */
};

/* Look up a name, or the digits of a uid (which need not be in the file: it
 * then has no home and a group of the same number). @user NULL: our own.
 * -ENOENT where there is no such user; @ret is then untouched. */
int account_find(const char *user, struct account *ret, struct errmsg *err);
/* The same, from other files: for tests. */
int account_find_in(const char *passwd, const char *group, const char *user,
		    struct account *ret, struct errmsg *err);
void account_done(struct account *a);

#endif
