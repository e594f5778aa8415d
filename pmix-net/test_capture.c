#include <config.h>

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "capture.h"
#include "test_frame.h"
#include "segment.h"
#include "test_gso.h"

#define FILE_HEADER   24
#define RECORD_HEADER 16

static struct {
	struct loop *loop;
	struct loop_timer *stop;
	struct round *round;
	struct counters counts;
	struct capture *capture;
	int pipe;
	unsigned int n_over;
} t;

static uint8_t frame[70000], got[200000];

static void on_stop(void *arg)
{
	loop_stop(t.loop, 0);
}

static void on_over(void *arg)
{
	t.n_over++;
	capture_free(t.capture);
	t.capture = NULL;
}

static void settle(void)
{
	for (int i = 0; i < 3; i++) {
		loop_timer_set(t.stop, 0);
		assert_int_equal(loop_run(t.loop), 0);
	}
}

static int set_up(void **state)
{
	int fds[2];

	signal(SIGPIPE, SIG_IGN); /* as vmstep-net does */
	memset(&t, 0, sizeof(t));
	assert_int_equal(loop_new(&t.loop, NULL), 0);
	assert_int_equal(loop_timer_add(t.loop, -1, on_stop, NULL, &t.stop), 0);
	assert_int_equal(round_new(t.loop, &t.round, NULL), 0);
	assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	t.pipe = fds[0];
	assert_int_equal(capture_new(t.loop, t.round, fds[1], &t.counts,
				     on_over, NULL, &t.capture, NULL),
			 0);
	return 0;
}

static int tear_down(void **state)
{
	capture_free(t.capture);
	if (t.pipe >= 0)
		close(t.pipe);
	round_free(t.round);
	loop_free(t.loop);
	return 0;
}

static size_t read_all(void)
{
	size_t len = 0;
	ssize_t n;

	settle();
	while ((n = read(t.pipe, got + len, sizeof(got) - len)) > 0) {
		len += (size_t)n;
		settle();
	}
	return len;
}

static void throw_away(void)
{
	do
		settle();
	while (read(t.pipe, got, sizeof(got)) > 0);
}

static uint32_t word(size_t at)
{
	uint32_t v;

	memcpy(&v, got + at, sizeof(v));
	return v;
}

static void the_file_begins_as_pcap_does(void **state)
{
	assert_int_equal(read_all(), FILE_HEADER);
	assert_int_equal(word(0), 0xa1b23c4d);
	assert_int_equal(word(4), 2 | 4 << 16);
	assert_int_equal(word(20), 1);
}

static void a_frame_is_there_as_it_was(void **state)
{
	const struct packet p = packet_flat(frame, test_frame(frame, 1, 2, 60));

	read_all();
	capture_frame(t.capture, &p);
	assert_int_equal(read_all(), RECORD_HEADER + 60);
	assert_true(word(0) > 1700000000); /* seconds, in this century */
	assert_true(word(4) < 1000000000);
	assert_int_equal(word(8), 60);
	assert_int_equal(word(12), 60);
	assert_memory_equal(got + RECORD_HEADER, frame, 60);
}

static void a_long_packet_is_there_in_segments(void **state)
{
	static const struct test_gso g = { .payload = 2500, .gso_size = 1000 };
	struct packet p = test_gso_packet(&g, frame);
	static uint8_t expected[2000];
	size_t at = 0, len;

	assert_int_equal(offload_check(&p), 0);
	read_all();
	capture_frame(t.capture, &p);
	assert_int_equal(read_all(), 3 * (RECORD_HEADER + 54) + 2500);
	for (size_t from = 0; from < 2500; from += 1000) {
		len = from < 2000 ? 1000 : 500;
		len = test_gso_build(&g, from, len, true, expected);
		assert_int_equal(word(at + 8), len);
		assert_memory_equal(got + at + RECORD_HEADER, expected, len);
		at += RECORD_HEADER + len;
	}
}

static void what_is_no_frame_is_left_out(void **state)
{
	struct packet p = packet_flat(frame, 13);

	read_all();
	capture_frame(t.capture, &p);
	p = packet_flat(frame, SEGMENT_MAX + 1);
	capture_frame(t.capture, &p);
	assert_int_equal(read_all(), 0);
}

static void what_nobody_reads_is_counted(void **state)
{
	const struct packet p = packet_flat(frame, 60000);
	size_t n = 0;

	while (t.counts.n[COUNT_UNCAPTURED] < 3 && n < 1000) {
		capture_frame(t.capture, &p);
		settle();
		n++;
	}
	assert_int_equal(t.counts.n[COUNT_UNCAPTURED], 3);
	assert_true(n > CAPTURE_BYTES / 60016);
	throw_away();
	capture_frame(t.capture, &p); /* and it goes on with whole records */
	assert_int_equal(read_all(), RECORD_HEADER + 60000);
}

static void who_leaves_ends_it(void **state)
{
	const struct packet p = packet_flat(frame, test_frame(frame, 1, 2, 60));

	read_all();
	close(t.pipe);
	t.pipe = -1;
	settle();
	assert_int_equal(t.n_over, 0); /* nobody looks, without a frame */
	capture_frame(t.capture, &p);
	settle();
	assert_int_equal(t.n_over, 1);
}

static void so_does_who_leaves_it_full(void **state)
{
	const struct packet p =
		packet_flat(frame, test_frame(frame, 1, 2, 60000));

	read_all();
	while (!t.counts.n[COUNT_UNCAPTURED]) {
		capture_frame(t.capture, &p);
		settle();
	}
	close(t.pipe);
	t.pipe = -1;
	settle();
	assert_int_equal(t.n_over, 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_file_begins_as_pcap_does),
		TEST(a_frame_is_there_as_it_was),
		TEST(a_long_packet_is_there_in_segments),
		TEST(what_is_no_frame_is_left_out),
		TEST(what_nobody_reads_is_counted),
		TEST(who_leaves_ends_it),
		TEST(so_does_who_leaves_it_full),
	};

	return cmocka_run_group_tests_name("capture", tests, NULL, NULL);
}
