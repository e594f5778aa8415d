#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "cleanup.h"
#include "rankset.h"

static int parse(struct rankset *set, const char *text, struct errmsg *err)
{
	return rankset_parse(set, text, strlen(text), err);
}

/* What @text is when it is written again. */
static void check_text(const char *text, const char *want)
{
	_cleanup_(rankset_done) struct rankset set = { 0 };
	_cleanup_free_ char *got = NULL;

	assert_int_equal(parse(&set, text, NULL), 0);
	got = rankset_text(&set);
	assert_string_equal(got, want);
}

static void test_bad(void **state)
{
	static const char *const bad[] = {
		"",    ",",    "-",	"x",	    "1,",
		",1",  "1,,2", "1-2-3", "3-1",	    "1 2",
		" 1",  "--1",  "0x1",	"16777213", "99999999999999999999",
		"1-x",
	};
	struct rankset set = { 0 };
	struct errmsg err;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(rankset_add(&set, 3, 4), 0);
		assert_int_equal(parse(&set, bad[i], &err), -EINVAL);
		assert_non_null(strstr(err.text, bad[i]));
		assert_non_null(strstr(err.text, "0,3,7-9"));
		assert_null(set.ranges); /* nothing is left of what was there */
		assert_int_equal(set.n, 0);
	}
}

static void test_part(void **state)
{
	_cleanup_(rankset_done) struct rankset set = { 0 };

	assert_int_equal(rankset_parse(&set, "12:rest", 2, NULL), 0);
	assert_true(rankset_has(&set, 12));
	assert_int_equal(rankset_count(&set), 1);
}

static void test_text(void **state)
{
	check_text("5", "5");
	check_text("0,3,7-9", "0,3,7-9");
	check_text("-2", "0-2");
	check_text("4-", "4-");
	check_text("16777212", "16777212");
	check_text("9,1,5", "1,5,9");
	check_text("1-3,2-5", "1-5");
	check_text("1,2,3", "1-3");
	check_text("5-9,1-3,4", "1-9");
	check_text("1,3,5,7,0-9", "0-9");
	check_text("8-,3,5-6,2-", "2-");
	check_text("1-2,5-6,9-10,3-8", "1-10");
}

static void test_looks_like(void **state)
{
	assert_true(rankset_looks_like("0,3-", 4));
	assert_true(rankset_looks_like("12:x", 2));
	assert_false(rankset_looks_like("12:x", 3));
	assert_false(rankset_looks_like("", 0));
	assert_false(rankset_looks_like("4G", 2));
}

static void test_members(void **state)
{
	_cleanup_(rankset_done) struct rankset set = { 0 };

	assert_false(rankset_has(&set, 0));
	assert_int_equal(rankset_count(&set), 0);
	assert_int_equal(parse(&set, "0,3,7-9", NULL), 0);
	for (uint32_t r = 0; r < 20; r++)
		assert_int_equal(rankset_has(&set, r),
				 r == 0 || r == 3 || (r >= 7 && r <= 9));
	assert_int_equal(rankset_count(&set), 5);
	assert_int_equal(parse(&set, "0-", NULL), 0);
	assert_true(rankset_has(&set, RANK_MAX));
	assert_false(rankset_has(&set, RANK_MAX + 1));
	assert_int_equal(rankset_count(&set), (uint64_t)RANK_MAX + 1);
}

static void test_next(void **state)
{
	_cleanup_(rankset_done) struct rankset set = { 0 };

	assert_int_equal(rankset_next(&set, 0), UINT32_MAX);
	assert_int_equal(rankset_next_missing(&set, 7), 7);
	assert_int_equal(parse(&set, "2-4,8", NULL), 0);
	assert_int_equal(rankset_next(&set, 0), 2);
	assert_int_equal(rankset_next(&set, 3), 3);
	assert_int_equal(rankset_next(&set, 5), 8);
	assert_int_equal(rankset_next(&set, 9), UINT32_MAX);
	assert_int_equal(rankset_next_missing(&set, 1), 1);
	assert_int_equal(rankset_next_missing(&set, 2), 5);
	assert_int_equal(rankset_next_missing(&set, 8), 9);
}

static void test_merge(void **state)
{
	_cleanup_(rankset_done) struct rankset set = { 0 }, other = { 0 };
	_cleanup_free_ char *text = NULL;

	assert_int_equal(parse(&set, "1-3,10", NULL), 0);
	assert_int_equal(parse(&other, "4-5,9,20", NULL), 0);
	assert_int_equal(rankset_merge(&set, &other), 0);
	text = rankset_text(&set);
	assert_string_equal(text, "1-5,9-10,20");
}

/* Against the plainest set there is. */
static void test_random(void **state)
{
	_cleanup_(rankset_done) struct rankset set = { 0 };
	bool in[64] = { false };

	srand(1);
	for (int i = 0; i < 2000; i++) {
		uint32_t first = (uint32_t)rand() % 64;
		uint32_t last = first + (uint32_t)rand() % (64 - first) / 8;

		if (i % 20 == 0) {
			rankset_done(&set);
			memset(in, 0, sizeof(in));
		}
		assert_int_equal(rankset_add(&set, first, last), 0);
		memset(in + first, true, last - first + 1);
		for (uint32_t r = 0; r < 64; r++)
			assert_int_equal(rankset_has(&set, r), in[r]);
		for (size_t r = 1; r < set.n; r++) /* a gap between two */
			assert_true(set.ranges[r].first >
				    set.ranges[r - 1].last + 1);
	}
}

static void test_ends(void **state)
{
	_cleanup_(rankset_done) struct rankset set = { 0 };

	assert_int_equal(rankset_add(&set, UINT32_MAX, UINT32_MAX), 0);
	assert_int_equal(rankset_add(&set, 0, 0), 0);
	assert_int_equal(rankset_add(&set, 1, UINT32_MAX - 1), 0);
	assert_int_equal(set.n, 1);
	assert_int_equal(rankset_count(&set), (uint64_t)1 << 32);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		{ "what does not parse is refused with a cure, and empties",
		  test_bad },
		{ "only the length that was given is read", test_part },
		{ "a set is written in order, and joined", test_text },
		{ "digits, commas and dashes look like a set",
		  test_looks_like },
		{ "members are found and counted", test_members },
		{ "the next member, and the next that is missing", test_next },
		{ "two sets become one", test_merge },
		{ "additions at random, against an array", test_random },
		{ "the ends of the numbers do not wrap", test_ends },
	};

	return cmocka_run_group_tests_name("rankset", tests, NULL, NULL);
}
