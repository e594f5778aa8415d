#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "roll.h"

static const struct roll_limits limits = { .nranks = 100, .nnodes = 10 };
static struct errmsg err;

static int parse(struct roll *r, const char *text)
{
	return roll_parse(r, text, strlen(text), &limits, &err);
}

static void texts_that_are_none_are_refused(void **state)
{
	static const char *const bad[] = {
		"ready",
		"ready 1",
		"ready \n",
		"ready 1,,2\n",
		"ready 100\n",
		"ready 4-\n",
		"gone 10\n",
		"missing 10\n",
		"reddy 1\n",
		"all\n",
		"all gone\n",
		"all ready now\n",
		"why 100 x\n",
		"why x\n",
		"why -1 x\n",
		"lost 4294967296 x\n",
		"\n",
		"ready  1\n",
		"why 99999999999999999999 x\n",
	};
	struct roll r = { 0 };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(parse(&r, bad[i]), -EPROTO);
	roll_done(&r);
}

static void words_are_cut_to_what_can_be_printed(void **state)
{
	struct roll r = { 0 };

	assert_int_equal(parse(&r, "lost 4294967295 a\x1b[2Jb\xff\n"), 0);
	assert_string_equal(r.lost.text, "a?[2Jb?");
	assert_int_equal(r.lost.rank, ROLL_NO_RANK);
	roll_done(&r);
}

static void the_lowest_ranks_words_stay(void **state)
{
	struct roll r = { 0 };

	assert_int_equal(parse(&r, "why 7 seven\nwhy 3 three\nwhy 5 five\n"),
			 0);
	assert_int_equal(r.why.rank, 3);
	assert_string_equal(r.why.text, "three");
	roll_done(&r);
}

/* -- telling -------------------------------------------------------------- */

struct heard {
	struct roll roll;
	struct roll_limits limits;
	size_t texts, bytes;
	char last[ROLL_TEXT_MAX + 1];
};

static int hear(const char *text, size_t len, void *arg)
{
	struct heard *h = arg;

	assert_true(len > 0 && len <= ROLL_TEXT_MAX);
	memcpy(h->last, text, len);
	h->last[len] = '\0';
	h->texts++;
	h->bytes += len;
	return roll_parse(&h->roll, text, len, &h->limits, &err);
}

static void assert_same(const struct roll *a, const struct roll *b)
{
	for (int i = 0; i < ROLL_SETS; i++) {
		assert_int_equal(a->sets[i].n, b->sets[i].n);
		assert_memory_equal(a->sets[i].ranges, b->sets[i].ranges,
				    a->sets[i].n * sizeof(struct rank_range));
	}
	assert_int_equal(a->flags, b->flags);
	assert_string_equal(a->lost.text, b->lost.text);
	assert_string_equal(a->why.text, b->why.text);
}

static void only_news_are_told(void **state)
{
	struct heard h = { .limits = limits };
	struct roll r = { 0 }, known = { 0 };

	assert_int_equal(parse(&r, "ready 0-9,20\ndone 3\nall ready\n"), 0);
	assert_int_equal(roll_tell(&r, &known, ROLL_EVERYTHING, hear, &h), 0);
	assert_string_equal(h.last, "ready 0-9,20\ndone 3\nall ready\n");
	assert_int_equal(roll_tell(&r, &known, ROLL_EVERYTHING, hear, &h), 0);
	assert_int_equal(h.texts, 1);
	assert_int_equal(parse(&r, "ready 8-12\nlost 3 gone\n"), 0);
	assert_int_equal(roll_tell(&r, &known, ROLL_EVERYTHING, hear, &h), 0);
	assert_string_equal(h.last, "ready 10-12\nlost 3 gone\n");
	assert_same(&r, &h.roll);
	assert_same(&r, &known);
	roll_done(&r);
	roll_done(&known);
	roll_done(&h.roll);
}

static void events_can_be_told_alone(void **state)
{
	struct heard h = { .limits = limits };
	struct roll r = { 0 }, known = { 0 };

	assert_int_equal(parse(&r, "ready 0-9\nall ready\n"), 0);
	assert_int_equal(roll_tell(&r, &known, ROLL_EVENTS_ONLY, hear, &h), 0);
	assert_string_equal(h.last, "all ready\n");
	assert_int_equal(roll_tell(&r, &known, ROLL_EVERYTHING, hear, &h), 0);
	assert_string_equal(h.last, "ready 0-9\n");
	roll_done(&r);
	roll_done(&known);
	roll_done(&h.roll);
}

static void long_sets_are_told_in_pieces(void **state)
{
	struct heard h = { .limits = { 200000, 10 } };
	struct roll r = { 0 }, known = { 0 };

	for (uint32_t i = 0; i < 6000; i++) {
		assert_int_equal(roll_add(&r, ROLL_READY, 199999 - 2 * i), 0);
		if (i % 3 == 0)
			roll_add(&r, ROLL_DONE, 199999 - 2 * i);
	}
	r.flags = ROLL_ALL_DONE;
	assert_int_equal(roll_tell(&r, &known, ROLL_EVERYTHING, hear, &h), 0);
	assert_true(h.texts > 1);
	assert_same(&r, &h.roll);
	roll_done(&r);
	roll_done(&known);
	roll_done(&h.roll);
}

static void random_rolls_survive_telling(void **state)
{
	unsigned int seed = 1;

	for (int round = 0; round < 300; round++) {
		struct heard h = { .limits = limits };
		struct roll r = { 0 }, known = { 0 };

		for (int step = 0; step < 20; step++) {
			enum roll_set set =
				(enum roll_set)(rand_r(&seed) % ROLL_SETS);
			uint32_t max = set < ROLL_GONE ? 100 : 10;
			uint32_t first = (uint32_t)rand_r(&seed) % max;
			uint32_t last = first + (uint32_t)rand_r(&seed) % 5;

			rankset_add(&r.sets[set], first,
				    last < max ? last : max - 1);
			if (step % 3)
				continue;
			assert_int_equal(roll_tell(&r, &known, ROLL_EVERYTHING,
						   hear, &h),
					 0);
			assert_same(&r, &h.roll);
			assert_same(&r, &known);
		}
		roll_done(&r);
		roll_done(&known);
		roll_done(&h.roll);
	}
}

static int refuse(const char *text, size_t len, void *arg)
{
	return -ENOMEM;
}

static void what_could_not_be_told_stays_news(void **state)
{
	struct heard h = { .limits = limits };
	struct roll r = { 0 }, known = { 0 };

	assert_int_equal(parse(&r, "ready 0-9\nall ready\n"), 0);
	assert_int_equal(roll_tell(&r, &known, ROLL_EVERYTHING, refuse, NULL),
			 -ENOMEM);
	assert_int_equal(roll_tell(&r, &known, ROLL_EVERYTHING, hear, &h), 0);
	assert_int_equal(h.texts, 1);
	roll_done(&r);
	roll_done(&known);
	roll_done(&h.roll);
}

static void two_sets_cover_together(void **state)
{
	struct roll r = { 0 };
	const struct rankset *a = &r.sets[ROLL_READY], *b = &r.sets[ROLL_DONE];

	assert_true(roll_covers(a, b, 0));
	assert_false(roll_covers(a, b, 1));
	assert_int_equal(parse(&r, "ready 0-3,6,8-9\ndone 2-5,7\n"), 0);
	assert_true(roll_covers(a, b, 10));
	assert_true(roll_covers(b, a, 10));
	assert_false(roll_covers(a, b, 11));
	assert_false(roll_covers(a, a, 10));
	roll_done(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts_that_are_none_are_refused),
		cmocka_unit_test(words_are_cut_to_what_can_be_printed),
		cmocka_unit_test(the_lowest_ranks_words_stay),
		cmocka_unit_test(only_news_are_told),
		cmocka_unit_test(events_can_be_told_alone),
		cmocka_unit_test(long_sets_are_told_in_pieces),
		cmocka_unit_test(random_rolls_survive_telling),
		cmocka_unit_test(what_could_not_be_told_stays_news),
		cmocka_unit_test(two_sets_cover_together),
	};

	return cmocka_run_group_tests_name("roll", tests, NULL, NULL);
}
