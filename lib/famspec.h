/* famspec.h - what --vm-fam says: SIZE[,file=PATH] */
#ifndef VMSTEP_FAMSPEC_H
#define VMSTEP_FAMSPEC_H

#include <stdint.h>

#include "errmsg.h"

/* A PCI device's memory has a size that is a power of two. */
#define FAM_LEAST (1ull << 20) /* bytes */

struct famspec {
	uint64_t bytes;
	char *file; /* owned; NULL: not said */
};

int famspec_parse(const char *text, struct famspec *ret, struct errmsg *err);
void famspec_done(struct famspec *s);

#endif
