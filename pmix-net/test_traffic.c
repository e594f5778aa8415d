#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "batches.h"
#include "traffic.h"

static struct traffic t;

static int set_up(void **state)
{
	t = (struct traffic){ 0 };
	return 0;
}

static int tear_down(void **state)
{
	traffic_done(&t);
	return 0;
}

static void who_talks_to_nobody_costs_nothing(void **state)
{
	traffic_add_all(&t, 60);
	assert_null(t.slots);
	assert_int_equal(t.to_all.frames, 1);
	assert_int_equal(t.to_all.bytes, 60);
}

static void frames_are_summed_up_by_rank(void **state)
{
	for (int i = 0; i < 3; i++) {
		traffic_add(&t, 7, 100);
		traffic_add(&t, 0, 10);
	}
	traffic_add(&t, 7, 1);
	assert_int_equal(t.n, 2);
	assert_int_equal(traffic_find(&t, 7)->frames, 4);
	assert_int_equal(traffic_find(&t, 7)->bytes, 301);
	assert_int_equal(traffic_find(&t, 0)->bytes, 30);
}

static void what_is_for_no_rank_is_others(void **state)
{
	traffic_add(&t, TRAFFIC_NOBODY, 100);
	traffic_add(&t, 3, 1);
	traffic_add(&t, TRAFFIC_NOBODY, 100);
	assert_int_equal(t.others.frames, 2);
	assert_int_equal(t.n, 1);
}

/* Strides that a bad hash would not like, and the same again. */
static void ranks_up_to_the_bound_keep_their_sums(void **state)
{
	for (uint32_t round = 1; round <= 2; round++)
		for (uint32_t i = 0; i < TRAFFIC_PEERS_MAX; i++)
			traffic_add(&t, i * 256 % 0xfffffb, i + 1);
	assert_int_equal(t.n, TRAFFIC_PEERS_MAX);
	assert_int_equal(t.others.frames, 0);
	for (uint32_t i = 0; i < TRAFFIC_PEERS_MAX; i++) {
		const struct netstats_sum *s =
			traffic_find(&t, i * 256 % 0xfffffb);

		assert_int_equal(s->frames, 2);
		assert_int_equal(s->bytes, 2 * (i + 1));
	}
}

static void beyond_the_bound_they_are_others(void **state)
{
	for (uint32_t rank = 0; rank < 10000; rank++)
		traffic_add(&t, rank, 10);
	assert_int_equal(t.n, TRAFFIC_PEERS_MAX);
	assert_int_equal(t.others.frames, 10000 - TRAFFIC_PEERS_MAX);
	assert_int_equal(t.others.bytes, 10 * (10000 - TRAFFIC_PEERS_MAX));
	traffic_add(&t, 0, 10); /* one that has its place keeps it */
	assert_int_equal(traffic_find(&t, 0)->frames, 2);
	assert_true(t.room * sizeof(*t.slots) <= TRAFFIC_BYTES_MAX);
}

static void room_follows_those_that_were_talked_to(void **state)
{
	for (uint32_t rank = 0; rank < 6; rank++)
		traffic_add(&t, rank, 1);
	assert_int_equal(t.room, 8);
	traffic_add(&t, 6, 1);
	assert_int_equal(t.room, 16);
}

static void buckets_are_powers_of_two(void **state)
{
	assert_int_equal(batches_bucket(0, 5), 0);
	assert_int_equal(batches_bucket(1, 5), 0);
	assert_int_equal(batches_bucket(2, 5), 1);
	assert_int_equal(batches_bucket(3, 5), 1);
	assert_int_equal(batches_bucket(4, 5), 2);
	assert_int_equal(batches_bucket(16, 5), 4);
	assert_int_equal(batches_bucket(UINT64_MAX, 5), 4);
}

static void a_batch_is_counted_once_by_frames_and_once_by_bytes(void **state)
{
	struct batches b = { 0 };

	batches_add(&b, 3, 4500);
	assert_int_equal(b.frames[1], 1);
	assert_int_equal(b.bytes[12], 1);
}

int main(void)
{
#define test(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		test(who_talks_to_nobody_costs_nothing),
		test(frames_are_summed_up_by_rank),
		test(what_is_for_no_rank_is_others),
		test(ranks_up_to_the_bound_keep_their_sums),
		test(beyond_the_bound_they_are_others),
		test(room_follows_those_that_were_talked_to),
		test(buckets_are_powers_of_two),
		test(a_batch_is_counted_once_by_frames_and_once_by_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
