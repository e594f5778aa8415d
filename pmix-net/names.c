#include <config.h>

#include "names.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "rankset.h"
#include "value.h"

#define RANK_DIGITS 8 /* of RANK_MAX */

static const char *text_of(const char *text)
{
	return text ? text : "";
}

/* Append @len bytes of @more; false if they do not fit. */
static bool append(char *text, size_t *at, const char *more, size_t len)
{
	if (len > NAMES_MAX - *at)
		return false;
	memcpy(text + *at, more, len);
	*at += len;
	text[*at] = '\0';
	return true;
}

size_t names_host(const struct names *names, uint32_t rank,
		  char text[NAMES_MAX + 1])
{
	const char *p = text_of(names->pattern);
	char digits[16];
	size_t at = 0, len;

	snprintf(digits, sizeof(digits), "%" PRIu32, rank);
	text[0] = '\0';
	while (*p) {
		const char *mark = strstr(p, "%t");

		len = mark ? (size_t)(mark - p) : strlen(p);
		if (!append(text, &at, p, len) ||
		    (mark && !append(text, &at, digits, strlen(digits))))
			return 0;
		p += len + (mark ? 2 : 0);
	}
	return at;
}

size_t names_full(const struct names *names, uint32_t rank,
		  char text[NAMES_MAX + 1])
{
	const char *domain = text_of(names->domain);
	size_t at = names_host(names, rank, text);

	if (at && *domain &&
	    (!append(text, &at, ".", 1) ||
	     !append(text, &at, domain, strlen(domain))))
		return 0;
	return at;
}

int names_check(const struct names *names, uint32_t nranks, struct errmsg *err)
{
	char text[NAMES_MAX + 1];

	if (!*text_of(names->pattern))
		return 0;
	if (nranks > 1 && !strstr(names->pattern, "%t"))
		return errmsg_say(err, -EINVAL,
				  "'%s' gives %" PRIu32
				  " guests one name: put %%t into it",
				  names->pattern, nranks);
	/* the last one's is as long as any */
	if (!names_full(names, nranks - 1, text))
		return errmsg_say(
			err, -EINVAL,
			"'%s' and the domain '%s' are longer than %d bytes together: take shorter ones",
			names->pattern, text_of(names->domain), NAMES_MAX);
	return value_hostname(text, err);
}

/* How often is the rank in the pattern, and how much stands around it? */
static void measure(const char *pattern, size_t *marks, size_t *fixed)
{
	const char *mark;

	*marks = 0;
	for (const char *p = pattern; (mark = strstr(p, "%t")); p = mark + 2)
		++*marks;
	*fixed = strlen(pattern) - 2 * *marks;
}

/* The name's length tells how many digits the rank has, and so where they are.
 * Then it must be the name of just that rank: "vm007" is nobody's. */
bool names_rank(const struct names *names, const char *text, size_t len,
		uint32_t *ret)
{
	const char *pattern = text_of(names->pattern);
	const char *digits = text + strcspn(pattern, "%");
	char want[NAMES_MAX + 1];
	size_t marks, fixed, n;
	uint32_t rank = 0;

	measure(pattern, &marks, &fixed);
	if (len == 0 || len < fixed)
		return false;
	n = marks ? (len - fixed) / marks : 0;
	if (len != fixed + n * marks || n > RANK_DIGITS)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (digits[i] < '0' || digits[i] > '9')
			return false;
		rank = rank * 10 + (uint32_t)(digits[i] - '0');
	}
	if (rank > RANK_MAX || names_host(names, rank, want) != len ||
	    strncasecmp(text, want, len) != 0)
		return false;
	*ret = rank;
	return true;
}

bool names_in_domain(const struct names *names, const char *text, size_t len,
		     size_t *ret)
{
	const char *domain = text_of(names->domain);
	size_t tail = strlen(domain), host;

	if (!tail || len < tail)
		return false;
	host = len - tail;
	if (strncasecmp(text + host, domain, tail) != 0 ||
	    (host && text[host - 1] != '.'))
		return false;
	*ret = host ? host - 1 : 0;
	return true;
}
