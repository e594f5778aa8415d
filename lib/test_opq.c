#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "opq.h"

static const struct opq_limits limits = { 64, 4 * 1024 * 1024, true, 8 };
static struct opq q;
static struct opmsg_in in;
static uint8_t batch[OPMSG_BATCH];

/* What came out at the other end. */
static struct seen {
	uint32_t src;
	uint64_t id;
	size_t len;
	char to[64];
} seen[256];
static size_t n_seen;
static struct opmsg_ended ends[256];
static size_t n_ends;

static int on_message(struct opmsg *m, const struct rankset *to,
		      struct errmsg *err, void *arg)
{
	struct seen *s = &seen[n_seen++];
	char *text = rankset_text(to);

	*s = (struct seen){ m->src, m->id, m->len, "" };
	snprintf(s->to, sizeof(s->to), "%s", text);
	free(text);
	for (size_t i = 0; i < m->len; i++)
		if (m->data[i] != (uint8_t)(i * 7 + m->id))
			fail_msg("byte %zu of message %d is wrong", i,
				 (int)m->id);
	return 0;
}

static int on_ended(const struct opmsg_ended *e, struct errmsg *err, void *arg)
{
	ends[n_ends++] = *e;
	return 0;
}

static const struct opmsg_in_ops in_ops = { on_message, on_ended };

static void on_failed(const struct opmsg_ended *e, void *arg)
{
	ends[n_ends++] = *e;
}

static int begin(void **state)
{
	opq_init(&q, &limits);
	n_seen = n_ends = 0;
	return 0;
}

static int end(void **state)
{
	opq_done(&q);
	opmsg_in_reset(&in);
	return 0;
}

static int push(uint32_t src, uint64_t id, size_t len, const char *to_text)
{
	struct opmsg *m = opmsg_new(src, id, len);
	struct rankset to = { 0 };
	int r;

	for (size_t i = 0; i < len; i++)
		m->data[i] = (uint8_t)(i * 7 + id);
	assert_int_equal(rankset_parse(&to, to_text, strlen(to_text), NULL), 0);
	r = opq_push(&q, m, &to);
	rankset_done(&to);
	opmsg_unref(m);
	return r;
}

static bool tell_end(uint32_t src, uint64_t id, uint32_t rank)
{
	const struct opmsg_ended e = { src, id, rank, OPMSG_TAKEN };

	return opq_ended(&q, &e);
}

static int take(size_t len)
{
	struct errmsg err = { "" };
	int r = opmsg_take(&in, batch, len, &in_ops, NULL, &err);

	if (r < 0)
		assert_true(err.text[0]);
	return r;
}

static void carry_all(void)
{
	size_t n;

	while ((n = opq_fill(&q, batch, sizeof(batch))))
		assert_int_equal(take(n), 0);
}

static void messages_arrive_whole_and_in_order(void **state)
{
	static const size_t lens[] = { 0, 1, 100, 65536, 1024 * 1024, 3 };

	for (size_t i = 0; i < 6; i++)
		assert_int_equal(push(3, i + 1, lens[i], "1,4-5"), 0);
	carry_all();
	assert_int_equal(n_seen, 6);
	for (size_t i = 0; i < 6; i++) {
		assert_int_equal(seen[i].id, i + 1);
		assert_int_equal(seen[i].src, 3);
		assert_int_equal(seen[i].len, lens[i]);
		assert_string_equal(seen[i].to, "1,4-5");
	}
}

static void small_messages_share_a_batch(void **state)
{
	for (uint64_t i = 0; i < 30; i++)
		assert_int_equal(push(0, i + 1, 100, "1"), 0);
	assert_int_equal(take(opq_fill(&q, batch, sizeof(batch))), 0);
	assert_int_equal(n_seen, 30);
	assert_false(opq_has(&q));
}

static void ends_leave_before_all_else(void **state)
{
	const struct opmsg_ended e = { 9, 8, 7, OPMSG_FULL };

	push(0, 1, 1024 * 1024, "1");
	assert_int_equal(opq_fill(&q, batch, sizeof(batch)), OPMSG_BATCH);
	assert_int_equal(take(OPMSG_BATCH), 0);
	assert_int_equal(opq_push_end(&q, &e), 0);
	assert_int_equal(take(opq_fill(&q, batch, sizeof(batch))), 0);
	assert_int_equal(n_ends, 1);
	assert_int_equal(ends[0].src, e.src);
	assert_int_equal(ends[0].id, e.id);
	assert_int_equal(ends[0].rank, e.rank);
	assert_int_equal(ends[0].how, e.how);
	assert_int_equal(n_seen, 0);
	carry_all();
	assert_int_equal(n_seen, 1);
}

static void each_receiver_ends_once(void **state)
{
	push(0, 1, 10, "2-4");
	assert_false(tell_end(0, 1, 2)); /* it has not left */
	carry_all();
	assert_true(tell_end(0, 1, 3));
	assert_false(tell_end(0, 1, 3));
	assert_false(tell_end(0, 1, 5));
	assert_false(tell_end(0, 2, 2));
	opq_fail(&q, OPQ_ALL, OPMSG_LOST, on_failed, NULL);
	assert_int_equal(n_ends, 2);
	assert_int_equal(ends[0].rank, 2);
	assert_int_equal(ends[1].rank, 4);
	assert_int_equal(ends[1].how, OPMSG_LOST);
	assert_true(opq_is_empty(&q));
}

static void what_has_begun_fails_alone(void **state)
{
	push(0, 1, 10, "1");
	push(0, 2, 1024 * 1024, "1");
	push(0, 3, 10, "1");
	opq_fill(&q, batch, sizeof(batch));
	opq_fail(&q, OPQ_BEGUN, OPMSG_LOST, on_failed, NULL);
	assert_int_equal(n_ends, 2);
	carry_all(); /* to who knows nothing of the middle */
	assert_int_equal(n_seen, 1);
	assert_int_equal(seen[0].id, 3);
}

static void what_is_too_much_is_refused(void **state)
{
	uint64_t id = 0;

	while (push(0, ++id, 10, "1") == 0)
		;
	assert_int_equal(id, limits.msgs / 2 + 1);
	/* others still have their part */
	assert_int_equal(push(1, 1, 10, "1"), 0);
	assert_int_equal(push(1, 2, 3 * 1024 * 1024, "1"), -ENOBUFS);
	/* what has left counts until it has ended */
	carry_all();
	assert_int_equal(push(0, 100, 10, "1"), -ENOBUFS);
	for (uint64_t i = 1; i < id; i++)
		assert_true(tell_end(0, i, 1));
	assert_int_equal(push(0, 101, 10, "1"), 0);
}

static void a_message_always_fits_into_an_empty_queue(void **state)
{
	assert_int_equal(push(0, 1, 5 * 1024 * 1024, "1"), 0);
}

/* What is on its way to each, whatever way it ends. */
static void receivers_are_counted(void **state)
{
	static const uint32_t order[] = { 1, 2, 3 };

	assert_int_equal(opq_count_receivers(&q, 4), 0);
	assert_int_equal(push(0, 1, 100, "1-3"), 0);
	assert_int_equal(push(0, 2, 10, "2"), 0);
	assert_int_equal(opq_receiver(&q, 0).msgs, 0);
	assert_int_equal(opq_receiver(&q, 1).bytes, 100);
	assert_int_equal(opq_receiver(&q, 2).msgs, 2);
	assert_int_equal(opq_receiver(&q, 2).bytes, 110);
	opq_fill(&q, batch, sizeof(batch));
	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		const struct opmsg_ended e = { 0, 1, order[i], OPMSG_TAKEN };

		assert_true(opq_ended(&q, &e));
		assert_false(opq_ended(&q, &e));
		assert_int_equal(opq_receiver(&q, order[i]).msgs,
				 order[i] == 2);
	}
	opq_fail(&q, OPQ_ALL, OPMSG_LOST, on_failed, NULL);
	assert_int_equal(opq_receiver(&q, 2).msgs, 0);
	assert_int_equal(opq_receiver(&q, 2).bytes, 0);
}

static void ends_that_nobody_reads_are_bounded(void **state)
{
	const struct opmsg_ended e = { 0, 1, 2, OPMSG_TAKEN };

	for (size_t i = 0; i < OPQ_ENDS_MAX; i++)
		assert_int_equal(opq_push_end(&q, &e), 0);
	assert_int_equal(opq_push_end(&q, &e), -ENOBUFS);
	assert_int_equal(opq_fill(&q, batch, sizeof(batch)),
			 OPMSG_BATCH / OPMSG_HEADER * OPMSG_HEADER);
	assert_int_equal(opq_push_end(&q, &e), 0);
}

static void scattered_receivers_are_too_many(void **state)
{
	char text[8192];
	size_t n = 0;

	for (unsigned int i = 0; i < 900; i++)
		n += (size_t)sprintf(text + n, "%s%u", i ? "," : "",
				     10000 + 2 * i);
	assert_int_equal(push(0, 1, 1, text), -E2BIG);
	text[4000] = '\0';
	*strrchr(text, ',') = '\0';
	assert_int_equal(push(0, 1, 1, text), 0);
}

static size_t one_piece(const char *to)
{
	struct opmsg *m = opmsg_new(1, 1, 100);
	size_t n;

	memset(m->data, 0, 100);
	n = opmsg_put_piece(batch, m, 0, 50, to, to ? strlen(to) : 0);
	opmsg_unref(m);
	return n;
}

static void bad_records_are_refused_with_words(void **state)
{
	size_t n = one_piece("1");

	for (size_t cut = 1; cut < n; cut++)
		assert_int_equal(take(cut), -EPROTO);
	batch[0] = 9;
	assert_int_equal(take(n), -EPROTO);
	n = one_piece("one");
	assert_int_equal(take(n), -EPROTO);
	n = one_piece(NULL); /* a middle of nothing */
	assert_int_equal(take(n), -EPROTO);
	n = one_piece("1");
	assert_int_equal(take(n), 0);
	assert_int_equal(take(n), -EPROTO); /* a first in the middle */
	opmsg_in_reset(&in);
	batch[16] = 0x7f; /* its length */
	assert_int_equal(take(n), -EPROTO);
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(messages_arrive_whole_and_in_order),
		TEST(small_messages_share_a_batch),
		TEST(ends_leave_before_all_else),
		TEST(each_receiver_ends_once),
		TEST(what_has_begun_fails_alone),
		TEST(what_is_too_much_is_refused),
		TEST(a_message_always_fits_into_an_empty_queue),
		TEST(receivers_are_counted),
		TEST(ends_that_nobody_reads_are_bounded),
		TEST(scattered_receivers_are_too_many),
		TEST(bad_records_are_refused_with_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
