#include <config.h>

#include "report.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define ROWS_MAX    256
#define SAMPLES_MAX 1024
#define NOTES_MAX   16

struct row {
	char group[REPORT_NAME_MAX], name[REPORT_NAME_MAX], unit[16];
	unsigned int n;
	double samples[SAMPLES_MAX];
};

struct report {
	unsigned int n_rows, n_notes;
	struct row rows[ROWS_MAX];
	char notes[NOTES_MAX][160];
};

struct report *report_new(void)
{
	struct report *r = calloc(1, sizeof(*r));

	if (!r)
		abort();
	return r;
}

void report_free(struct report *r)
{
	free(r);
}

static struct row *find_row(struct report *r, const char *group,
			    const char *name, const char *unit)
{
	struct row *row = r->rows;

	for (; row < r->rows + r->n_rows; row++)
		if (strcmp(row->group, group) == 0 &&
		    strcmp(row->name, name) == 0 &&
		    strcmp(row->unit, unit) == 0)
			return row;
	assert(r->n_rows < ROWS_MAX);
	assert(strlen(group) < sizeof(row->group));
	assert(strlen(name) < sizeof(row->name));
	assert(strlen(unit) < sizeof(row->unit));
	r->n_rows++;
	snprintf(row->group, sizeof(row->group), "%s", group);
	snprintf(row->name, sizeof(row->name), "%s", name);
	snprintf(row->unit, sizeof(row->unit), "%s", unit);
	return row;
}

void report_add(struct report *r, const char *group, const char *name,
		const char *unit, double value)
{
	struct row *row = find_row(r, group, name, unit);

	if (row->n < SAMPLES_MAX)
		row->samples[row->n++] = value;
}

void report_note(struct report *r, const char *fmt, ...)
{
	char note[sizeof(r->notes[0])];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(note, sizeof(note), fmt, ap);
	va_end(ap);
	for (unsigned int i = 0; i < r->n_notes; i++)
		if (strcmp(r->notes[i], note) == 0)
			return;
	if (r->n_notes < NOTES_MAX)
		memcpy(r->notes[r->n_notes++], note, sizeof(note));
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Sorted: the least, the middle and the greatest are where one looks. */
static struct row sorted(const struct row *row)
{
	struct row s = *row;

	qsort(s.samples, s.n, sizeof(s.samples[0]), ascending);
	return s;
}

static double median(const struct row *s)
{
	return (s->samples[(s->n - 1) / 2] + s->samples[s->n / 2]) / 2;
}

/* Is this the first row of its group? */
static bool opens_group(const struct report *r, const struct row *row)
{
	for (const struct row *o = r->rows; o < row; o++)
		if (strcmp(o->group, row->group) == 0)
			return false;
	return true;
}

static void print_group(const struct report *r, const struct row *first,
			FILE *f)
{
	fprintf(f, "\n%-60s %10s %10s %10s  n\n", first->group, "median",
		"least", "most");
	for (const struct row *o = first; o < r->rows + r->n_rows; o++) {
		struct row s = sorted(o);

		if (strcmp(s.group, first->group) == 0)
			fprintf(f, "  %-48s %9s %10.3f %10.3f %10.3f %2u\n",
				s.name, s.unit, median(&s), s.samples[0],
				s.samples[s.n - 1], s.n);
	}
}

static void print_table(const struct report *r, FILE *f)
{
	for (const struct row *o = r->rows; o < r->rows + r->n_rows; o++)
		if (opens_group(r, o))
			print_group(r, o, f);
	fprintf(f, "\n");
	for (unsigned int i = 0; i < r->n_notes; i++)
		fprintf(f, "%s\n", r->notes[i]);
}

/* Names and notes are ours: nothing in them needs an escape. */
static void print_json(const struct report *r, FILE *f)
{
	fprintf(f, "{\"results\": [");
	for (unsigned int i = 0; i < r->n_rows; i++) {
		struct row s = sorted(&r->rows[i]);

		fprintf(f,
			"%s\n  {\"group\": \"%s\", \"name\": \"%s\", \"unit\": \"%s\", \"median\": %.6g, \"min\": %.6g, \"max\": %.6g, \"n\": %u}",
			i ? "," : "", s.group, s.name, s.unit, median(&s),
			s.samples[0], s.samples[s.n - 1], s.n);
	}
	fprintf(f, "\n ],\n \"notes\": [");
	for (unsigned int i = 0; i < r->n_notes; i++)
		fprintf(f, "%s\n  \"%s\"", i ? "," : "", r->notes[i]);
	fprintf(f, "\n ]}\n");
}

void report_print(const struct report *r, bool json, FILE *f)
{
	if (json)
		print_json(r, f);
	else
		print_table(r, f);
}
