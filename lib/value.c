#include "value.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAX_BYTES (1ull << 62)

/* Digits only: strtoull() would take spaces and signs too. */
static bool digits(const char *text, const char **end, unsigned long long *ret)
{
	char *after;

	if (!isdigit((unsigned char)*text))
		return false;
	errno = 0;
	*ret = strtoull(text, &after, 10);
	*end = after;
	return errno == 0;
}

int value_size(const char *text, uint64_t *ret_bytes, struct errmsg *err)
{
	static const char units[] = "KMGT";
	unsigned long long n;
	const char *end;
	int shift = 20;

	if (!digits(text, &end, &n))
		goto bad;
	if (*end) {
		const char *unit = strchr(units, toupper((unsigned char)*end));

		if (!unit)
			goto bad;
		shift = 10 * (int)(unit - units + 1);
		end++;
		if (toupper((unsigned char)*end) == 'B')
			end++;
		if (*end)
			goto bad;
	}
	if (n == 0 || n > MAX_BYTES >> shift)
		goto bad;
	*ret_bytes = n << shift;
	return 0;
bad:
	return errmsg_say(err, -EINVAL,
			  "'%s' is not a size: write it as in 512M, 4G or 1T",
			  text);
}

int value_size_pct(const char *text, uint64_t whole_bytes, uint64_t *ret_bytes,
		   struct errmsg *err)
{
	unsigned long long n;
	const char *end;

	if (!strchr(text, '%'))
		return value_size(text, ret_bytes, err);
	if (!digits(text, &end, &n) || strcmp(end, "%") != 0 || n < 1 ||
	    n > 100)
		return errmsg_say(
			err, -EINVAL,
			"'%s' is not a share: write it as in 80%%, from 1%% to 100%%",
			text);
	*ret_bytes = whole_bytes / 100 * n + whole_bytes % 100 * n / 100;
	return 0;
}

int value_uint(const char *text, unsigned long min, unsigned long max,
	       unsigned long *ret, struct errmsg *err)
{
	unsigned long long n;
	const char *end;

	if (!digits(text, &end, &n) || *end || n < min || n > max)
		return errmsg_say(err, -EINVAL,
				  "'%s' is not a whole number from %lu to %lu",
				  text, min, max);
	*ret = (unsigned long)n;
	return 0;
}

int value_ports(const char *text, uint16_t *ret_first, uint16_t *ret_last,
		struct errmsg *err)
{
	unsigned long long first, last;
	const char *dash, *end;

	if (!digits(text, &dash, &first) || *dash != '-' ||
	    !digits(dash + 1, &end, &last) || *end || first < 1 ||
	    last < first || last > UINT16_MAX)
		return errmsg_say(
			err, -EINVAL,
			"'%s' is not a range of ports as in 40000-40999", text);
	*ret_first = (uint16_t)first;
	*ret_last = (uint16_t)last;
	return 0;
}

int value_bool(const char *text, bool *ret, struct errmsg *err)
{
	static const char *const yes[] = { "1", "yes", "true", "on" };
	static const char *const no[] = { "0", "no", "false", "off" };

	for (size_t i = 0; i < 4; i++) {
		if (strcasecmp(text, yes[i]) == 0 ||
		    strcasecmp(text, no[i]) == 0) {
			*ret = strcasecmp(text, yes[i]) == 0;
			return 0;
		}
	}
	return errmsg_say(err, -EINVAL, "'%s' is neither yes nor no", text);
}

int value_abs_path(const char *text, struct errmsg *err)
{
	if (*text == '/')
		return 0;
	return errmsg_say(err, -EINVAL, "'%s' is not an absolute path", text);
}

int value_word(const char *text, const char *const *words, int *ret,
	       struct errmsg *err)
{
	char list[256] = "";
	size_t len = 0;

	for (int i = 0; words[i]; i++) {
		if (strcmp(text, words[i]) == 0) {
			*ret = i;
			return 0;
		}
		if (len < sizeof(list))
			len += (size_t)snprintf(list + len, sizeof(list) - len,
						"%s%s", i ? ", " : "",
						words[i]);
	}
	return errmsg_say(err, -EINVAL, "'%s' is none of %s", text, list);
}

int value_hostname(const char *text, struct errmsg *err)
{
	size_t len = strlen(text), label = 0;

	if (len == 0 || len > 253)
		goto bad;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];
		bool edge = label == 0 || i + 1 == len || text[i + 1] == '.';

		if (c == '.') {
			if (label == 0)
				goto bad;
			label = 0;
			continue;
		}
		if (!isalnum(c) && (c != '-' || edge))
			goto bad;
		if (++label > 63)
			goto bad;
	}
	if (label > 0)
		return 0;
bad:
	return errmsg_say(
		err, -EINVAL,
		"'%s' is not a host name: use letters, digits and '-', at most 63 between dots",
		text);
}

void value_size_text(uint64_t bytes, char text[16])
{
	static const char units[] = "KMGTPE";
	double v = (double)bytes / 1024;
	int u = 0;

	while (v >= 1024 && units[u + 1]) {
		v /= 1024;
		u++;
	}
	snprintf(text, 16, v < 10 && v != (int)v ? "%.1f%c" : "%.0f%c", v,
		 units[u]);
}

char *value_strip(char *text)
{
	size_t len;

	while (isspace((unsigned char)*text))
		text++;
	len = strlen(text);
	while (len && isspace((unsigned char)text[len - 1]))
		text[--len] = '\0';
	return text;
}
