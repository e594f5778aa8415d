#include <config.h>

#include "report.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int report_fd = -1;

void report_to(int fd)
{
	report_fd = fd;
}

void report(const char *key, const char *fmt, ...)
{
	char *value, *record;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&value, fmt, ap);
	va_end(ap);
	if (n < 0)
		abort();
	n = asprintf(&record, "%s=%s", key, value);
	/* one write a record: tasks report at the same time */
	if (n < 0 || write(report_fd, record, (size_t)n + 1) != n + 1)
		abort();
	free(record);
	free(value);
}
