/* useradd.h - an account of the host's caller in the guest
 *
 * user.add, a method of rpc.h: a line in passwd, group and shadow, and a home.
 * A guest that has that name already keeps what it says, if the number is the
 * same.
 */
#ifndef VMSTEP_USERADD_H
#define VMSTEP_USERADD_H

#include <sys/types.h>

#include "agent.h"

struct useradd {
	char *name, *group, *home; /* owned */
	uid_t uid;
	gid_t gid;
	/* for ~/.ssh, where the home is new; NULL: none. Owned. */
	char *authorized, *private_key;
};

/* Below @etc, which is "/etc" but for tests. -EEXIST with words: another has
 * that name. */
int useradd_write(const char *etc, const struct useradd *u, struct errmsg *err);

void useradd_add(struct rpc_call *call, const json_t *params, void *agent);

#endif
