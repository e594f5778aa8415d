#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "snoop.h"
#include "test_group.h"

static uint8_t frame[2048];

static struct {
	enum snoop_word word;
	struct group group;
} heard[256];
static unsigned int n_heard;

static void hear(enum snoop_word word, const struct group *g, void *arg)
{
	heard[n_heard].word = word;
	heard[n_heard++].group = *g;
}

static void overhear(size_t len)
{
	n_heard = 0;
	snoop_report(frame, len, hear, NULL);
}

static void expect_heard(unsigned int i, enum snoop_word word, struct group g)
{
	assert_true(i < n_heard);
	assert_int_equal(heard[i].word, word);
	assert_memory_equal(&heard[i].group, &g, sizeof(g));
}

/* -- which groups ---------------------------------------------------------- */

static bool is_grouped(struct group g)
{
	struct group got;
	size_t len = test_group_data(frame, 1, &g, 100);
	bool grouped = snoop_is_grouped(frame, len, &got);

	if (grouped)
		assert_memory_equal(&got, &g, sizeof(g));
	return grouped;
}

static void groups_that_applications_join_are_known(void **state)
{
	static const uint8_t any_source[16] = { 0xff, 0x35, 0x30, 0, [15] = 1 };
	struct group g;

	assert_true(is_grouped(TEST_G4(224, 0, 1, 0)));
	assert_true(is_grouped(TEST_G4(225, 0, 0, 1)));
	assert_true(is_grouped(TEST_G4(232, 1, 2, 3)));
	assert_true(is_grouped(TEST_G4(239, 255, 255, 255)));
	assert_true(is_grouped(TEST_G6(0x15, 1)));
	assert_true(is_grouped(TEST_G6(0x02, 0x1234)));
	assert_true(is_grouped(TEST_G6(0x0e, 0xfb)));
	memcpy(g.ip, any_source, 16);
	assert_true(is_grouped(g));
}

static void groups_that_all_must_hear_of_are_not(void **state)
{
	static const struct group solicited = {
		{ 0xff, 2, [11] = 1, [12] = 0xff, 0x12, 0x34, 0x56 }
	};
	static const struct group llmnr = { { 0xff, 2, [13] = 1, [15] = 3 } };

	assert_false(is_grouped(TEST_G4(224, 0, 0, 1)));
	assert_false(is_grouped(TEST_G4(224, 0, 0, 251)));
	assert_false(is_grouped(TEST_G6(2, 1)));
	assert_false(is_grouped(TEST_G6(2, 0xfb)));
	assert_false(is_grouped(TEST_G6(1, 0x1234)));
	assert_false(is_grouped(solicited));
	assert_false(is_grouped(llmnr));
}

static void what_is_no_multicast_of_ip_is_not(void **state)
{
	const struct group g = TEST_G4(239, 1, 2, 3);
	struct group got;
	size_t len = test_group_data(frame, 1, &g, 100);

	for (size_t n = 0; n < 34; n++)
		assert_false(snoop_is_grouped(frame, n, &got));
	assert_true(snoop_is_grouped(frame, 34, &got));
	memcpy(frame, test_broadcast, 6);
	assert_false(snoop_is_grouped(frame, len, &got));
	test_group_data(frame, 1, &g, 100);
	frame[30] = 10; /* not the address of a group */
	assert_false(snoop_is_grouped(frame, len, &got));
	test_group_data(frame, 1, &g, 100);
	frame[12] = 0x81; /* a tag */
	assert_false(snoop_is_grouped(frame, len, &got));
}

/* -- reports --------------------------------------------------------------- */

static void joins_and_leaves_of_the_older_versions_are_heard(void **state)
{
	const struct group g4 = TEST_G4(239, 1, 2, 3);
	const struct group g6 = TEST_G6(0x15, 0x99);
	const struct group *both[] = { &g4, &g6 };

	for (int i = 0; i < 2; i++) {
		size_t len = test_report(frame, 1, both[i], false);

		assert_int_equal(snoop_kind(frame, len), SNOOP_REPORT);
		overhear(len);
		assert_int_equal(n_heard, 1);
		expect_heard(0, SNOOP_JOINS, *both[i]);
		overhear(test_report(frame, 1, both[i], true));
		assert_int_equal(n_heard, 1);
		expect_heard(0, SNOOP_LEAVES, *both[i]);
	}
	/* IGMPv1 */
	test_report(frame, 1, &g4, false);
	frame[34] = 0x12;
	header_put16(frame + 36, (uint16_t)(header_get16(frame + 36) + 0x400));
	overhear(42);
	expect_heard(0, SNOOP_JOINS, g4);
}

/* A report of IGMPv3 or MLDv2 with a record of each type, without sources and
 * with two. */
static size_t put_records(bool ip6)
{
	const struct group to = ip6 ? TEST_G6(2, 0x16) : TEST_G4(224, 0, 0, 22);
	size_t ip_len = ip6 ? 16 : 4, len = 8;
	uint8_t *m = test_group_packet(frame, 1, &to, ip6 ? 58 : 2, 0);

	memset(m, 0, 1000);
	m[0] = ip6 ? 143 : 0x22;
	for (uint8_t type = 1; type <= 7; type++)
		for (uint8_t sources = 0; sources <= 2; sources += 2) {
			const struct group g =
				ip6 ? TEST_G6(0x15, type * 256 + sources)
				    : TEST_G4(239, 0, type, sources);
			uint8_t *r = m + len;

			r[0] = type;
			r[1] = 1; /* a word of something else */
			r[3] = sources;
			memcpy(r + 4, g.ip + 16 - ip_len, ip_len);
			len += 4 + ip_len * (1 + sources) + 4;
			m[7]++;
		}
	test_group_packet(frame, 1, &to, ip6 ? 58 : 2, len);
	header_put16(m + 2, ip6 ? inet_icmp6_checksum(frame + 14, m, len)
				: inet_checksum(inet_sum(0, m, len)));
	return (size_t)(m - frame) + len;
}

static void records_are_heard(void **state)
{
	static const enum snoop_word words[7][2] = {
		{ SNOOP_LEAVES, SNOOP_JOINS }, /* is include */
		{ SNOOP_JOINS, SNOOP_JOINS },  /* is exclude */
		{ SNOOP_LEAVES, SNOOP_JOINS }, /* to include */
		{ SNOOP_JOINS, SNOOP_JOINS },  /* to exclude */
		{ SNOOP_JOINS, SNOOP_JOINS },  /* allow */
		{ SNOOP_LEAVES, SNOOP_LEAVES } /* block */
	};

	for (int ip6 = 0; ip6 < 2; ip6++) {
		size_t len = put_records(ip6);

		assert_int_equal(snoop_kind(frame, len), SNOOP_REPORT);
		overhear(len);
		assert_int_equal(n_heard, 12); /* of type 7 nothing is known */
		for (int i = 0; i < 12; i++) {
			int type = i / 2 + 1, sources = i % 2 * 2;

			expect_heard((unsigned int)i, words[i / 2][i % 2],
				     ip6 ? TEST_G6(0x15, type * 256 + sources)
					 : TEST_G4(239, 0, type, sources));
		}
	}
}

static void cut_and_broken_reports_say_nothing(void **state)
{
	for (int ip6 = 0; ip6 < 2; ip6++) {
		size_t len = put_records(ip6);

		for (size_t n = 0; n < len; n++) {
			overhear(n);
			assert_int_equal(n_heard, 0);
		}
		frame[len - 1] ^= 1; /* the checksum */
		overhear(len);
		assert_int_equal(n_heard, 0);
	}
	put_records(false);
	frame[14 + IP4_FRAGMENT] = 0x20; /* more follow */
	overhear(1000);
	assert_int_equal(n_heard, 0);
}

/* MLD that speaks of an IPv4 group. */
static void each_protocol_speaks_of_its_own_groups(void **state)
{
	const struct group g4 = TEST_G4(239, 1, 2, 3), g6 = TEST_G6(0x15, 1);
	size_t len = test_report(frame, 1, &g6, false);
	uint8_t *m = frame + len - 24;

	memcpy(m + 8, g4.ip, 16);
	header_put16(m + 2, 0);
	header_put16(m + 2, inet_icmp6_checksum(frame + 14, m, 24));
	overhear(len);
	assert_int_equal(n_heard, 0);
}

/* A record that says that it is longer than the packet. */
static void a_record_ends_with_its_packet(void **state)
{
	const struct group to = TEST_G4(224, 0, 0, 22);
	uint8_t *m = test_group_packet(frame, 1, &to, 2, 16);

	memset(m, 0, 16);
	m[0] = 0x22;
	m[6] = m[7] = 0xff;
	m[8] = 4;
	m[10] = 0xff; /* sources */
	memcpy(m + 12, (uint8_t[]){ 239, 1, 1, 1 }, 4);
	header_put16(m + 2, inet_checksum(inet_sum(0, m, 16)));
	overhear(50);
	assert_int_equal(n_heard, 0);
	m[10] = 0;
	header_put16(m + 2, 0);
	header_put16(m + 2, inet_checksum(inet_sum(0, m, 16)));
	overhear(50);
	assert_int_equal(n_heard, 1);
}

/* -- questions ------------------------------------------------------------- */

static void questions_are_as_a_routers(void **state)
{
	const struct group g4 = TEST_G4(239, 1, 2, 3);
	const struct group g6 = TEST_G6(0x15, 0x99);

	for (int i = 0; i < 4; i++) {
		bool ip6 = i & 1;
		const struct group *g = !(i & 2) ? NULL : ip6 ? &g6 : &g4;
		uint8_t *q = frame + (ip6 ? 62 : 38);
		size_t len = snoop_put_query(frame, ip6, 0x0afffffe, g, 1000);

		assert_true(len <= SNOOP_QUERY_BYTES);
		assert_true(test_is_question(frame));
		assert_int_equal(snoop_kind(frame, len), SNOOP_QUERY);
		assert_true(snoop_is_router(frame, len)); /* sums are right */
		if (ip6) {
			assert_int_equal(header_get16(q + 4), 1000);
			assert_memory_equal(
				q + 8, (g ? *g : (struct group){ 0 }).ip, 16);
		} else {
			assert_int_equal(
				inet_checksum(inet_sum(0, frame + 14, 24)), 0);
			assert_int_equal(q[1], 10);
			assert_memory_equal(
				q + 4, (g ? *g : (struct group){ 0 }).ip + 12,
				4);
		}
	}
}

static void a_question_without_an_address_is_a_switchs(void **state)
{
	size_t len = snoop_put_query(frame, false, 0, NULL, 1000);

	assert_int_equal(snoop_kind(frame, len), SNOOP_QUERY);
	assert_false(snoop_is_router(frame, len));
	len = snoop_put_query(frame, true, 0, NULL, 1000);
	frame[14 + IP6_SRC] = 0x20; /* not of this link */
	assert_false(snoop_is_router(frame, len));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(groups_that_applications_join_are_known),
		cmocka_unit_test(groups_that_all_must_hear_of_are_not),
		cmocka_unit_test(what_is_no_multicast_of_ip_is_not),
		cmocka_unit_test(
			joins_and_leaves_of_the_older_versions_are_heard),
		cmocka_unit_test(records_are_heard),
		cmocka_unit_test(cut_and_broken_reports_say_nothing),
		cmocka_unit_test(each_protocol_speaks_of_its_own_groups),
		cmocka_unit_test(a_record_ends_with_its_packet),
		cmocka_unit_test(questions_are_as_a_routers),
		cmocka_unit_test(a_question_without_an_address_is_a_switchs),
	};

	return cmocka_run_group_tests_name("snoop", tests, NULL, NULL);
}
