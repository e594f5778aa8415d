#include "rankset.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"

void rankset_done(struct rankset *set)
{
	free(set->ranges);
	*set = (struct rankset){ 0 };
}

int rankset_add(struct rankset *set, uint32_t first, uint32_t last)
{
	struct rank_range *ranges;
	size_t i, j;

	/* [i, j) are the ranges that overlap or touch the new one */
	for (i = 0; i < set->n; i++)
		if (first == 0 || set->ranges[i].last >= first - 1)
			break;
	for (j = i; j < set->n; j++)
		if (last < UINT32_MAX && set->ranges[j].first > last + 1)
			break;
	if (j > i) {
		if (set->ranges[i].first < first)
			first = set->ranges[i].first;
		if (set->ranges[j - 1].last > last)
			last = set->ranges[j - 1].last;
		memmove(&set->ranges[i + 1], &set->ranges[j],
			(set->n - j) * sizeof(*set->ranges));
		set->n -= j - i - 1;
	} else {
		ranges = reallocarray(set->ranges, set->n + 1, sizeof(*ranges));
		if (!ranges)
			return -ENOMEM;
		set->ranges = ranges;
		memmove(&ranges[i + 1], &ranges[i],
			(set->n - i) * sizeof(*ranges));
		set->n++;
	}
	set->ranges[i] = (struct rank_range){ first, last };
	return 0;
}

int rankset_merge(struct rankset *set, const struct rankset *other)
{
	for (size_t i = 0; i < other->n; i++) {
		int r = rankset_add(set, other->ranges[i].first,
				    other->ranges[i].last);

		if (r < 0)
			return r;
	}
	return 0;
}

/* Digits at *p, which moves on. Returns false where there are none, or the
 * number is no rank. */
static bool parse_rank(const char **p, const char *end, uint32_t *ret)
{
	uint64_t v = 0;

	if (*p == end || !isdigit((unsigned char)**p))
		return false;
	for (; *p < end && isdigit((unsigned char)**p); (*p)++) {
		v = v * 10 + (uint64_t)(**p - '0');
		if (v > RANK_MAX)
			return false;
	}
	*ret = (uint32_t)v;
	return true;
}

static bool parse_range(const char **p, const char *end, uint32_t *first,
			uint32_t *last)
{
	*first = 0;
	*last = RANK_MAX;
	if (*p < end && **p == '-') { /* "-2" */
		(*p)++;
		return parse_rank(p, end, last);
	}
	if (!parse_rank(p, end, first))
		return false;
	if (*p == end || **p != '-') { /* "2" */
		*last = *first;
		return true;
	}
	(*p)++;
	if (*p == end || **p == ',') /* "2-" */
		return true;
	return parse_rank(p, end, last) && *last >= *first; /* "2-4" */
}

int rankset_parse(struct rankset *set, const char *text, size_t len,
		  struct errmsg *err)
{
	const char *p = text, *end = text + len;
	uint32_t first, last;

	rankset_done(set);
	for (;;) {
		if (!parse_range(&p, end, &first, &last) ||
		    (p < end && *p != ',')) {
			rankset_done(set);
			return errmsg_say(
				err, -EINVAL,
				"'%.*s' is not a set of ranks: write it as in 0,3,7-9 or 4- or -2",
				(int)(len > 100 ? 100 : len), text);
		}
		if (rankset_add(set, first, last) < 0) {
			rankset_done(set);
			return errmsg_set(err, -ENOMEM, "set of ranks");
		}
		if (p == end)
			return 0;
		p++;
	}
}

bool rankset_looks_like(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!isdigit((unsigned char)text[i]) && text[i] != ',' &&
		    text[i] != '-')
			return false;
	return len > 0;
}

bool rankset_has(const struct rankset *set, uint32_t rank)
{
	size_t lo = 0, hi = set->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (set->ranges[mid].last < rank)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < set->n && set->ranges[lo].first <= rank;
}

uint64_t rankset_count(const struct rankset *set)
{
	uint64_t n = 0;

	for (size_t i = 0; i < set->n; i++)
		n += (uint64_t)set->ranges[i].last - set->ranges[i].first + 1;
	return n;
}

uint32_t rankset_next(const struct rankset *set, uint32_t from)
{
	for (size_t i = 0; i < set->n; i++)
		if (set->ranges[i].last >= from)
			return set->ranges[i].first > from
				       ? set->ranges[i].first
				       : from;
	return UINT32_MAX;
}

uint32_t rankset_next_missing(const struct rankset *set, uint32_t from)
{
	for (size_t i = 0; i < set->n; i++)
		if (set->ranges[i].first <= from && from <= set->ranges[i].last)
			return set->ranges[i].last + 1;
	return from;
}

/* "4294967295-4294967295," */
#define RANGE_TEXT 22

/* Without a stream: it is asked for each message between tasks. */
char *rankset_text(const struct rankset *set)
{
	size_t size = set->n * RANGE_TEXT + 1, at = 0;
	char *text = malloc(size);

	if (!text)
		return NULL;
	*text = '\0';
	for (size_t i = 0; i < set->n; i++) {
		const struct rank_range *r = &set->ranges[i];

		at += (size_t)snprintf(text + at, size - at, "%s%" PRIu32,
				       i ? "," : "", r->first);
		if (r->last == RANK_MAX && r->first != RANK_MAX)
			at += (size_t)snprintf(text + at, size - at, "-");
		else if (r->last != r->first)
			at += (size_t)snprintf(text + at, size - at,
					       "-%" PRIu32, r->last);
	}
	return text;
}
