#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "netctl.h"
#include "netjson.h"
#include "netstats.h"

static struct netstats s;

static void add_node(void)
{
	struct netstats_node node = { .node = 1, .nnodes = 2, .nranks = 4 };

	node.counts[COUNT_STRANGER] = 3;
	netstats_name_set(&node.name, "n2");
	netstats_add(&s, NETSTATS_NODE, &node);
}

static void add_port(uint64_t rank)
{
	struct netstats_port port = { .rank = rank, .kind = NETCTL_VHOST_USER };

	port.counts[COUNT_IN_FRAMES] = 10 + rank;
	port.counts[COUNT_FULL] = rank;
	port.in.frames[3] = 5;
	netstats_add(&s, NETSTATS_PORT, &port);
}

static int set_up(void **state)
{
	add_node();
	return 0;
}

static int tear_down(void **state)
{
	netstats_done(&s);
	return 0;
}

/* Its JSON, compact, with keys in order; to be freed. */
static char *text_of(json_t *o)
{
	char *text = json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS);

	json_decref(o);
	assert_non_null(text);
	return text;
}

static void assert_has(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("no %s in %s", part, text);
}

static void a_node_has_ports_by_rank_and_links(void **state)
{
	const struct netstats_ring ring = { .index = 1,
					    .size = 256,
					    .kicks = 9 };
	struct netstats_link link = { .node = 0, .state = NETSTATS_LINK_UP };
	char *text;

	add_port(3);
	add_port(2);
	netstats_add(&s, NETSTATS_RING, &ring); /* of 2 */
	netstats_name_set(&link.name, "n1");
	netstats_add(&s, NETSTATS_LINK, &link);
	text = text_of(netjson_stats(s.words, s.n, NULL));
	assert_has(text, "\"counts\":{\"stranger\":3}");
	assert_has(text, "\"node\":\"n2\",\"node_id\":1,\"nodes\":2");
	assert_has(text, "\"drops\":{\"full\":2}");
	assert_has(text, "\"in\":{\"bytes\":[],\"frames\":[0,0,0,5]}");
	assert_has(text, "\"kicks\":9");
	assert_has(text, "\"direction\":\"transmit\"");
	assert_has(text, "\"state\":\"up\"");
	assert_true(strstr(text, "\"rank\":2") < strstr(text, "\"rank\":3"));
	assert_true(strstr(text, "\"kicks\"") < strstr(text, "\"rank\":3"));
	free(text);
}

static void peers_are_rank_frames_bytes(void **state)
{
	const struct netstats_peers peers = { .rank = 2, .to_all = { 1, 60 } };
	const struct netstats_peer peer = { .rank = 9, .sum = { 7, 700 } };
	char *text;

	netstats_add(&s, NETSTATS_PEERS, &peers);
	netstats_add(&s, NETSTATS_PEER, &peer);
	text = text_of(netjson_peers(s.words, s.n, NULL));
	assert_has(text, "\"to\":[[9,7,700]]");
	assert_has(text, "\"to_all\":{\"bytes\":60,\"frames\":1}");
	free(text);
}

static void what_is_no_statistics_is_refused(void **state)
{
	struct errmsg err = { "" };

	assert_null(netjson_stats(NULL, 0, &err));
	assert_non_null(strstr(err.text, "install one vmstep"));
	add_port(1);
	for (size_t n = 1; n < s.n; n++)
		if (n != 1 + sizeof(struct netstats_node) / 8)
			assert_null(netjson_stats(s.words, n, &err));
	assert_null(netjson_peers(s.words, s.n, &err));
	add_node(); /* twice */
	assert_null(netjson_stats(s.words, s.n, &err));
}

static void a_ring_needs_its_port(void **state)
{
	const struct netstats_ring ring = { .size = 256 };

	netstats_add(&s, NETSTATS_RING, &ring);
	assert_null(netjson_stats(s.words, s.n, NULL));
}

static void a_name_that_is_no_text_is_none(void **state)
{
	struct netstats_link link = { .node = 5, .state = 99 };
	char *text;

	memset(&link.name, 0xff, sizeof(link.name));
	netstats_add(&s, NETSTATS_LINK, &link);
	text = text_of(netjson_stats(s.words, s.n, NULL));
	assert_has(text, "\"node\":\"\",\"node_id\":5");
	assert_has(text, "\"state\":\"unknown\"");
	free(text);
}

int main(void)
{
#define test(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		test(a_node_has_ports_by_rank_and_links),
		test(peers_are_rank_frames_bytes),
		test(what_is_no_statistics_is_refused),
		test(a_ring_needs_its_port),
		test(a_name_that_is_no_text_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
