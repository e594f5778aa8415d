/* report.h - samples by name; medians at the end */
#ifndef VMSTEP_BENCH_REPORT_H
#define VMSTEP_BENCH_REPORT_H

#include <stdbool.h>
#include <stdio.h>

struct report;

#define REPORT_NAME_MAX 96 /* bytes of a group's name, or of another's */

struct report *report_new(void);
void report_free(struct report *r);
/* One sample of what is called @name in @group; names are kept as they are
 * first used, in that order. */
void report_add(struct report *r, const char *group, const char *name,
		const char *unit, double value);
/* A sentence that belongs to the figures, as in why one is missing. */
void report_note(struct report *r, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void report_print(const struct report *r, bool json, FILE *f);

#endif
