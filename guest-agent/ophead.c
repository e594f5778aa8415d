#include <config.h>

#include "ophead.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define COMMENT	      "#/-;%"
#define NAME_MAX_     64
#define TIMEOUT_MAX_S (365.0 * 24 * 3600)

int opname_check(const char *what, const char *name, struct errmsg *err)
{
	size_t len = strlen(name);

	if (len && len <= NAME_MAX_ && isalnum((unsigned char)*name) &&
	    strspn(name, "abcdefghijklmnopqrstuvwxyz"
			 "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") == len)
		return 0;
	return errmsg_say(
		err, -EINVAL,
		"%s: '%.80s' is no name: letters, digits, _ . and -, %d at the most",
		what, name, NAME_MAX_);
}

/* @text to @end without the blanks around it, as far as it fits. */
static void set(char *ret, size_t size, const char *text, const char *end)
{
	size_t len;

	while (text < end && isspace((unsigned char)*text))
		text++;
	while (end > text && isspace((unsigned char)end[-1]))
		end--;
	len = (size_t)(end - text) < size ? (size_t)(end - text) : size - 1;
	memcpy(ret, text, len);
	ret[len] = '\0';
}

/* "NAME(PARAMS): HELP"; the name is that of the file. */
static int take_op(char *text, struct ophead *ret, struct errmsg *err)
{
	char *open = strchr(text, '('), *close = strchr(text, ')');
	char *colon = strchr(close ? close : text, ':');

	if (!open != !close || (open && close < open) || !colon)
		return errmsg_say(
			err, -EINVAL,
			"its line 'op: %.80s' is not as in op: NAME(PARAMS): HELP",
			text);
	if (open)
		set(ret->params, sizeof(ret->params), open + 1, close);
	set(ret->help, sizeof(ret->help), colon + 1, colon + strlen(colon));
	return 0;
}

static int take_timeout(const char *text, struct ophead *ret,
			struct errmsg *err)
{
	char *end;
	double s = strtod(text, &end);

	end += strspn(end, " \t\r");
	if (end == text || *end || !(s > 0 && s <= TIMEOUT_MAX_S))
		return errmsg_say(err, -EINVAL,
				  "its line 'timeout: %.80s' is not in seconds",
				  text);
	ret->timeout_ms = (int64_t)(s * 1000);
	return 0;
}

static int take_line(char *line, struct ophead *ret, struct errmsg *err)
{
	line += strspn(line, COMMENT);
	line += strspn(line, " \t");
	if (strncmp(line, "op:", 3) == 0)
		return take_op(line + 3 + strspn(line + 3, " \t"), ret, err);
	if (strncmp(line, "timeout:", 8) == 0)
		return take_timeout(line + 8 + strspn(line + 8, " \t"), ret,
				    err);
	if (strncmp(line, "user:", 5) == 0)
		set(ret->user, sizeof(ret->user), line + 5,
		    line + strlen(line));
	return 0;
}

int ophead_parse(const char *text, size_t len, struct ophead *ret,
		 struct errmsg *err)
{
	char line[2 * OPHEAD_TEXT];
	size_t at = 0;
	int r = 0;

	memset(ret, 0, sizeof(*ret));
	if (len > OPHEAD_BYTES)
		len = OPHEAD_BYTES;
	while (at < len && r == 0) {
		const char *end = memchr(text + at, '\n', len - at);
		size_t n = end ? (size_t)(end - text) - at : len - at;

		if (memchr(text + at, '\0', n))
			break; /* no script */
		set(line, sizeof(line), text + at, text + at + n);
		if (*line && !strchr(COMMENT, *line))
			break;
		r = take_line(line, ret, err);
		at += n + 1;
	}
	return r;
}
