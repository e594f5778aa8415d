#include <config.h>

#include "stats_text.h"

#include <stdint.h>
#include <string.h>

#include "figures.h"

static json_int_t number(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

static const char *text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "?";
}

/* -- what was, and how long ago -------------------------------------------- */

/* The element of the array @list whose @key is @value; NULL: none. */
static const json_t *find(const json_t *list, const char *key, json_int_t value)
{
	const json_t *o;
	size_t i;

	json_array_foreach (list, i, o)
		if (number(o, key) == value)
			return o;
	return NULL;
}

/* How a figure is shown: as it is, or what it has grown by a second. */
struct view {
	double seconds; /* 0: as it is; < 0: not to be known */
	const json_t *before;
};

/* A vmstep-net that was started again counts from 0. */
static struct view view_of(const json_t *node, const json_t *before)
{
	const json_t *old = find(json_object_get(before, "nodes"), "node_id",
				 number(node, "node_id"));
	json_int_t ms = number(node, "up_ms") - number(old, "up_ms");

	if (!before)
		return (struct view){ 0, NULL };
	if (!old || ms <= 0)
		return (struct view){ -1, NULL };
	return (struct view){ (double)ms / 1000, old };
}

static json_int_t count_at(const json_t *o, const char *group, const char *key)
{
	return number(group ? json_object_get(o, group) : o, key);
}

static const char *show(const struct view *v, json_int_t now, json_int_t was,
			char out[FIGURE_TEXT])
{
	if (v->seconds < 0 || now < was) {
		snprintf(out, FIGURE_TEXT, "-");
		return out;
	}
	return figure(v->seconds > 0 ? (double)(now - was) / v->seconds
				     : (double)now,
		      out);
}

static json_int_t dropped(const json_t *o)
{
	json_int_t sum = 0;
	const char *key;
	json_t *n;

	json_object_foreach (json_object_get(o, "drops"), key, n)
		sum += json_integer_value(n);
	return sum;
}

/* -- ports and links ------------------------------------------------------- */

/* The columns that both have: frames and bytes both ways, waits, drops. */
static void print_counts(FILE *f, const struct view *v, const json_t *o,
			 const json_t *old)
{
	static const char *const pairs[][2] = { { "in", "frames" },
						{ "in", "bytes" },
						{ "out", "frames" },
						{ "out", "bytes" },
						{ NULL, "waited" } };
	char out[FIGURE_TEXT];

	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
		fprintf(f, " %7s",
			show(v, count_at(o, pairs[i][0], pairs[i][1]),
			     count_at(old, pairs[i][0], pairs[i][1]), out));
	fprintf(f, " %7s\n", show(v, dropped(o), dropped(old), out));
}

static void print_head(FILE *f, const char *first, const char *from,
		       const char *to, bool rates)
{
	static const char *const names[2][4] = {
		{ "frames", "bytes", "waits", "drops" },
		{ "frame/s", "byte/s", "wait/s", "drop/s" },
	};
	const char *const *n = names[rates];

	fprintf(f, "\n%-24s %15s %15s\n", "", from, to);
	fprintf(f, "%-24s %7s %7s %7s %7s %7s %7s\n", first, n[0], n[1], n[0],
		n[1], n[2], n[3]);
}

static void print_ports(FILE *f, const json_t *step, const json_t *before)
{
	const json_t *node, *port;
	size_t i, j;

	print_head(f, "  task node", "sent", "received", before != NULL);
	json_array_foreach (json_object_get(step, "nodes"), i, node) {
		struct view v = view_of(node, before);
		const json_t *old = json_object_get(v.before, "ports");

		json_array_foreach (json_object_get(node, "ports"), j, port) {
			json_int_t rank = number(port, "rank");

			fprintf(f, "%6lld %-17.17s", (long long)rank,
				text(node, "node"));
			print_counts(f, &v, port, find(old, "rank", rank));
		}
	}
}

static void print_links(FILE *f, const json_t *step, const json_t *before)
{
	const json_t *node, *link;
	char name[80];
	size_t i, j;

	print_head(f, "link on, to, state", "received", "sent", before != NULL);
	json_array_foreach (json_object_get(step, "nodes"), i, node) {
		struct view v = view_of(node, before);
		const json_t *old = json_object_get(v.before, "links");

		json_array_foreach (json_object_get(node, "links"), j, link) {
			json_int_t id = number(link, "node_id");

			snprintf(name, sizeof(name), "%.9s %.9s %s",
				 text(node, "node"), text(link, "node"),
				 text(link, "state"));
			fprintf(f, "%-24.24s", name);
			print_counts(f, &v, link, find(old, "node_id", id));
		}
	}
}

static bool has_links(const json_t *step)
{
	const json_t *node;
	size_t i;

	json_array_foreach (json_object_get(step, "nodes"), i, node)
		if (json_array_size(json_object_get(node, "links")))
			return true;
	return false;
}

static void print_reasons(FILE *f, const char *who, long long id,
			  const json_t *node, const json_t *o)
{
	const char *key;
	json_t *n;

	if (!dropped(o))
		return;
	fprintf(f, "dropped, %s %lld, %s:", who, id, text(node, "node"));
	json_object_foreach (json_object_get(o, "drops"), key, n)
		fprintf(f, " %s %lld", key, (long long)json_integer_value(n));
	fputc('\n', f);
}

static void print_drops(FILE *f, const json_t *step)
{
	const json_t *node, *o;
	size_t i, j;

	json_array_foreach (json_object_get(step, "nodes"), i, node) {
		json_array_foreach (json_object_get(node, "ports"), j, o)
			print_reasons(f, "task", number(o, "rank"), node, o);
		json_array_foreach (json_object_get(node, "links"), j, o)
			print_reasons(f, "link to node", number(o, "node_id"),
				      node, o);
	}
}

/* -- batches and rings ----------------------------------------------------- */

#define BUCKETS 32

static void sum_buckets(json_int_t *sums, const json_t *list, const char *way,
			const char *what)
{
	const json_t *o, *n;
	size_t i, j;

	json_array_foreach (list, i, o)
		json_array_foreach (
			json_object_get(
				json_object_get(json_object_get(o, "batches"),
						way),
				what),
			j, n)
			if (j < BUCKETS)
				sums[j] += json_integer_value(n);
}

/* A line of those that are not empty; nothing where all are. */
static void print_buckets(FILE *f, const json_t *step, const char *list,
			  const char *way, const char *what, const char *title)
{
	json_int_t sums[BUCKETS] = { 0 };
	char a[FIGURE_TEXT], b[FIGURE_TEXT];
	const json_t *node;
	int column = 0;
	size_t i;

	json_array_foreach (json_object_get(step, "nodes"), i, node)
		sum_buckets(sums, json_object_get(node, list), way, what);
	for (i = 0; i < BUCKETS; i++) {
		if (!sums[i])
			continue;
		if (!column)
			column = fprintf(f, "%-22s", title);
		if (column > 68)
			column = fprintf(f, "\n%-22s", "") - 1;
		column += fprintf(f, " %s+:%s", figure((double)(1ull << i), a),
				  figure((double)sums[i], b));
	}
	if (column)
		fputc('\n', f);
}

static void print_batches(FILE *f, const json_t *step)
{
	fputs("\nbatches by size: of that many and more, but not twice as many\n",
	      f);
	print_buckets(f, step, "ports", "in", "frames", "frames from a guest");
	print_buckets(f, step, "ports", "in", "bytes", "bytes from a guest");
	print_buckets(f, step, "ports", "out", "frames", "frames to a guest");
	print_buckets(f, step, "ports", "out", "bytes", "bytes to a guest");
	print_buckets(f, step, "links", "in", "frames", "frames from a node");
	print_buckets(f, step, "links", "in", "bytes", "bytes from a node");
	print_buckets(f, step, "links", "out", "frames", "frames to a node");
	print_buckets(f, step, "links", "out", "bytes", "bytes to a node");
}

static void print_rings_of(FILE *f, const json_t *port)
{
	char kicks[FIGURE_TEXT], calls[FIGURE_TEXT];
	const json_t *ring;
	size_t i;

	json_array_foreach (json_object_get(port, "rings"), i, ring)
		fprintf(f,
			"%6lld %4lld %-9s %6lld %9lld %8lld %8lld %7s %7s%s\n",
			(long long)number(port, "rank"),
			(long long)number(ring, "index"),
			text(ring, "direction"),
			(long long)number(ring, "size"),
			(long long)number(ring, "available"),
			(long long)number(ring, "position"),
			(long long)number(ring, "event"),
			figure((double)number(ring, "kicks"), kicks),
			figure((double)number(ring, "calls"), calls),
			json_is_true(json_object_get(ring, "event_index"))
				? ""
				: " -");
}

static void print_rings(FILE *f, const json_t *step)
{
	const json_t *node, *port;
	size_t i, j;

	fprintf(f, "\n%6s %4s %-9s %6s %9s %8s %8s %7s %7s\n", "task", "ring",
		"direction", "size", "available", "position", "event", "kicks",
		"calls");
	json_array_foreach (json_object_get(step, "nodes"), i, node)
		json_array_foreach (json_object_get(node, "ports"), j, port)
			print_rings_of(f, port);
}

/* -------------------------------------------------------------------------- */

void stats_print(FILE *f, const json_t *step, const json_t *before,
		 bool verbose)
{
	const json_t *nodes = json_object_get(step, "nodes");
	json_int_t n = number(step, "node_count");

	fprintf(f, "step %s: %lld tasks on %lld node%s", text(step, "step"),
		(long long)number(step, "tasks"), (long long)n,
		n == 1 ? "" : "s");
	if (json_array_size(nodes) < (size_t)n)
		fprintf(f, ", of which %zu answered", json_array_size(nodes));
	fputc('\n', f);
	print_ports(f, step, before);
	if (has_links(step))
		print_links(f, step, before);
	print_drops(f, step);
	if (!verbose)
		return;
	print_batches(f, step);
	print_rings(f, step);
}
