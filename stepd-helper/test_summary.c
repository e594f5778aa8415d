#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "netjson.h"
#include "netstats.h"
#include "summary.h"

static struct netstats s;

static int tear_down(void **state)
{
	netstats_done(&s);
	return 0;
}

static void add_node(uint64_t id)
{
	const struct netstats_node node = { .node = id,
					    .nnodes = 2,
					    .nranks = 2 };
	struct netstats_port port = { .rank = id,
				      .peak_frames = 10 + id,
				      .peak_bytes = 1000 - id };
	struct netstats_link link = { .node = 1 - id };
	const struct netstats_peers peers = { .rank = id };
	const struct netstats_peer peer = { .rank = 1 - id, .sum = { 3, 300 } };

	port.counts[COUNT_IN_FRAMES] = 100;
	port.counts[COUNT_IN_BYTES] = 10000;
	port.counts[COUNT_FULL] = 2;
	port.counts[COUNT_WAITED] = 1;
	link.counts[COUNT_OUT_FRAMES] = 90;
	link.counts[COUNT_OUT_BYTES] = 9000;
	link.counts[COUNT_NODE_GONE] = id;
	netstats_add(&s, NETSTATS_NODE, &node);
	netstats_add(&s, NETSTATS_PORT, &port);
	netstats_add(&s, NETSTATS_LINK, &link);
	netstats_add(&s, NETSTATS_PEERS, &peers);
	netstats_add(&s, NETSTATS_PEER, &peer);
}

static json_t *step_of(void)
{
	json_t *step = netjson_report("7.0", s.words, s.n, NULL);

	assert_non_null(step);
	return step;
}

static void all_nodes_are_summed_up(void **state)
{
	json_t *step;
	char *text;

	add_node(0);
	add_node(1);
	step = step_of();
	text = summary_text(step);
	assert_string_equal(
		text,
		"the step's network: 2 tasks, 2 nodes\n"
		"guests sent 200 frames, 20000 bytes; links carried 180 frames, 18000 bytes\n"
		"at most 11 frames, and 1000 bytes (task 0), were sent by one guest within a second\n"
		"senders waited 2 times; 5 frames dropped, full 4, node_gone 1\n");
	free(text);
	json_decref(step);
}

static void what_is_missing_is_said(void **state)
{
	json_t *step;
	char *text;

	add_node(1);
	step = step_of();
	assert_true(json_is_false(json_object_get(step, "complete")));
	text = summary_text(step);
	assert_non_null(strstr(text, "of which 1 told"));
	free(text);
	json_decref(step);
}

static void peers_are_their_ports(void **state)
{
	json_t *step, *port;
	char *text;

	add_node(0);
	step = step_of();
	port = json_array_get(
		json_object_get(
			json_array_get(json_object_get(step, "nodes"), 0),
			"ports"),
		0);
	text = json_dumps(json_object_get(port, "to"), JSON_COMPACT);
	assert_string_equal(text, "[[1,3,300]]");
	free(text);
	json_decref(step);
}

static void what_belongs_to_nothing_is_refused(void **state)
{
	const struct netstats_peers peers = { .rank = 5 };
	const struct netstats_peer peer = { .rank = 5 };
	struct errmsg err = { "" };

	assert_null(netjson_report("7.0", NULL, 0, &err));
	netstats_add(&s, NETSTATS_PEER, &peer);
	assert_null(netjson_report("7.0", s.words, s.n, &err));
	netstats_done(&s);
	netstats_add(&s, NETSTATS_PEERS, &peers);
	assert_null(netjson_report("7.0", s.words, s.n, &err));
	netstats_done(&s);
	add_node(0);
	netstats_add(&s, NETSTATS_PEERS, &peers); /* it has no such port */
	assert_null(netjson_report("7.0", s.words, s.n, &err));
	assert_non_null(strstr(err.text, "install one vmstep"));
}

static void the_file_is_looked_at_before_anything_runs(void **state)
{
	char path[] = "/tmp/test_summary.XXXXXX", nowhere[] = "/nowhere/x";
	int fd = mkstemp(path);
	struct task t = { .rank = 0 };
	struct spec spec = { .stats = path };
	struct errmsg err;
	struct stat st;

	assert_int_equal(write(fd, "old", 3), 3);
	t.rank = 1;
	assert_int_equal(summary_check(&t, &spec, &err), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 3); /* it is rank 0's */
	t.rank = 0;
	assert_int_equal(summary_check(&t, &spec, &err), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 0);
	spec.stats = nowhere;
	assert_int_equal(summary_check(&t, &spec, &err), -ENOENT);
	assert_non_null(strstr(err.text, "--vm-stats=/nowhere/x"));
	close(fd);
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	spec.stats = path;
	assert_int_equal(summary_check(&t, &spec, &err), 0); /* no reader yet */
	unlink(path);
}

int main(void)
{
#define test(fn) cmocka_unit_test_teardown(fn, tear_down)
	const struct CMUnitTest tests[] = {
		test(all_nodes_are_summed_up),
		test(what_is_missing_is_said),
		test(peers_are_their_ports),
		test(what_belongs_to_nothing_is_refused),
		test(the_file_is_looked_at_before_anything_runs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
