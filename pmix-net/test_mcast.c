#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "answer.h"
#include "fwd.h"
#include "test_clock.h"
#include "test_group.h"

/* Node 1 of 3, neighbours 0 and 2, with ports 2, 3 and 4. */

#define SELF	  1u
#define NODES	  3
#define FIRST	  2u
#define PORTS	  3
#define SETTLE_MS 200

struct end {
	struct inlet in;
	struct outlet out;
	struct counters counts;
	unsigned int frames, questions;
	bool relayed;
	uint32_t origin;
	uint8_t told[GROUPS_TEXT_MAX];
	size_t told_len;
	unsigned int n_told;
};

static struct {
	struct loop *loop;
	struct round *round;
	struct flow *flow;
	struct mcast *mcast;
	struct fwd *fwd;
	struct table *table;
	struct rankset local;
	struct test_clock clock;
	struct end ports[PORTS], nodes[NODES];
	bool no_link;
} t;

static uint8_t frame[2048];
static const struct group a = TEST_G4(239, 1, 1, 1);
static const struct group b = TEST_G6(0x15, 0x1234);

static int end_send(struct outlet *out, const struct packet *p)
{
	struct end *e = (struct end *)((char *)out - offsetof(struct end, out));

	if (test_is_question(p->head)) {
		e->questions++;
		return 0;
	}
	e->frames++;
	e->relayed = p->relayed;
	e->origin = p->origin;
	return 0;
}

static void end_resume(struct inlet *in)
{
}

static void end_init(struct end *e)
{
	*e = (struct end){ .in = { end_resume, &e->counts, t.flow },
			   .out = { end_send, &e->counts, FLOW_PORT_MS } };
}

static struct outlet *node_outlet(uint32_t node, unsigned int worker, void *arg)
{
	return &t.nodes[node].out;
}

static void spread(uint32_t from, void (*fn)(uint32_t node, void *fn_arg),
		   void *fn_arg, void *arg)
{
	for (uint32_t n = 0; n < NODES; n += 2)
		if (n != from)
			fn(n, fn_arg);
}

static uint32_t toward(uint32_t node, void *arg)
{
	return node;
}

static void send_to_guest(uint32_t rank, const uint8_t *f, size_t len,
			  void *arg)
{
	fwd_tell_port(t.fwd, rank, f, len);
}

static int tell(uint32_t node, const uint8_t *text, size_t len, void *arg)
{
	struct end *e = &t.nodes[node];

	if (t.no_link)
		return -ENOTCONN;
	memcpy(e->told, text, len);
	e->told_len = len;
	e->n_told++;
	return 0;
}

static void neighbours(void (*fn)(uint32_t node, void *fn_arg), void *fn_arg,
		       void *arg)
{
	spread(SELF, fn, fn_arg, arg);
}

static void run(int64_t ms)
{
	test_clock_pass(&t.clock, ms);
}

static int set_up(void **state)
{
	static const char nodes[] = "a:1 0-1\nb:2 2-4\nc:3 5\n";
	const struct fwd_tree tree = { spread, toward, NULL };
	struct fwd_conf conf = { { 0x0a000000, 8 }, 9000, 6, &t.local };
	struct mcast_env env = { .service = 0x0afffffe,
				 .settle_ms = SETTLE_MS,
				 .send = send_to_guest,
				 .tell = tell,
				 .neighbours = neighbours };

	memset(&t, 0, sizeof(t));
	assert_int_equal(loop_new(&t.loop, NULL), 0);
	test_clock_start(&t.clock, t.loop);
	assert_int_equal(round_new(t.loop, &t.round, NULL), 0);
	assert_int_equal(flow_new(t.loop, t.round, &t.flow, NULL), 0);
	rankset_add(&t.local, FIRST, FIRST + PORTS - 1);
	env.loop = t.loop;
	assert_int_equal(mcast_new(&env, &t.mcast, NULL), 0);
	conf.flow = t.flow;
	conf.mcast = t.mcast;
	assert_int_equal(fwd_new(&conf, &t.fwd, NULL), 0);
	for (int i = 0; i < NODES; i++)
		end_init(&t.nodes[i]);
	assert_int_equal(
		table_parse(nodes, strlen(nodes), NODES, 6, &t.table, NULL), 0);
	fwd_set_table(t.fwd, t.table, SELF, node_outlet, NULL, &tree);
	for (uint32_t i = 0; i < PORTS; i++) {
		end_init(&t.ports[i]);
		assert_int_equal(
			fwd_add_port(t.fwd, FIRST + i, &t.ports[i].out), 0);
	}
	return 0;
}

static int tear_down(void **state)
{
	fwd_free(t.fwd);
	mcast_free(t.mcast);
	flow_free(t.flow);
	round_free(t.round);
	loop_free(t.loop);
	table_free(t.table);
	rankset_done(&t.local);
	return 0;
}

static void put(uint32_t rank, size_t len)
{
	assert_int_equal(fwd_from_port(t.fwd, rank, &t.ports[rank - FIRST].in,
				       &(struct packet){ .head = frame,
							 .head_len = len,
							 .len = len }),
			 0);
}

static void put_from_node(uint32_t node, size_t len)
{
	assert_int_equal(fwd_from_node(t.fwd, node, &t.nodes[node].in,
				       &(struct packet){ .head = frame,
							 .head_len = len,
							 .len = len }),
			 0);
}

/* Frames that the ends have had since the last time: ports, then nodes 0 and
 * 2. */
static void expect_frames(unsigned int p2, unsigned int p3, unsigned int p4,
			  unsigned int n0, unsigned int n2)
{
	assert_int_equal(t.ports[0].frames, p2);
	assert_int_equal(t.ports[1].frames, p3);
	assert_int_equal(t.ports[2].frames, p4);
	assert_int_equal(t.nodes[0].frames, n0);
	assert_int_equal(t.nodes[2].frames, n2);
	for (int i = 0; i < PORTS; i++)
		t.ports[i].frames = 0;
	for (int i = 0; i < NODES; i++)
		t.nodes[i].frames = 0;
}

static void both_tell(uint8_t flags, const struct group *g)
{
	uint8_t text[20] = { [3] = flags };

	if (g)
		memcpy(text + 4, g->ip, 16);
	for (uint32_t n = 0; n < NODES; n += 2)
		assert_int_equal(mcast_told(t.mcast, n, text, g ? 20 : 4, NULL),
				 0);
}

static void settle(void)
{
	both_tell(0, NULL);
	run(SETTLE_MS + 20);
}

static void a_group_goes_to_all_until_its_members_are_known(void **state)
{
	put(2, test_group_data(frame, 2, &a, 100));
	expect_frames(0, 1, 1, 1, 1);
	assert_int_equal(t.ports[0].questions, 2); /* by IGMP and MLD */
	settle();
	assert_int_equal(t.ports[0].questions, 4);
	put(2, test_group_data(frame, 2, &a, 100));
	expect_frames(0, 0, 0, 0, 0);
	assert_int_equal(t.ports[0].counts.n[COUNT_NO_MEMBERS], 1);
	put(2, test_group_data(frame, 2, &TEST_G6(2, 1), 100));
	expect_frames(0, 1, 1, 1, 1);
	/* a driver that starts anew is asked, and gets all meanwhile */
	fwd_port_started(t.fwd, 4);
	put(2, test_group_data(frame, 2, &a, 100));
	expect_frames(0, 0, 1, 0, 0);
	assert_int_equal(t.ports[2].questions, 6);
}

static void then_it_goes_to_who_asked(void **state)
{
	settle();
	put(3, test_report(frame, 3, &a, false));
	put(4, test_report(frame, 4, &a, false));
	put(4, test_report(frame, 4, &b, false));
	expect_frames(0, 0, 0, 0, 0); /* reports are for routers */
	assert_int_equal(t.ports[1].counts.n[COUNT_SWALLOWED], 1);
	put(2, test_group_data(frame, 2, &a, 100));
	expect_frames(0, 1, 1, 0, 0);
	put(3, test_group_data(frame, 3, &a, 100)); /* not back */
	expect_frames(0, 0, 1, 0, 0);
	put(2, test_group_data(frame, 2, &b, 100));
	expect_frames(0, 0, 1, 0, 0);
	put_from_node(0, test_group_data(frame, 0, &a, 100));
	expect_frames(0, 1, 1, 0, 0);
	fwd_remove_port(t.fwd, 4);
	put(2, test_group_data(frame, 2, &a, 100));
	expect_frames(0, 1, 0, 0, 0);
}

static void who_leaves_is_asked_and_gets_no_more(void **state)
{
	settle();
	put(3, test_report(frame, 3, &a, false));
	t.ports[1].questions = 0;
	put(3, test_report(frame, 3, &a, true));
	assert_int_equal(t.ports[1].questions, 1);
	put(2, test_group_data(frame, 2, &a, 100));
	expect_frames(0, 1, 0, 0, 0);
	run(GROUPS_LEAVE_MS + 20);
	put(2, test_group_data(frame, 2, &a, 100));
	expect_frames(0, 0, 0, 0, 0);
}

/* -- nodes ----------------------------------------------------------------- */

static void it_goes_along_the_tree_to_nodes_that_asked(void **state)
{
	settle();
	both_tell(0, &a);
	put(2, test_group_data(frame, 2, &a, 100));
	expect_frames(0, 0, 0, 1, 1);
	assert_false(t.nodes[0].relayed);
	put(2, test_group_data(frame, 2, &b, 100));
	expect_frames(0, 0, 0, 0, 0);
	put_from_node(0, test_group_data(frame, 0, &a, 100));
	expect_frames(0, 0, 0, 0, 1);
	assert_true(t.nodes[2].relayed);
	assert_int_equal(t.nodes[2].origin, 0);
	put_from_node(2, test_group_data(frame, 5, &a, 100));
	expect_frames(0, 0, 0, 1, 0);
	mcast_forget_node(t.mcast, 0); /* who knows what it wants */
	put(2, test_group_data(frame, 2, &b, 100));
	expect_frames(0, 0, 0, 1, 0);
}

static void expect_told(int node, unsigned int n, uint8_t flags,
			const struct group *g)
{
	struct end *e = &t.nodes[node];

	assert_int_equal(e->n_told, n);
	assert_int_equal(e->told_len, g ? 20 : 4);
	assert_int_equal(e->told[3], flags);
	if (g)
		assert_memory_equal(e->told + 4, g->ip, 16);
}

static void neighbours_are_told_what_changes(void **state)
{
	run(20);
	expect_told(0, 1, 1, NULL); /* all, as ports are new */
	settle();
	expect_told(0, 2, 0, NULL);
	put(3, test_report(frame, 3, &a, false));
	run(MCAST_TELL_MS);
	expect_told(0, 3, 0, &a);
	expect_told(2, 3, 0, &a);
	put(4, test_report(frame, 4, &a, false));
	run(2 * MCAST_TELL_MS);
	expect_told(0, 3, 0, &a); /* nothing new to them */
	/* what a neighbour wants is told the other one */
	assert_int_equal(
		mcast_told(t.mcast, 0, (uint8_t[4]){ 0, 0, 0, 1 }, 4, NULL), 0);
	run(2 * MCAST_TELL_MS);
	expect_told(0, 3, 0, &a);
	expect_told(2, 4, 1, NULL);
	mcast_link_up(t.mcast, 0); /* it may have been started anew */
	run(2 * MCAST_TELL_MS);
	expect_told(0, 4, 0, &a);
	expect_told(2, 4, 1, NULL);
}

static void what_was_not_told_is_told_later(void **state)
{
	settle();
	t.no_link = true;
	put(3, test_report(frame, 3, &a, false));
	run(2 * MCAST_TELL_MS);
	expect_told(0, 2, 0, NULL);
	t.no_link = false;
	mcast_link_up(t.mcast, 2);
	run(2 * MCAST_TELL_MS);
	expect_told(0, 3, 0, &a);
	expect_told(2, 3, 0, &a);
}

static void one_that_joins_all_the_time_is_told_now_and_then(void **state)
{
	unsigned int n;

	settle();
	n = t.nodes[0].n_told;
	for (unsigned int i = 0; i < 50; i++) {
		const struct group one = TEST_G4(239, 7, 7, (uint8_t)i);

		put(3, test_report(frame, 3, &one, false));
		run(4);
	}
	run(MCAST_TELL_MS);
	assert_in_range(t.nodes[0].n_told - n, 1, 50 * 40 / MCAST_TELL_MS);
	assert_int_equal(t.nodes[0].told_len, 4 + 50 * 16);
}

static void nonsense_of_a_neighbour_is_refused(void **state)
{
	struct errmsg err;

	assert_int_equal(mcast_told(t.mcast, 0, frame, 5, &err), -EPROTO);
	assert_non_null(strstr(err.text, "5 bytes of multicast groups"));
}

/* -- routers --------------------------------------------------------------- */

static size_t routers_query(uint32_t rank)
{
	size_t len =
		snoop_put_query(frame, false, 0x0a000001 + rank, NULL, 10000);

	addr_mac(rank, frame + 6);
	return len;
}

static void routers_hear_all_and_reports(void **state)
{
	settle();
	put(4, routers_query(4));
	expect_frames(1, 1, 0, 1, 1); /* 224.0.0.1 is all */
	put(2, test_group_data(frame, 2, &a, 100));
	expect_frames(0, 0, 1, 0, 0);
	put(3, test_report(frame, 3, &a, false));
	expect_frames(0, 0, 1, 0, 0);
	both_tell(3, NULL); /* there are more */
	put(3, test_report(frame, 3, &b, false));
	expect_frames(0, 0, 1, 1, 1);
	put_from_node(0, test_report(frame, 0, &b, false));
	expect_frames(0, 0, 1, 0, 1);
	assert_true(t.nodes[2].relayed);
}

/* A report longer than the frames that are looked at whole. */
static void a_report_that_is_cut_is_of_all(void **state)
{
	static uint8_t rest[1400];
	const struct iovec io = { rest, sizeof(rest) };
	struct packet p = { .head = frame, .rest = &io, .n_rest = 1 };

	settle();
	p.head_len = test_report(frame, 3, &a, false) + 100;
	p.len = p.head_len + io.iov_len;
	assert_true(p.len > ANSWER_REPLY_MAX);
	assert_int_equal(fwd_from_port(t.fwd, 3, &t.ports[1].in, &p), 0);
	put(2, test_group_data(frame, 2, &b, 100));
	expect_frames(0, 1, 0, 0, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_group_goes_to_all_until_its_members_are_known),
		TEST(then_it_goes_to_who_asked),
		TEST(who_leaves_is_asked_and_gets_no_more),
		TEST(it_goes_along_the_tree_to_nodes_that_asked),
		TEST(neighbours_are_told_what_changes),
		TEST(what_was_not_told_is_told_later),
		TEST(one_that_joins_all_the_time_is_told_now_and_then),
		TEST(nonsense_of_a_neighbour_is_refused),
		TEST(routers_hear_all_and_reports),
		TEST(a_report_that_is_cut_is_of_all),
	};

	return cmocka_run_group_tests_name("mcast", tests, NULL, NULL);
}
