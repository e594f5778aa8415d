/* test_relay.c - messages between tasks, where helpers and nodes are not what
 * they should be. What they are for is what the system tests have. */
#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "opmsg.h"
#include "relay.h"

/* Ours is node 0 of three. */
#define TABLE               \
	"192.0.2.1:1 0-1\n" \
	"192.0.2.2:1 2-3\n" \
	"192.0.2.3:1 4\n"
#define RANKS	5
#define LINK_MS 3000

static struct {
	struct loop *loop;
	struct loop_timer *pause;
	struct relay *relay;
	struct table *table;
	struct rankset local;
	int helper[2]; /* its end */
	struct opmsg_in in;
	int want; /* what want() returns */
	uint32_t refused;
	char why[128];
	struct opmsg_ended ends[16]; /* that helper 0 was told */
	size_t n_ends, n_messages;
} t;
static uint8_t batch[OPMSG_BATCH];
static struct errmsg err;

static int on_want(uint32_t node, void *arg)
{
	return t.want;
}

static void on_refused(uint32_t rank, const char *why, void *arg)
{
	t.refused = rank;
	snprintf(t.why, sizeof(t.why), "%s", why);
}

static void on_pause(void *arg)
{
	loop_stop(t.loop, 0);
}

/* What comes, and then what is due because of it. */
static void turn(void)
{
	for (int i = 0; i < 2; i++) {
		loop_timer_set(t.pause, 0);
		assert_int_equal(loop_run(t.loop), 0);
	}
}

static void come(uint32_t rank)
{
	int ends[2];

	assert_int_equal(
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	assert_int_equal(relay_come(t.relay, rank, ends[0]), 0);
	t.helper[rank] = ends[1];
}

static int set_up(void **state)
{
	struct relay_env env = { .local = &t.local,
				 .nranks = RANKS,
				 .link_ms = LINK_MS,
				 .want = on_want,
				 .refused = on_refused };

	memset(&t, 0, sizeof(t));
	t.refused = UINT32_MAX;
	t.helper[0] = t.helper[1] = -1;
	assert_int_equal(rankset_add(&t.local, 0, 1), 0);
	assert_int_equal(
		table_parse(TABLE, strlen(TABLE), 3, RANKS, &t.table, &err), 0);
	assert_int_equal(loop_new(&t.loop, &err), 0);
	assert_int_equal(loop_timer_add(t.loop, -1, on_pause, NULL, &t.pause),
			 0);
	env.loop = t.loop;
	assert_int_equal(relay_new(&env, &t.relay, &err), 0);
	assert_int_equal(relay_start(t.relay, t.table, 0), 0);
	come(0);
	come(1);
	return 0;
}

static int tear_down(void **state)
{
	loop_clock_go();
	for (int i = 0; i < 2; i++)
		if (t.helper[i] >= 0)
			close(t.helper[i]);
	opmsg_in_reset(&t.in);
	relay_free(t.relay);
	loop_timer_free(t.pause);
	loop_free(t.loop);
	table_free(t.table);
	rankset_done(&t.local);
	return 0;
}

/* -- what is sent ---------------------------------------------------------- */

/* Of 4 bytes; to: as in "0,2-3". */
static size_t put(uint32_t src, uint64_t id, const char *to)
{
	struct opmsg *m = opmsg_new(src, id, 4);
	size_t n;

	assert_non_null(m);
	memcpy(m->data, "data", 4);
	n = opmsg_put_piece(batch, m, 0, 4, to, strlen(to));
	opmsg_unref(m);
	return n;
}

static size_t put_ended(uint32_t src, uint64_t id, uint32_t rank)
{
	const struct opmsg_ended e = { src, id, rank, OPMSG_TAKEN };

	return opmsg_put_ended(batch, &e);
}

static void give(uint32_t rank, size_t len)
{
	assert_int_equal(send(t.helper[rank], batch, len, 0), len);
	turn();
}

static void say(uint32_t rank, uint64_t id, const char *to)
{
	give(rank, put(rank, id, to));
}

/* -- what comes ------------------------------------------------------------ */

static int on_message(struct opmsg *m, const struct rankset *to,
		      struct errmsg *e, void *arg)
{
	t.n_messages++;
	return 0;
}

static int on_ended(const struct opmsg_ended *e, struct errmsg *error,
		    void *arg)
{
	assert_true(t.n_ends < sizeof(t.ends) / sizeof(t.ends[0]));
	t.ends[t.n_ends++] = *e;
	return 0;
}

static const struct opmsg_in_ops ops = { on_message, on_ended };

/* All that is there for @rank's helper. */
static void take(uint32_t rank)
{
	ssize_t n;

	turn();
	while ((n = recv(t.helper[rank], batch, sizeof(batch), MSG_DONTWAIT)) >
	       0)
		assert_int_equal(
			opmsg_take(&t.in, batch, (size_t)n, &ops, NULL, &err),
			0);
}

/* Helper 0 was told of the message @id. */
static void expect_end(uint64_t id, uint32_t rank, enum opmsg_end how)
{
	take(0);
	for (size_t i = 0; i < t.n_ends; i++)
		if (t.ends[i].id == id && t.ends[i].rank == rank) {
			assert_int_equal(t.ends[i].how, how);
			t.ends[i] = t.ends[--t.n_ends];
			return;
		}
	fail_msg("no end of message %d for rank %u", (int)id, rank);
}

/* -- helpers --------------------------------------------------------------- */

static void a_message_ends_once(void **state)
{
	say(0, 1, "1");
	take(1);
	assert_int_equal(t.n_messages, 1);
	give(1, put_ended(0, 1, 1));
	expect_end(1, 1, OPMSG_TAKEN);
	give(1, put_ended(0, 1, 1)); /* nobody awaits that any more */
	take(0);
	assert_int_equal(t.n_ends, 0);
	assert_int_equal(t.refused, UINT32_MAX);
}

/* @len bytes in the batch end helper 0's socket, and nobody else's. */
static void is_refused(size_t len, const char *why)
{
	char byte;

	give(0, len);
	assert_int_equal(t.refused, 0);
	if (!strstr(t.why, why))
		fail_msg("'%s', not '%s'", t.why, why);
	assert_int_equal(recv(t.helper[0], &byte, 1, MSG_DONTWAIT), 0);
	close(t.helper[0]);
	t.refused = UINT32_MAX;
	come(0);
	say(1, 1, "0");
	take(0);
	assert_int_equal(t.n_messages, 1);
	t.n_messages = 0;
}

static void helpers_speak_for_their_own_task_only(void **state)
{
	is_refused(put(1, 1, "1"), "a message from or to who there is none");
	is_refused(put(4, 1, "1"), "a message from or to who there is none");
	is_refused(put(0, 1, "5"), "a message from or to who there is none");
	is_refused(put(0, 1, "1-9"), "a message from or to who there is none");
	is_refused(put_ended(1, 1, 1), "another's message has ended");
	is_refused(put_ended(1, 1, 3), "another's message has ended");
	memset(batch, 0xff, 64);
	is_refused(64, "");
}

static void a_helper_that_is_gone_is_told_of(void **state)
{
	relay_leave(t.relay, 1);
	say(0, 1, "1");
	expect_end(1, 1, OPMSG_NO_HELPER);
}

static void who_does_not_come_is_not_waited_for_for_ever(void **state)
{
	struct relay *other;
	struct relay_env env = { .loop = t.loop,
				 .local = &t.local,
				 .nranks = 2,
				 .want = on_want,
				 .refused = on_refused };

	assert_int_equal(relay_new(&env, &other, &err), 0);
	relay_free(t.relay);
	t.relay = other;
	close(t.helper[0]);
	close(t.helper[1]);
	t.helper[1] = -1;
	assert_int_equal(relay_start(other, NULL, 0), 0);
	come(0);
	say(0, 1, "1");
	take(0);
	assert_int_equal(t.n_ends, 0);
	relay_waited(other);
	expect_end(1, 1, OPMSG_NO_HELPER);
}

/* Helper 1 does not read: what was on its way to it may have come or not. */
static void a_helper_that_breaks_off_loses_what_it_was_given(void **state)
{
	say(0, 1, "1");
	turn();
	close(t.helper[1]);
	t.helper[1] = -1;
	expect_end(1, 1, OPMSG_LOST);
	come(1); /* a vmstep-helper whose vmstep-net was another */
	say(0, 2, "1");
	take(1);
	assert_int_equal(t.n_messages, 1);
}

/* Helper 1 reads, but says of nothing how it ended: all of it counts. One
 * sender may have half, see opq.h. */
static void a_full_queue_refuses(void **state)
{
	const size_t room = RELAY_HELPER_MSGS / 2;

	for (uint64_t id = 1; id <= room + 10; id++) {
		say(0, id, "1");
		if (id % 64 == 0)
			take(1);
	}
	for (uint64_t id = room + 1; id <= room + 10; id++)
		expect_end(id, 1, OPMSG_FULL);
	take(1);
	assert_int_equal(t.n_messages, room);
	give(1, put_ended(0, 1, 1));
	expect_end(1, 1, OPMSG_TAKEN);
	say(0, 2 * room, "1");
	take(1);
	assert_int_equal(t.n_messages, room + 1);
}

/* -- other nodes ----------------------------------------------------------- */

static int from_node(uint32_t node, size_t len)
{
	int r = relay_came(t.relay, node, batch, len, &err);

	turn();
	return r;
}

static void node_is_refused(size_t len, const char *why)
{
	assert_int_equal(from_node(1, len), -EPROTO);
	if (!strstr(err.text, why))
		fail_msg("'%s', not '%s'", err.text, why);
	relay_broken(t.relay, 1); /* as the mesh does then */
	take(0);
	assert_int_equal(t.n_messages, 0);
}

static void nodes_speak_for_their_own_tasks_only(void **state)
{
	node_is_refused(put(0, 1, "0"), "a message of another's task");
	node_is_refused(put(4, 1, "0"), "a message of another's task");
	node_is_refused(put(9, 1, "0"), "a message of another's task");
	node_is_refused(put(2, 1, "3"), "a message for another's task");
	node_is_refused(put(2, 1, "0-4"), "a message for another's task");
	node_is_refused(put(2, 1, "77"), "a message for another's task");
	node_is_refused(put_ended(0, 1, 1), "the end of another's message");
	node_is_refused(put_ended(0, 1, 4), "the end of another's message");
	node_is_refused(put_ended(0, 1, 99), "the end of another's message");
	memset(batch, 0xff, 64);
	node_is_refused(64, "");
	assert_int_equal(from_node(1, put(2, 1, "0-1")), 0);
	take(0);
	assert_int_equal(t.n_messages, 1);
}

static void a_node_that_takes_no_answers_is_refused(void **state)
{
	int r = 0;

	relay_up(t.relay, 1);
	relay_leave(t.relay, 0);
	for (uint64_t id = 1; r == 0 && id < 1000000; id++)
		r = relay_came(t.relay, 1, batch, put(2, id, "0"), &err);
	assert_int_equal(r, -EPROTO);
	assert_non_null(strstr(err.text, "reads no answers"));
}

static void what_a_link_had_not_taken_goes_with_the_next(void **state)
{
	relay_up(t.relay, 1);
	say(0, 1, "2");
	relay_closed(t.relay, 1);
	relay_up(t.relay, 1);
	assert_true(relay_has(t.relay, 1));
	assert_true(relay_fill(t.relay, 1, batch, sizeof(batch)) > 0);
	assert_int_equal(from_node(1, put_ended(0, 1, 2)), 0);
	expect_end(1, 2, OPMSG_TAKEN);
}

static void what_a_link_took_is_lost_with_it(void **state)
{
	relay_up(t.relay, 1);
	say(0, 1, "2");
	assert_true(relay_fill(t.relay, 1, batch, sizeof(batch)) > 0);
	say(0, 2, "3");
	relay_broken(t.relay, 1);
	expect_end(1, 2, OPMSG_LOST);
	assert_int_equal(t.n_ends, 0); /* the second waits for a link */
	relay_gone(t.relay, 1, false);
	expect_end(2, 3, OPMSG_UNREACHABLE);
}

static void a_node_that_left_has_no_helpers(void **state)
{
	relay_up(t.relay, 1);
	say(0, 1, "2");
	relay_gone(t.relay, 1, true);
	expect_end(1, 2, OPMSG_NO_HELPER);
	relay_gone(t.relay, 2, true); /* nothing was ever sent there */
}

static void a_node_without_a_link_is_unreachable_in_time(void **state)
{
	loop_clock_stop();
	say(0, 1, "2");
	loop_skip(LINK_MS / 2);
	turn();
	say(0, 2, "4"); /* has its own time */
	loop_skip(LINK_MS / 2 + 1);
	expect_end(1, 2, OPMSG_UNREACHABLE);
	assert_int_equal(t.n_ends, 0);
	for (int i = 0; i < 4; i++) {
		loop_skip(LINK_MS / 4);
		turn();
	}
	expect_end(2, 4, OPMSG_UNREACHABLE);
}

static void a_node_that_cannot_be_sent_to_is_unreachable(void **state)
{
	t.want = -EHOSTUNREACH;
	say(0, 1, "1-2");
	expect_end(1, 2, OPMSG_UNREACHABLE);
	take(1);
	assert_int_equal(t.n_messages, 1); /* but the other gets it */
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_message_ends_once),
		TEST(helpers_speak_for_their_own_task_only),
		TEST(a_helper_that_is_gone_is_told_of),
		TEST(who_does_not_come_is_not_waited_for_for_ever),
		TEST(a_helper_that_breaks_off_loses_what_it_was_given),
		TEST(a_full_queue_refuses),
		TEST(nodes_speak_for_their_own_tasks_only),
		TEST(a_node_that_takes_no_answers_is_refused),
		TEST(what_a_link_had_not_taken_goes_with_the_next),
		TEST(what_a_link_took_is_lost_with_it),
		TEST(a_node_that_left_has_no_helpers),
		TEST(a_node_without_a_link_is_unreachable_in_time),
		TEST(a_node_that_cannot_be_sent_to_is_unreachable),
	};

	return cmocka_run_group_tests_name("relay", tests, NULL, NULL);
}
