/* rankset.h - a set of task ranks, and its text
 *
 * The text is digits, commas and dashes: "0,3,7-9", "4-" (4 and up), "-2" (0
 * to 2). Sets are lists of ranges, so "0-9999" costs as little as "5".
 */
#ifndef VMSTEP_RANKSET_H
#define VMSTEP_RANKSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "errmsg.h"

/* Ranks fit 24 bits with the addresses of network, service and broadcast. */
#define RANK_MAX 0xfffffcu

struct rankset {
	struct rank_range {
		uint32_t first, last; /* both belong to it */
	} * ranges;		      /* owned, ascending, never touching */
	size_t n;
};

/* Replace @set by what @text says; an open range ends at RANK_MAX.
 * -EINVAL with @err where it does not parse; @set is then empty. */
int rankset_parse(struct rankset *set, const char *text, size_t len,
		  struct errmsg *err);
/* Is @text, up to @len, made of nothing but what rank sets are made of? */
bool rankset_looks_like(const char *text, size_t len);
int rankset_add(struct rankset *set, uint32_t first, uint32_t last);
int rankset_merge(struct rankset *set, const struct rankset *other);
bool rankset_has(const struct rankset *set, uint32_t rank);
uint64_t rankset_count(const struct rankset *set);
/* The lowest rank >= @from that is (not) in @set; UINT32_MAX if none below. */
uint32_t rankset_next(const struct rankset *set, uint32_t from);
uint32_t rankset_next_missing(const struct rankset *set, uint32_t from);
/* "0,2-3", to be freed; NULL without memory. "" for the empty set. */
char *rankset_text(const struct rankset *set);
void rankset_done(struct rankset *set); /* frees what it holds, empties it */

#endif
