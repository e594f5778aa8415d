#include <config.h>

#include "args.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"

void args_add(struct args *a, const char *fmt, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0)
		text = NULL;
	if (!text || strings_add(a->list, text, (size_t)n) < 0)
		a->error = -ENOMEM;
}

void args_add2(struct args *a, const char *option, const char *value)
{
	args_add(a, "%s", option);
	args_add(a, "%s", value);
}

char *args_quoted(const char *value)
{
	char *out = malloc(2 * strlen(value) + 1), *o = out;

	if (!out)
		return NULL;
	for (; *value; value++) {
		if (*value == ',')
			*o++ = ',';
		*o++ = *value;
	}
	*o = '\0';
	return out;
}
