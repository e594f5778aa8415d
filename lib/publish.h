/* publish.h - what a value of --vm-publish says: PORT[=HOSTPORT][/udp],... */
#ifndef VMSTEP_PUBLISH_H
#define VMSTEP_PUBLISH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "errmsg.h"

#define PUBLISH_MAX 32 /* ports of a guest */

struct publish {
	uint16_t guest, host; /* host 0: a free one */
	bool udp;
};

/* Add what @text says to the *n of @list, which has room for PUBLISH_MAX. */
int publish_parse(const char *text, struct publish *list, size_t *n,
		  struct errmsg *err);

/* What a site says in allow_publish: "no", "yes", or host ports as in
 * "40000-40999". With "no" *ret_last is 0. */
int publish_allowed(const char *text, uint16_t *ret_first, uint16_t *ret_last,
		    struct errmsg *err);

#endif
