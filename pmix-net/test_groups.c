#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "groups.h"
#include "test_group.h"

#define SETTLE_MS 5000
#define SETTLED	  (SETTLE_MS + 1)

static struct groups *g;
static uint32_t asked[8];
static unsigned int n_asked;

static void ask(uint32_t rank, void *arg)
{
	asked[n_asked++ % 8] = rank;
}

static bool tick(int64_t now_ms)
{
	n_asked = 0;
	return groups_tick(g, now_ms, ask, NULL);
}

/* Ports 1, 2 and 3, settled at SETTLED. */
static int set_up(void **state)
{
	g = groups_new();
	for (uint32_t r = 3; r > 0; r--)
		assert_int_equal(groups_port(g, r, 0, SETTLE_MS), 1);
	tick(SETTLE_MS / 2);
	assert_true(tick(SETTLED));
	return 0;
}

static int tear_down(void **state)
{
	groups_free(g);
	return 0;
}

static void add_rank(uint32_t rank, void *arg)
{
	*(uint32_t *)arg |= 1u << rank;
}

/* Bits of the ports that want it. */
static uint32_t members(const struct group *group)
{
	uint32_t set = 0;

	groups_each_port(g, group, add_rank, &set);
	return set;
}

static const struct group a = TEST_G4(239, 1, 1, 1);
static const struct group b = TEST_G6(0x15, 0x1234);

static void who_asked_gets_it(void **state)
{
	assert_int_equal(members(&a), 0);
	assert_true(groups_join(g, 2, &a, SETTLED));
	assert_true(groups_join(g, 3, &a, SETTLED));
	assert_true(groups_join(g, 1, &b, SETTLED));
	assert_false(groups_join(g, 2, &a, SETTLED)); /* nothing new */
	assert_int_equal(members(&a), 1 << 2 | 1 << 3);
	assert_int_equal(members(&b), 1 << 1);
	assert_int_equal(members(NULL), 0);
	assert_true(groups_forget_port(g, 2));
	assert_int_equal(members(&a), 1 << 3);
	assert_false(groups_join(g, 2, &a, SETTLED)); /* it is not there */
	assert_int_equal(members(&a), 1 << 3);
}

static void a_port_gets_all_until_it_was_asked(void **state)
{
	groups_port(g, 2, SETTLED, SETTLE_MS);
	assert_int_equal(members(&a), 1 << 2);
	assert_int_equal(members(NULL), 0); /* but no reports */
	groups_join(g, 2, &b, SETTLED);
	assert_int_equal(groups_due(g), SETTLED + SETTLE_MS / 2);
	tick(SETTLED + SETTLE_MS / 2);
	assert_int_equal(n_asked, 1);
	assert_int_equal(asked[0], 2);
	assert_int_equal(groups_due(g), SETTLED + SETTLE_MS);
	assert_true(tick(SETTLED + SETTLE_MS));
	assert_int_equal(members(&a), 0);
	assert_int_equal(members(&b), 1 << 2);
}

static void memberships_age(void **state)
{
	groups_join(g, 1, &a, SETTLED);
	groups_join(g, 2, &a, SETTLED);
	assert_false(tick(SETTLED + GROUPS_INTERVAL_MS));
	assert_int_equal(n_asked, 2);
	groups_join(g, 1, &a, SETTLED + GROUPS_INTERVAL_MS); /* it answers */
	assert_false(tick(SETTLED + GROUPS_MEMBER_MS - 1));
	assert_int_equal(members(&a), 1 << 1 | 1 << 2);
	assert_true(tick(SETTLED + GROUPS_MEMBER_MS));
	assert_int_equal(members(&a), 1 << 1);
	assert_true(tick(SETTLED + GROUPS_INTERVAL_MS + GROUPS_MEMBER_MS));
	assert_int_equal(members(&a), 0);
	/* nothing is left to be asked for */
	tick(SETTLED + 10 * GROUPS_INTERVAL_MS);
	assert_int_equal(groups_due(g), INT64_MAX);
}

static void who_leaves_may_have_others_behind_it(void **state)
{
	bool is_asked = false;

	groups_join(g, 1, &a, SETTLED);
	groups_leave(g, 1, &a, SETTLED, &is_asked);
	assert_true(is_asked);
	groups_leave(g, 1, &a, SETTLED, &is_asked);
	assert_false(is_asked); /* once is enough */
	groups_leave(g, 1, &b, SETTLED, &is_asked);
	assert_false(is_asked); /* it is no member */
	assert_int_equal(members(&a), 1 << 1);
	groups_join(g, 1, &a, SETTLED + 1); /* there are */
	tick(SETTLED + GROUPS_LEAVE_MS);
	assert_int_equal(members(&a), 1 << 1);
	groups_leave(g, 1, &a, SETTLED, &is_asked);
	assert_true(tick(SETTLED + GROUPS_LEAVE_MS));
	assert_int_equal(members(&a), 0);
}

static struct group number(unsigned int i)
{
	return TEST_G4(239, 2, (uint8_t)(i >> 8), (uint8_t)i);
}

static void who_has_too_many_gets_all(void **state)
{
	struct group last = number(GROUPS_PORT_MAX);

	for (unsigned int i = 0; i < GROUPS_PORT_MAX; i++) {
		struct group one = number(i);

		assert_true(groups_join(g, 1, &one, SETTLED));
	}
	assert_int_equal(members(&last), 0);
	assert_true(groups_join(g, 1, &last, SETTLED));
	assert_int_equal(members(&last), 1 << 1);
	assert_int_equal(members(&b), 1 << 1);
	assert_true(tick(SETTLED + GROUPS_MEMBER_MS));
	assert_int_equal(members(&b), 0);
}

static void routers_get_all_and_reports(void **state)
{
	assert_true(groups_all(g, 1, true, SETTLED));
	assert_false(groups_all(g, 1, true, SETTLED));
	assert_int_equal(members(&a), 1 << 1);
	assert_int_equal(members(NULL), 1 << 1);
	assert_true(tick(SETTLED + GROUPS_MEMBER_MS));
	assert_int_equal(members(&a), 0);
	assert_int_equal(members(NULL), 0);
}

/* -- neighbours ------------------------------------------------------------ */

static uint8_t text[GROUPS_TEXT_MAX];

/* Another node's, told of what is wanted here by who is not @but. */
static void tell_other(struct groups *other, uint32_t self, uint32_t but)
{
	assert_int_equal(
		groups_told(other, self, text, groups_tell(g, but, text)), 0);
}

static void neighbours_know_what_lies_behind(void **state)
{
	struct groups *other = groups_new();

	assert_true(groups_node_wants(other, 7, &a)); /* it may */
	assert_false(groups_node_wants(other, 7, NULL));
	tell_other(other, 7, 9);
	assert_false(groups_node_wants(other, 7, &a));
	groups_join(g, 1, &a, SETTLED);
	groups_join(g, 3, &a, SETTLED); /* told once */
	groups_join(g, 2, &b, SETTLED);
	assert_int_equal(groups_tell(g, 9, text), 4 + 2 * 16);
	tell_other(other, 7, 9);
	assert_true(groups_node_wants(other, 7, &a));
	assert_true(groups_node_wants(other, 7, &b));
	/* and on, but not back */
	assert_int_equal(groups_tell(other, 8, text), 4 + 2 * 16);
	assert_int_equal(groups_tell(other, 7, text), 4);
	assert_true(groups_forget_node(other, 7));
	assert_false(groups_forget_node(other, 7));
	assert_true(groups_node_wants(other, 7, &a));
	groups_free(other);
}

static void neighbours_of_routers_get_all(void **state)
{
	struct groups *other = groups_new();

	groups_all(g, 1, true, SETTLED);
	tell_other(other, 7, 9);
	assert_true(groups_node_wants(other, 7, &a));
	assert_true(groups_node_wants(other, 7, NULL));
	assert_int_equal(groups_tell(other, 8, text), 4);
	assert_int_equal(header_get32(text), 3);
	groups_free(other);
}

static void too_many_of_a_port_are_all_to_neighbours(void **state)
{
	struct groups *other = groups_new();
	struct group none = number(9999);

	for (unsigned int i = 0; i <= GROUPS_NODE_MAX; i++) {
		struct group one = number(i);

		groups_join(g, 1 + i % 3, &one, SETTLED);
	}
	assert_int_equal(groups_tell(g, 9, text), 4);
	tell_other(other, 7, 9);
	assert_true(groups_node_wants(other, 7, &none));
	groups_free(other);
}

/* From two neighbours, together more than a message holds. */
static void so_are_those_of_all_neighbours(void **state)
{
	for (uint32_t node = 1; node <= 2; node++) {
		size_t len = 4;

		memset(text, 0, 4);
		for (unsigned int i = 0; i < GROUPS_NODE_MAX; i++, len += 16) {
			struct group one = number(node * 1000 + i);

			memcpy(text + len, one.ip, 16);
		}
		assert_int_equal(groups_told(g, node, text, len), 0);
	}
	assert_int_equal(groups_tell(g, 1, text), GROUPS_TEXT_MAX);
	assert_int_equal(groups_tell(g, 3, text), 4);
	assert_int_equal(header_get32(text), 1);
}

static void what_is_no_message_is_refused(void **state)
{
	groups_join(g, 1, &a, SETTLED);
	groups_join(g, 1, &b, SETTLED);
	assert_int_equal(groups_tell(g, 9, text), 36);
	assert_int_equal(groups_told(g, 5, text, 36), 0);
	assert_int_equal(groups_told(g, 5, text, 35), -EPROTO);
	assert_int_equal(groups_told(g, 5, text, 3), -EPROTO);
	assert_true(groups_node_wants(g, 5, &a)); /* it is unknown again */
	assert_int_equal(groups_told(g, 5, text, GROUPS_TEXT_MAX + 16),
			 -EPROTO);
	memcpy(text + 20, text + 4, 16); /* twice the same */
	assert_int_equal(groups_told(g, 5, text, 36), -EPROTO);
	text[0] = 1; /* no such flag */
	assert_int_equal(groups_told(g, 5, text, 4), -EPROTO);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(who_asked_gets_it),
		TEST(a_port_gets_all_until_it_was_asked),
		TEST(memberships_age),
		TEST(who_leaves_may_have_others_behind_it),
		TEST(who_has_too_many_gets_all),
		TEST(routers_get_all_and_reports),
		TEST(neighbours_know_what_lies_behind),
		TEST(neighbours_of_routers_get_all),
		TEST(too_many_of_a_port_are_all_to_neighbours),
		TEST(so_are_those_of_all_neighbours),
		TEST(what_is_no_message_is_refused),
	};

	return cmocka_run_group_tests_name("groups", tests, NULL, NULL);
}
