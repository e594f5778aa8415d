#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "link_wire.h"
#include "tally.h"
#include "test_clock.h"

#define NODES 3

/* Nodes 0, 1 and 2 in a row; home is 0. What one sends is received by the next
 * at once. */
static struct {
	struct loop *loop;
	struct test_clock clock;
	struct tally *tallies[NODES];
	int cut; /* nothing is sent by this node; -1: all send */
	size_t sent, peers;
	bool ready;
	uint64_t *words; /* what home was given */
	size_t n;
} t;

static uint32_t node_of(const void *arg)
{
	return (uint32_t)(uintptr_t)arg;
}

static int send_on(uint32_t node, const void *data, size_t len, void *arg)
{
	uint32_t self = node_of(arg);

	assert_int_equal(node, 0);
	if ((int)self == t.cut)
		return -ENOTCONN;
	t.sent++;
	return tally_received(t.tallies[self - 1], data, len, NULL);
}

static void take(struct netstats *to, size_t max, void *arg)
{
	struct netstats_node node = { .node = node_of(arg), .nnodes = NODES };
	const struct netstats_peers peers = { .rank = node_of(arg) };
	const struct netstats_peer peer = { .rank = 1 };

	netstats_add(to, NETSTATS_NODE, &node);
	netstats_add(to, NETSTATS_PEERS, &peers);
	for (size_t i = 0; i < t.peers && to->n * 8 < max; i++)
		netstats_add(to, NETSTATS_PEER, &peer);
}

static void on_ready(int memfd, void *arg)
{
	assert_int_equal(node_of(arg), 0);
	assert_false(t.ready);
	assert_int_equal(netstats_read(memfd, &t.words, &t.n), 0);
	t.ready = true;
}

static int set_up(void **state)
{
	memset(&t, 0, sizeof(t));
	t.cut = -1;
	assert_int_equal(loop_new(&t.loop, NULL), 0);
	test_clock_start(&t.clock, t.loop);
	for (uintptr_t i = 0; i < NODES; i++) {
		const struct tally_env env = { t.loop, send_on, take, on_ready,
					       (void *)i };

		assert_int_equal(tally_new(&env, &t.tallies[i], NULL), 0);
		assert_int_equal(
			tally_start(t.tallies[i], (uint32_t)i, NODES, 0), 0);
	}
	return 0;
}

static int tear_down(void **state)
{
	for (int i = 0; i < NODES; i++)
		tally_free(t.tallies[i]);
	loop_free(t.loop);
	free(t.words);
	return 0;
}

static size_t count_of(int type)
{
	struct netstats_reader r = { t.words, t.n, 0 };
	const void *rec;
	size_t n = 0;
	int got;

	while ((got = netstats_next(&r, &rec)) > 0)
		n += got == type;
	assert_int_equal(got, 0);
	return n;
}

static void who_asks_early_waits_for_all(void **state)
{
	tally_all_done(t.tallies[0]);
	tally_want(t.tallies[0]);
	tally_all_done(t.tallies[1]);
	assert_false(t.ready);
	tally_all_done(t.tallies[2]);
	assert_true(t.ready);
	assert_int_equal(count_of(NETSTATS_NODE), NODES);
}

static void who_asks_late_waits_for_nobody(void **state)
{
	for (int i = NODES - 1; i >= 0; i--)
		tally_all_done(t.tallies[i]);
	assert_false(t.ready);
	tally_want(t.tallies[0]);
	assert_true(t.ready);
	assert_int_equal(count_of(NETSTATS_NODE), NODES);
}

static void before_all_are_done_there_is_what_there_is(void **state)
{
	tally_leave(t.tallies[2]);
	tally_want(t.tallies[0]);
	assert_true(t.ready);
	assert_int_equal(count_of(NETSTATS_NODE), 2);
}

static void a_node_that_is_missing_is_not_waited_for_long(void **state)
{
	t.cut = 2;
	for (int i = 0; i < NODES; i++)
		tally_all_done(t.tallies[i]);
	tally_want(t.tallies[0]);
	test_clock_pass(&t.clock, TALLY_WAIT_MS - 1);
	assert_false(t.ready);
	test_clock_pass(&t.clock, 1);
	assert_true(t.ready);
	assert_int_equal(count_of(NETSTATS_NODE), 2);
}

static void a_long_part_comes_in_pieces(void **state)
{
	t.peers = 40000;
	for (int i = 0; i < NODES; i++)
		tally_all_done(t.tallies[i]);
	tally_want(t.tallies[0]);
	assert_true(t.ready);
	assert_int_equal(count_of(NETSTATS_NODE), NODES);
	assert_true(t.sent > 10);
	/* each took what it may, and no more than a record beyond */
	assert_true(t.n * 8 < NODES * (TALLY_PART_MAX + 1024));
	assert_true(count_of(NETSTATS_PEER) > NODES * 20000);
}

static void a_node_says_it_once(void **state)
{
	tally_all_done(t.tallies[1]);
	assert_int_equal(t.sent, 1);
	tally_leave(t.tallies[1]);
	assert_int_equal(t.sent, 1);
}

static int receive(uint32_t origin, uint32_t offset, uint32_t total, size_t len)
{
	uint8_t data[12 + 64] = { 0 };

	wire_put32(data, origin);
	wire_put32(data + 4, offset);
	wire_put32(data + 8, total);
	return tally_received(t.tallies[0], data, len, NULL);
}

static void what_is_no_report_is_refused(void **state)
{
	assert_int_equal(receive(1, 0, 8, 0), -EPROTO);
	assert_int_equal(receive(1, 0, 8, 12), -EPROTO);
	assert_int_equal(receive(1, 0, 8, 12 + 7), -EPROTO);
	assert_int_equal(receive(0, 0, 8, 12 + 64), -EPROTO); /* our own */
	assert_int_equal(receive(NODES, 0, 8, 12 + 64), -EPROTO);
	assert_int_equal(receive(1, 1, 8, 12 + 64), -EPROTO);
	assert_int_equal(receive(1, 0, 7, 12 + 64), -EPROTO);
	assert_int_equal(receive(1, UINT32_MAX, 8, 12 + 64), -EPROTO);
	assert_int_equal(receive(1, 0, 16, 12 + 64), 0);
	assert_int_equal(receive(1, 4, 16, 12 + 64),
			 0); /* not the next: lost */
	tally_want(t.tallies[0]);
	assert_int_equal(count_of(NETSTATS_NODE), 1); /* it is not whole */
}

int main(void)
{
#define test(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		test(who_asks_early_waits_for_all),
		test(who_asks_late_waits_for_nobody),
		test(before_all_are_done_there_is_what_there_is),
		test(a_node_that_is_missing_is_not_waited_for_long),
		test(a_long_part_comes_in_pieces),
		test(a_node_says_it_once),
		test(what_is_no_report_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
