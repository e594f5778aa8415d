/* image_seed.h - a directory for --vm-cloud-init, to be filled */
#ifndef VMSTEP_CLI_IMAGE_SEED_H
#define VMSTEP_CLI_IMAGE_SEED_H

#include "errmsg.h"

/* Make @dir with user-data and meta-data. @packages: names with commas between,
 * or NULL. @key: a file with a public key; NULL: the user's own, else a new
 * pair beside @dir. What was done is printed. */
int image_seed(const char *dir, const char *packages, const char *key,
	       struct errmsg *err);

#endif
