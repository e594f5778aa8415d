#include <config.h>

#include "publish.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "value.h"

#define UNPRIVILEGED 1024 /* the first port that a user may listen at */

static int parse_port(const char *text, size_t len, unsigned long min,
		      uint16_t *ret, struct errmsg *err)
{
	char digits[8];
	unsigned long n;
	int r;

	if (len >= sizeof(digits))
		return errmsg_say(err, -EINVAL, "'%.*s' is no port",
				  (int)(len > 40 ? 40 : len), text);
	snprintf(digits, sizeof(digits), "%.*s", (int)len, text);
	r = value_uint(digits, min, UINT16_MAX, &n, err);
	if (r == 0)
		*ret = (uint16_t)n;
	return r;
}

static bool is_word(const char *text, size_t len, const char *word)
{
	return len == strlen(word) && strncmp(text, word, len) == 0;
}

/* PORT[=HOSTPORT][/udp] */
static int parse_one(const char *text, size_t len, struct publish *ret,
		     struct errmsg *err)
{
	const char *slash = memchr(text, '/', len), *equals;
	size_t ports = slash ? (size_t)(slash - text) : len, guest;
	int r;

	*ret = (struct publish){ 0 };
	if (slash) {
		size_t rest = len - ports - 1;

		ret->udp = is_word(slash + 1, rest, "udp");
		if (!ret->udp && !is_word(slash + 1, rest, "tcp"))
			return errmsg_say(err, -EINVAL,
					  "'%.*s': after '/' stands tcp or udp",
					  (int)(len > 40 ? 40 : len), text);
	}
	equals = memchr(text, '=', ports);
	guest = equals ? (size_t)(equals - text) : ports;
	r = parse_port(text, guest, 1, &ret->guest, err);
	if (r == 0 && equals)
		r = parse_port(equals + 1, ports - guest - 1, UNPRIVILEGED,
			       &ret->host, err);
	return r;
}

static bool same_host(const struct publish *a, const struct publish *b)
{
	return a->host && a->host == b->host && a->udp == b->udp;
}

int publish_parse(const char *text, struct publish *list, size_t *n,
		  struct errmsg *err)
{
	for (;;) {
		size_t len = strcspn(text, ",");
		int r;

		if (*n == PUBLISH_MAX)
			return errmsg_say(err, -E2BIG,
					  "more than %d ports of a guest",
					  PUBLISH_MAX);
		r = parse_one(text, len, &list[*n], err);
		for (size_t i = 0; i < *n && r == 0; i++)
			if (same_host(&list[i], &list[*n]))
				r = errmsg_say(
					err, -EINVAL,
					"port %u of the node is named twice",
					list[i].host);
		if (r < 0)
			return r;
		(*n)++;
		if (!text[len])
			return 0;
		text += len + 1;
	}
}

int publish_allowed(const char *text, uint16_t *ret_first, uint16_t *ret_last,
		    struct errmsg *err)
{
	bool yes;

	*ret_first = UNPRIVILEGED;
	*ret_last = UINT16_MAX;
	if (value_bool(text, &yes, NULL) == 0) {
		*ret_last = yes ? UINT16_MAX : 0;
		return 0;
	}
	return value_ports(text, ret_first, ret_last, err);
}
