#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "outq.h"

static struct buf_pool pool;
static uint8_t frame[WIRE_FRAME_MAX];

static void assert_message(const struct buf *b, enum wire_type type)
{
	assert_non_null(b);
	assert_int_equal(wire_get32(b->data), type);
	assert_int_equal(wire_get32(b->data + 4), buf_len(b) - 8);
}

static int put(struct outq *q, size_t len)
{
	const struct packet p = packet_flat(frame, len);

	return outq_frame(q, &p);
}

static void drop_next(struct outq *q)
{
	buf_return(&pool, outq_take(q));
}

static int empty(void **state)
{
	buf_pool_done(&pool);
	return 0;
}

static void frames_come_out_as_they_went_in(void **state)
{
	static const size_t lens[] = { 14, 60, 1514, 9018, 65565, 15 };
	struct outq q = { .pool = &pool };
	size_t n = 0, at;
	struct packet got;
	struct buf *b;

	for (size_t i = 0; i < 6; i++) {
		memset(frame, (int)i, lens[i]);
		assert_int_equal(put(&q, lens[i]), 0);
	}
	while ((b = outq_take(&q))) {
		assert_message(b, WIRE_FRAMES);
		at = 0;
		while (outq_next_frame(b->data + 8, buf_len(b) - 8, &at,
				       &got) == 1) {
			memset(frame, (int)n, sizeof(frame));
			assert_int_equal(got.len, lens[n++]);
			assert_memory_equal(got.head, frame, got.len);
		}
		buf_return(&pool, b);
	}
	assert_int_equal(n, 6);
	assert_int_equal(q.bytes, 0);
}

static void what_is_left_for_a_card_travels_along(void **state)
{
	struct packet p = packet_flat(frame, 60), got;
	struct outq q = { .pool = &pool };
	struct buf *b;
	size_t at = 0;

	p.offload = (struct offload){ 1, 4, 66, 1448, 34, 16 };
	p.flow = 513;
	p.relayed = true;
	p.origin = 70000;
	assert_int_equal(outq_frame(&q, &p), 0);
	assert_int_equal(put(&q, 61), 0);
	b = outq_take(&q);
	assert_int_equal(
		outq_next_frame(b->data + 8, buf_len(b) - 8, &at, &got), 1);
	assert_memory_equal(&got.offload, &p.offload, sizeof(p.offload));
	assert_int_equal(got.flow, 513);
	assert_true(got.relayed);
	assert_int_equal(got.origin, 70000);
	assert_int_equal(got.len, 60);
	assert_int_equal(
		outq_next_frame(b->data + 8, buf_len(b) - 8, &at, &got), 1);
	assert_int_equal(got.offload.flags | got.offload.gso | got.flow, 0);
	assert_false(got.relayed);
	assert_int_equal(got.len, 61);
	buf_return(&pool, b);
}

static void a_batch_ends_at_64_kib(void **state)
{
	struct outq q = { .pool = &pool };
	struct buf *b;

	for (int i = 0; i < 100; i++)
		assert_int_equal(put(&q, 1500), 0);
	b = outq_take(&q);
	assert_true(buf_len(b) <= WIRE_BATCH_BYTES);
	assert_true(buf_len(b) + 1520 > WIRE_BATCH_BYTES);
	buf_return(&pool, b);
	outq_done(&q);
}

static void each_batch_of_frames_is_counted_once(void **state)
{
	struct batches batches = { 0 };
	struct outq q = { .pool = &pool, .batches = &batches };

	for (int i = 0; i < 3; i++)
		assert_int_equal(put(&q, 60), 0);
	assert_int_equal(batches.frames[1], 0); /* it may grow */
	assert_int_equal(outq_control(&q, WIRE_STATE, "x", 1), 0);
	drop_next(&q);
	drop_next(&q);
	assert_int_equal(batches.frames[1], 1);
	assert_int_equal(batches.bytes[7], 1); /* 3 * (4 + 60) */
	assert_int_equal(put(&q, 60000), 0);
	assert_int_equal(put(&q, 60000), 0);
	assert_int_equal(batches.frames[0], 1); /* it was full */
	outq_lose_frames(&q);
	assert_int_equal(batches.frames[0], 1); /* never left */
	outq_done(&q);
}

static void control_overtakes_frames_and_bye_does_not(void **state)
{
	struct outq q = { .pool = &pool };

	assert_int_equal(put(&q, 60), 0);
	assert_int_equal(outq_control(&q, WIRE_BYE, NULL, 0), 0);
	assert_int_equal(outq_control(&q, WIRE_STATE, "x", 1), 0);
	assert_message(q.control.head, WIRE_STATE);
	drop_next(&q);
	assert_message(q.frames.head, WIRE_FRAMES);
	drop_next(&q);
	assert_message(q.frames.head, WIRE_BYE);
	drop_next(&q);
	assert_null(outq_take(&q));
}

static void what_is_put_back_comes_first_again(void **state)
{
	struct outq q = { .pool = &pool };
	struct buf *b;

	assert_int_equal(put(&q, 60), 0);
	b = outq_take(&q);
	assert_int_equal(put(&q, 61), 0);
	outq_put_back(&q, b);
	assert_ptr_equal(outq_take(&q), b);
	buf_return(&pool, b);
	assert_int_equal(outq_lose_frames(&q), 1);
	assert_int_equal(q.bytes, 0);
}

static void a_full_queue_takes_control_only(void **state)
{
	struct outq q = { .pool = &pool };
	size_t n = 0;

	while (put(&q, 9018) == 0)
		n++;
	assert_true(n > 400);
	assert_true(q.bytes <= OUTQ_BYTES + 8);
	assert_int_equal(put(&q, 9018), -EAGAIN);
	assert_int_equal(outq_control(&q, WIRE_STATE, "x", 1), 0);
	assert_int_equal(outq_lose_frames(&q), n);
	assert_int_equal(put(&q, 9018), 0);
	outq_done(&q);
}

static void the_pool_bounds_all_queues_together(void **state)
{
	static struct outq q[64];
	size_t n = 0;

	for (int i = 0; i < 64; i++) {
		q[i].pool = &pool;
		while (put(&q[i], 60000) == 0)
			n++;
	}
	assert_true(n * sizeof(struct buf) <= BUF_POOL_MAX);
	assert_int_equal(outq_control(&q[63], WIRE_STATE, "x", 1), 0);
	for (int i = 0; i < 64; i++)
		outq_done(&q[i]);
	assert_int_equal(pool.n_lent, 0);
	assert_true(pool.n_unused <= BUF_POOL_KEEP);
}

static void a_bad_batch_is_noticed(void **state)
{
	static const struct {
		uint8_t bytes[20];
		size_t len;
	} bad[] = {
		{ { 0, 0, 0 }, 3 },	 /* half a length */
		{ { 0, 0, 0, 14 }, 17 }, /* half a frame */
		{ { 0, 0, 0, 13 }, 17 }, /* too short */
		{ { 0, 0, 0, 0 }, 4 },	    { { 0xff, 0xff, 0xff, 0xff }, 20 },
		{ { 0, 1, 0, 0x1e }, 20 },  /* 65566 */
		{ { 0x80, 0, 0, 14 }, 15 }, /* half an offload */
		{ { 0x80, 0, 0, 14 }, 20 }, /* half a frame behind one */
		{ { 0x40, 0, 0, 14 }, 19 }, /* half a frame behind an origin */
	};
	struct packet got;
	size_t at;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		at = 0;
		assert_int_equal(
			outq_next_frame(bad[i].bytes, bad[i].len, &at, &got),
			-EPROTO);
	}
	at = 0;
	assert_int_equal(outq_next_frame(frame, 0, &at, &got), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_come_out_as_they_went_in),
		cmocka_unit_test(what_is_left_for_a_card_travels_along),
		cmocka_unit_test(a_batch_ends_at_64_kib),
		cmocka_unit_test(each_batch_of_frames_is_counted_once),
		cmocka_unit_test(control_overtakes_frames_and_bye_does_not),
		cmocka_unit_test(what_is_put_back_comes_first_again),
		cmocka_unit_test(a_full_queue_takes_control_only),
		cmocka_unit_test(the_pool_bounds_all_queues_together),
		cmocka_unit_test(a_bad_batch_is_noticed),
	};

	return cmocka_run_group_tests_name("outq", tests, NULL, empty);
}
