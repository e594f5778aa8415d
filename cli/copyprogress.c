#include <config.h>

#include "copyprogress.h"

#include <stdio.h>
#include <unistd.h>

#include "loop.h"
#include "plain.h"

#define EVERY_MS 250

void copyprogress_size(uint64_t bytes, char ret[16])
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	double v = (double)bytes;
	size_t i = 0;

	while (v >= 1024 && i < 4) {
		v /= 1024;
		i++;
	}
	snprintf(ret, 16, i ? "%.1f %s" : "%.0f %s", v, units[i]);
}

void copyprogress_begin(struct copyprogress *p, const char *name, int64_t total)
{
	*p = (struct copyprogress){ .total = total,
				    .name = name,
				    .start_ms = loop_now_ms(),
				    .last_ms = loop_now_ms() };
}

void copyprogress_at(struct copyprogress *p, uint64_t bytes)
{
	int64_t now = loop_now_ms();
	char size[16], rate[16], name[40];

	if (now - p->last_ms < EVERY_MS || !isatty(STDERR_FILENO))
		return;
	p->last_ms = now;
	p->shown = true;
	plain_line(p->name, name, sizeof(name));
	copyprogress_size(bytes, size);
	copyprogress_size(bytes * 1000 / (uint64_t)(now - p->start_ms + 1),
			  rate);
	fprintf(stderr, "\r%-40s %10s", name, size);
	if (p->total > 0)
		fprintf(stderr, " %3d%%",
			(int)(100.0 * (double)bytes / (double)p->total));
	fprintf(stderr, " %10s/s\033[K", rate);
}

void copyprogress_end(struct copyprogress *p)
{
	if (p->shown)
		fputs("\r\033[K", stderr);
	p->shown = false;
}
