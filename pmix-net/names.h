/* names.h - host names follow from ranks, and ranks from host names
 *
 * All names of a step are one pattern, in which each %t is the rank; so no
 * table is kept of them. Names are text, labels with dots between, and not
 * trusted.
 */
#ifndef VMSTEP_NAMES_H
#define VMSTEP_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "errmsg.h"

#define NAMES_MAX 253 /* bytes of the longest name; RFC 1035, 2.3.4 */

struct names {
	const char *pattern; /* "vm%t"; NULL or "": the step has no names */
	const char *domain;  /* NULL or "": none is known */
};

/* -EINVAL with words where not all of @nranks have a name of their own that
 * fits, with the domain, into a packet. What comes below is for names that
 * were checked. */
int names_check(const struct names *names, uint32_t nranks, struct errmsg *err);

/* The name of @rank, without the domain or with it. Returns its length; 0 if
 * it has none. */
size_t names_host(const struct names *names, uint32_t rank,
		  char text[NAMES_MAX + 1]);
size_t names_full(const struct names *names, uint32_t rank,
		  char text[NAMES_MAX + 1]);

/* The rank whose host name @text of @len bytes is, in any case of letters.
 * Whether the step has so many is the caller's to see. */
bool names_rank(const struct names *names, const char *text, size_t len,
		uint32_t *ret);
/* The length of what precedes the domain in @text, without the dot between; 0
 * for the domain itself. False: it is not in the domain, or there is none. */
bool names_in_domain(const struct names *names, const char *text, size_t len,
		     size_t *ret);

#endif
