/* seed_user.h - a directory for cloud-init of the user's own
 *
 * user-data, meta-data, network-config and vendor-data are read, and checked,
 * before anything boots; all other files of the directory go into the seed as
 * they are, for scripts that the user-data calls.
 */
#ifndef VMSTEP_SEED_USER_H
#define VMSTEP_SEED_USER_H

#include <stddef.h>

#include "errmsg.h"
#include "option.h"

enum seed_text {
	SEED_META_DATA,
	SEED_NETWORK_CONFIG,
	SEED_USER_DATA,
	SEED_VENDOR_DATA,
	SEED_TEXTS,
};
extern const char *const seed_text_names[SEED_TEXTS];

struct seed_user {
	char *dir;		/* owned */
	char *text[SEED_TEXTS]; /* owned, with a NUL behind; NULL: no such */
	size_t len[SEED_TEXTS];
	struct strings files; /* names of the others */
};

/* On failure @ret is empty. */
int seed_user_load(const char *dir, struct seed_user *ret, struct errmsg *err);
void seed_user_done(struct seed_user *u);

/* One of its files, all of it, to be freed. */
int seed_user_read(const struct seed_user *u, const char *name, char **ret,
		   size_t *ret_len, struct errmsg *err);

#endif
