#include "errmsg.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int errmsg_say(struct errmsg *err, int code, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return code;
	va_start(ap, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	return code;
}

int errmsg_set(struct errmsg *err, int code, const char *fmt, ...)
{
	va_list ap;
	size_t len;

	if (!err)
		return code;
	va_start(ap, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	len = strlen(err->text);
	if (code < 0 && code != -EINVAL)
		snprintf(err->text + len, sizeof(err->text) - len, ": %s",
			 strerror(-code));
	return code;
}

int errmsg_prefix(struct errmsg *err, int code, const char *fmt, ...)
{
	char old[ERRMSG_MAX];
	va_list ap;
	size_t len;

	if (!err)
		return code;
	memcpy(old, err->text, sizeof(old));
	va_start(ap, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	len = strlen(err->text);
	snprintf(err->text + len, sizeof(err->text) - len, ": %s", old);
	return code;
}
