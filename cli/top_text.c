#include <config.h>

#include "top_text.h"

#include <string.h>

#include "figures.h"
#include "plain.h"

static json_int_t number(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

static const char *text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "-";
}

/* -- figures --------------------------------------------------------------- */

static json_int_t cpu_us(const json_t *task)
{
	const json_t *qemu =
		json_object_get(json_object_get(task, "stats"), "qemu");

	return json_is_integer(json_object_get(qemu, "utime_us"))
		       ? number(qemu, "utime_us") + number(qemu, "stime_us")
		       : -1;
}

static const json_t *port_of(const json_t *sample, json_int_t rank)
{
	json_t *port;
	size_t i;

	json_array_foreach (json_object_get(sample, "ports"), i, port)
		if (number(port, "rank") == rank)
			return port;
	return NULL;
}

static size_t running(const json_t *state)
{
	json_t *proc;
	size_t i, n = 0;

	json_array_foreach (json_object_get(state, "procs"), i, proc)
		n += strcmp(text(proc, "state"), "running") == 0;
	return n;
}

static void copy(json_t *to, const char *as, const json_t *from,
		 const char *name)
{
	json_t *value = json_object_get(from, name);

	if (value)
		json_object_set(to, as, value);
}

static json_t *figures_of(const json_t *task)
{
	static const char *const same[] = { "rank",	"name",	 "node",
					    "state",	"agent", "cpus",
					    "mem_bytes" };
	const json_t *state = json_object_get(task, "state");
	const json_t *beacon = json_object_get(state, "beacon");
	json_t *o = json_object();

	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++)
		copy(o, same[i], state, same[i]);
	copy(o, "rss_bytes",
	     json_object_get(json_object_get(task, "stats"), "qemu"),
	     "rss_bytes");
	copy(o, "free_bytes", beacon, "free_bytes");
	copy(o, "load", beacon, "load");
	json_object_set_new(o, "procs",
			    json_integer((json_int_t)running(state)));
	return o;
}

/* What has grown since; not where a counter began anew. */
static void add_rate(json_t *o, const char *name, json_int_t now,
		     json_int_t was, double per)
{
	if (now >= was && was >= 0 && per > 0)
		json_object_set_new(o, name,
				    json_real((double)(now - was) / per));
}

static void add_bytes(json_t *o, const char *name, const json_t *now,
		      const json_t *was, const char *way, double s)
{
	if (now && was)
		add_rate(o, name, number(json_object_get(now, way), "bytes"),
			 number(json_object_get(was, way), "bytes"), s);
}

json_t *top_figures(const json_t *sample, const json_t *before)
{
	double s = (double)(number(sample, "ms") - number(before, "ms")) / 1000;
	json_t *all = json_object(), *task;
	const char *key;

	json_object_foreach (json_object_get(sample, "tasks"), key, task) {
		json_t *o = figures_of(task);
		const json_t *old =
			json_object_get(json_object_get(before, "tasks"), key);
		const json_t *now = port_of(sample, number(o, "rank"));
		const json_t *was = port_of(before, number(o, "rank"));

		if (old)
			add_rate(o, "cpu_percent", cpu_us(task), cpu_us(old),
				 10000 * s);
		add_bytes(o, "sent_bytes_s", now, was, "in", s);
		add_bytes(o, "received_bytes_s", now, was, "out", s);
		json_object_set_new(all, key, o);
	}
	return all;
}

/* -- a table --------------------------------------------------------------- */

static void put_figure(FILE *f, int width, const json_t *o, const char *key)
{
	const json_t *value = json_object_get(o, key);
	char out[FIGURE_TEXT];

	fprintf(f, " %*s", width,
		json_is_number(value) ? figure(json_number_value(value), out)
				      : "-");
}

static void put_text(FILE *f, int width, const json_t *o, const char *key)
{
	char out[64];

	plain_line(text(o, key), out, sizeof(out));
	fprintf(f, "%-*s ", width, out);
}

static void put_load(FILE *f, const json_t *o)
{
	const json_t *load = json_object_get(o, "load");

	if (json_is_array(load))
		load = json_array_get(load, 0);
	if (json_is_number(load))
		fprintf(f, " %5.2f", json_number_value(load));
	else
		fprintf(f, " %5s", "-");
}

static void put_percent(FILE *f, const json_t *o)
{
	const json_t *value = json_object_get(o, "cpu_percent");

	if (json_is_number(value))
		fprintf(f, "%6.1f", json_number_value(value));
	else
		fprintf(f, "%6s", "-");
}

void top_print(FILE *f, const json_t *tasks)
{
	json_t *o;
	size_t i;

	fprintf(f,
		"%-6s %-10s %-10s %-8s %-6s %6s %4s %6s %6s %6s %5s %7s %7s %5s\n",
		"RANK", "NAME", "NODE", "VM", "AGENT", "%CPU", "CPUS", "RES",
		"MEM", "FREE", "LOAD", "SENT/s", "RECV/s", "PROCS");
	json_array_foreach (tasks, i, o) {
		fprintf(f, "%-6lld ", (long long)number(o, "rank"));
		put_text(f, 10, o, "name");
		put_text(f, 10, o, "node");
		put_text(f, 8, o, "state");
		put_text(f, 6, o, "agent");
		put_percent(f, o);
		put_figure(f, 4, o, "cpus");
		put_figure(f, 6, o, "rss_bytes");
		put_figure(f, 6, o, "mem_bytes");
		put_figure(f, 6, o, "free_bytes");
		put_load(f, o);
		put_figure(f, 7, o, "sent_bytes_s");
		put_figure(f, 7, o, "received_bytes_s");
		fprintf(f, " %5lld\n", (long long)number(o, "procs"));
	}
}
