#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "cleanup.h"
#include "gather.h"
#include "matrix.h"
#include "source.h"
#include "stats_text.h"
#include "top_text.h"

static struct gather *g;

static int set_up(void **state)
{
	g = gather_new(NULL);
	return !g;
}

static int tear_down(void **state)
{
	gather_free(g);
	return 0;
}

/* What a node of a step of two nodes says; rank @id has sent @bytes to rank
 * 1 - @id. */
static json_t *said(int id, int up_ms, int frames, int bytes)
{
	return json_pack(
		"{s:s, s:s, s:i, s:i, s:i, s:i, s:[{s:i, s:{s:i, s:i}, s:{s:i, s:i}, s:i, s:{s:i}, s:[[i,i,i]], s:{s:i, s:i}, s:{s:i, s:i}}], s:[]}",
		"step", "7.0", "node", id ? "n2" : "n1", "node_id", id, "nodes",
		2, "tasks", 2, "up_ms", up_ms, "ports", "rank", id, "in",
		"frames", frames, "bytes", bytes, "out", "frames", 0, "bytes",
		0, "waited", 0, "drops", "full", id, "to", 1 - id, frames,
		bytes, "to_all", "frames", 1, "bytes", 60, "to_others",
		"frames", 0, "bytes", 0, "links");
}

static void add(int id, int up_ms, int frames, int bytes)
{
	json_t *o = said(id, up_ms, frames, bytes);

	assert_non_null(o);
	gather_add(g, id ? "n2" : "n1", o);
	json_decref(o);
}

static void add_text(const char *text)
{
	json_t *o = json_loads(text, 0, NULL);

	gather_add(g, "n9", o);
	json_decref(o);
}

static char *print(const json_t *step, const json_t *before, bool verbose)
{
	char *text;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	stats_print(f, step, before, verbose);
	fclose(f);
	return text;
}

static void assert_has(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("no '%s' in\n%s", part, text);
}

static void nodes_are_put_in_order(void **state)
{
	json_t *step;

	assert_null(gather_take(g));
	add(1, 1000, 5, 500);
	assert_false(gather_is_whole(g));
	add(0, 1000, 5, 500);
	assert_true(gather_is_whole(g));
	step = gather_take(g);
	assert_string_equal(
		json_string_value(json_object_get(
			json_array_get(json_object_get(step, "nodes"), 0),
			"node")),
		"n1");
	assert_true(json_is_true(json_object_get(step, "complete")));
	assert_false(gather_is_whole(g)); /* it was taken */
	json_decref(step);
}

static void a_node_that_is_missing_is_told(void **state)
{
	json_t *step;
	char *text;

	add(1, 1000, 5, 500);
	step = gather_take(g);
	assert_true(json_is_false(json_object_get(step, "complete")));
	text = print(step, NULL, false);
	assert_has(text, "on 2 nodes, of which 1 answered");
	free(text);
	json_decref(step);
}

static void steps_and_errors_are_kept(void **state)
{
	add_text("{\"steps\":[]}");
	assert_null(gather_error(g));
	add_text("{\"steps\":[\"7.0\",\"7.1\"]}");
	add_text("{\"steps\":[\"7.1\"]}");
	assert_int_equal(json_array_size(gather_steps(g)), 2);
	add_text("{\"error\":\"no\"}");
	add_text("{\"error\":\"neither\"}");
	assert_string_equal(gather_error(g), "n9: no");
	assert_null(gather_take(g));
}

static void what_is_no_statistics_is_an_error(void **state)
{
	add_text("{\"step\":\"7.0\"}");
	assert_non_null(strstr(gather_error(g), "another version"));
	add_text("[]");
	add_text("17");
	assert_null(gather_take(g));
}

static void totals_fit_eighty_columns(void **state)
{
	json_t *step;
	char *text;
	int column = 0;

	add(0, 1000, 1234567, 1999999999);
	add(1, 1000, 0, 0);
	step = gather_take(g);
	text = print(step, NULL, true);
	assert_has(text, "step 7.0: 2 tasks on 2 nodes\n");
	assert_has(text, "     0 n1                  1.23M   2.00G       0");
	assert_has(text, "dropped, task 1, n2: full 1\n");
	for (const char *p = text; *p; p++) {
		column = *p == '\n' ? 0 : column + 1;
		assert_true(column <= 80);
	}
	free(text);
	json_decref(step);
}

static void rates_are_by_each_nodes_clock(void **state)
{
	json_t *before, *step;
	char *text;

	add(0, 1000, 100, 1000);
	add(1, 5000, 100, 1000);
	before = gather_take(g);
	add(0, 3000, 300, 5000);
	add(1, 10, 7, 70); /* started again */
	step = gather_take(g);
	text = print(step, before, false);
	assert_has(text, "frame/s");
	assert_has(text, "     0 n1                    100   2.00k ");
	assert_has(text, "     1 n2                      -       - ");
	free(text);
	json_decref(before);
	json_decref(step);
}

static void only_ranks_that_were_asked_for(void **state)
{
	struct rankset ranks = { 0 };
	json_t *step;
	char *text;

	gather_free(g);
	assert_int_equal(rankset_add(&ranks, 1, 1), 0);
	g = gather_new(&ranks);
	add(0, 1000, 1, 1);
	add(1, 1000, 1, 1);
	step = gather_take(g);
	text = print(step, NULL, false);
	assert_null(strstr(text, "     0 n1"));
	assert_has(text, "     1 n2");
	free(text);
	json_decref(step);
	rankset_done(&ranks);
}

/* -- pieces ---------------------------------------------------------------- */

static int take(struct pieces *p, const char *text, json_t **ret)
{
	const char *node;
	char line[64];

	snprintf(line, sizeof(line), "%s", text);
	return pieces_take(p, line, &node, ret);
}

static void pieces_of_several_nodes_are_put_together(void **state)
{
	struct pieces *p = pieces_new();
	json_t *o = NULL;

	assert_int_equal(take(p, "n1 + {\"a\":\n", &o), 0);
	assert_int_equal(take(p, "n2 . {\"b\":2}\n", &o), 1);
	assert_int_equal(json_integer_value(json_object_get(o, "b")), 2);
	json_decref(o);
	assert_int_equal(take(p, "n1 . 1}\n", &o), 1);
	assert_int_equal(json_integer_value(json_object_get(o, "a")), 1);
	json_decref(o);
	pieces_free(p);
}

static void other_lines_are_not_taken(void **state)
{
	static const char *const lines[] = { "",     "\n",     "hello",
					     "n1 ",  "n1 +",   "n1 * x",
					     " + x", "n1 . {", "n1 .x" };
	struct pieces *p = pieces_new();
	json_t *o = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		assert_int_equal(take(p, lines[i], &o), -EPROTO);
	assert_int_equal(take(p, "n1 . {}", &o), 1); /* "{" was thrown away */
	json_decref(o);
	pieces_free(p);
}

/* -- the matrix ------------------------------------------------------------ */

/* A step of @ranks, each of which has sent its number of bytes to the next. */
static json_t *ring_of(int ranks, const char *host)
{
	json_t *ports = json_array();

	for (int i = 0; i < ranks; i++)
		json_array_append_new(
			ports, json_pack("{s:i, s:[[i,i,i]], s:{s:i,s:i}}",
					 "rank", i, "to", (i + 1) % ranks, 1, i,
					 "to_all", "frames", 1, "bytes", 60));
	return json_pack("{s:s, s:i, s:[{s:s, s:o}]}", "step", "7.0<&>",
			 "tasks", ranks, "nodes", "node", host, "ports", ports);
}

static int parse_xml(const char *text)
{
	FILE *f = popen(
		"python3 -c 'import sys, xml.etree.ElementTree as e; e.parse(sys.stdin.buffer)'",
		"w");

	if (!f || fputs(text, f) == EOF)
		return -1;
	return pclose(f);
}

static char *svg_of(const struct matrix *m)
{
	char *text;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	assert_int_equal(matrix_svg(m, f), 0);
	fclose(f);
	return text;
}

static size_t occurrences(const char *text, const char *part)
{
	size_t n = 0;

	while ((text = strstr(text, part))) {
		n++;
		text += strlen(part);
	}
	return n;
}

static void each_rank_has_a_row_up_to_sixty_four(void **state)
{
	json_t *step = ring_of(64, "n<1>&\"'\x01");
	struct matrix m;
	char *svg;

	assert_int_equal(matrix_make(step, &m, NULL), 0);
	json_decref(step);
	assert_int_equal(m.side, 64);
	assert_int_equal(m.block, 1);
	assert_int_equal(m.sums[5][6].bytes, 5);
	assert_int_equal(m.sums[5][7].bytes, 0);
	assert_int_equal(m.sums[5][64].bytes, 60);
	svg = svg_of(&m);
	assert_int_equal(occurrences(svg, " to "), 64 * 66 + 1);
	assert_has(svg, "n&#60;1&#62;&#38;&#34;&#39;&#63;");
	assert_int_equal(parse_xml(svg), 0);
	free(svg);
	matrix_done(&m);
}

static void more_ranks_are_folded_and_nothing_is_lost(void **state)
{
	json_t *step = ring_of(10000, "n1");
	double sum = 0;
	struct matrix m;
	char *svg;

	assert_int_equal(matrix_make(step, &m, NULL), 0);
	json_decref(step);
	assert_true(m.side <= MATRIX_SIDE);
	assert_int_equal(m.block, 157);
	for (uint32_t i = 0; i < m.side; i++)
		for (uint32_t j = 0; j < m.side; j++)
			sum += m.sums[i][j].bytes;
	assert_int_equal(sum, 9999 * 5000);
	svg = svg_of(&m);
	assert_has(svg, "in blocks");
	assert_has(svg, "0-156 on n1");
	assert_int_equal(parse_xml(svg), 0);
	free(svg);
	matrix_done(&m);
}

static void a_silent_step_has_a_picture_too(void **state)
{
	json_t *step = json_pack("{s:s, s:i, s:[]}", "step", "7.0", "tasks", 3,
				 "nodes");
	struct matrix m;
	char *svg;

	assert_int_equal(matrix_make(step, &m, NULL), 0);
	svg = svg_of(&m);
	assert_has(svg, "nothing was sent");
	assert_int_equal(parse_xml(svg), 0);
	free(svg);
	matrix_done(&m);
	json_object_set_new(step, "tasks", json_integer(-1));
	assert_int_equal(matrix_make(step, &m, NULL), -EINVAL);
	json_decref(step);
}

/* What came over srun is not believed. */
static void foreign_ranks_are_left_out(void **state)
{
	json_t *step = json_pack(
		"{s:i, s:[{s:[{s:i,s:[[i,i,i],[i,i,i],[s]]}, {s:i}, n]}]}",
		"tasks", 2, "nodes", "ports", "rank", 1, "to", 2, 1, 1, -1, 1,
		1, "x", "rank", 77);
	struct matrix m;

	assert_non_null(step);
	assert_int_equal(matrix_make(step, &m, NULL), 0);
	assert_int_equal(m.sums[1][0].bytes, 0);
	matrix_done(&m);
	json_decref(step);
}

/* -- vmstep top ------------------------------------------------------------ */

/* A task's sample: CPU time of its QEMU in ms, bytes its card has sent. */
static json_t *sample(json_int_t ms, json_int_t cpu_ms, json_int_t sent)
{
	return json_pack(
		"{s:I, s:{s:{s:{s:i, s:s, s:s, s:[{s:s}, {s:s}], s:{s:f}}, s:{s:{s:I, s:I, s:I}}}}, s:[{s:i, s:{s:I}, s:{s:I}}]}",
		"ms", ms, "tasks", "7", "state", "rank", 7, "name", "vm7",
		"node", "n\033", "procs", "state", "running", "state", "ended",
		"beacon", "load", 0.5, "stats", "qemu", "utime_us",
		cpu_ms * 600, "stime_us", cpu_ms * 400, "rss_bytes",
		(json_int_t)5000000, "ports", "rank", 7, "in", "bytes", sent,
		"out", "bytes", (json_int_t)0);
}

static double real_of(const json_t *o, const char *name)
{
	assert_true(json_is_number(json_object_get(o, name)));
	return json_number_value(json_object_get(o, name));
}

static void top_has_rates_between_two_samples(void **state)
{
	json_t *a = sample(1000, 100, 50), *b = sample(3000, 1100, 4050);
	json_t *first = top_figures(a, NULL), *then = top_figures(b, a);
	json_t *back = top_figures(a, b);
	const json_t *task = json_object_get(first, "7");

	assert_null(json_object_get(task, "cpu_percent"));
	assert_int_equal(json_integer_value(json_object_get(task, "procs")), 1);
	task = json_object_get(then, "7");
	assert_true(real_of(task, "cpu_percent") == 50);
	assert_true(real_of(task, "sent_bytes_s") == 2000);
	assert_true(real_of(task, "received_bytes_s") == 0);
	/* a counter that began anew */
	assert_null(
		json_object_get(json_object_get(back, "7"), "sent_bytes_s"));
	json_decref(a);
	json_decref(b);
	json_decref(first);
	json_decref(then);
	json_decref(back);
}

static void top_is_a_table_of_plain_text(void **state)
{
	json_t *a = sample(1000, 100, 50), *b = sample(3000, 1100, 4050);
	json_t *then = top_figures(b, a);
	json_t *list = json_pack("[O]", json_object_get(then, "7"));
	char *out = NULL;
	size_t size;
	FILE *f = open_memstream(&out, &size);

	top_print(f, list);
	fclose(f);
	assert_non_null(strstr(out, "%CPU"));
	assert_non_null(strstr(out, "n\\x1b"));
	assert_non_null(strstr(out, "  50.0"));
	assert_non_null(strstr(out, "2.00k"));
	free(out);
	json_decref(a);
	json_decref(b);
	json_decref(then);
	json_decref(list);
}

int main(void)
{
#define test(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		test(nodes_are_put_in_order),
		test(a_node_that_is_missing_is_told),
		test(steps_and_errors_are_kept),
		test(what_is_no_statistics_is_an_error),
		test(totals_fit_eighty_columns),
		test(rates_are_by_each_nodes_clock),
		test(only_ranks_that_were_asked_for),
		cmocka_unit_test(pieces_of_several_nodes_are_put_together),
		cmocka_unit_test(other_lines_are_not_taken),
		cmocka_unit_test(each_rank_has_a_row_up_to_sixty_four),
		cmocka_unit_test(more_ranks_are_folded_and_nothing_is_lost),
		cmocka_unit_test(a_silent_step_has_a_picture_too),
		cmocka_unit_test(foreign_ranks_are_left_out),
		cmocka_unit_test(top_has_rates_between_two_samples),
		cmocka_unit_test(top_is_a_table_of_plain_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
