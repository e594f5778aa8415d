#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "link_wire.h"
#include "port_stream.h"
#include "test_frame.h"
#include "test_port.h"

static uint8_t frame[WIRE_FRAME_MAX + 1], wire[2 * WIRE_FRAME_MAX];

static int set_up(void **state)
{
	return set_up_ports(SOCK_STREAM, port_stream_new);
}

/* Appends a frame to @wire; returns the length of all. */
static size_t add_frame(size_t at, size_t len, uint8_t fill)
{
	test_frame(frame, 1, 0, len);
	memset(frame + 14, fill, len - 14);
	wire_put32(wire + at, (uint32_t)len);
	memcpy(wire + at + 4, frame, len);
	return at + 4 + len;
}

static void put(size_t from, size_t to)
{
	assert_int_equal(send(t.qemu[0], wire + from, to - from, 0), to - from);
}

/* What came out is what went in. */
static void expect(size_t len)
{
	static uint8_t got[sizeof(wire)];
	size_t n = 0;

	for (int tries = 0; n < len && tries < 100; tries++) {
		ssize_t r =
			recv(t.qemu[1], got + n, sizeof(got) - n, MSG_DONTWAIT);

		if (r > 0)
			n += (size_t)r;
		else
			settle();
	}
	assert_int_equal(n, len);
	assert_memory_equal(got, wire, len);
	assert_int_equal(recv(t.qemu[1], got, 1, MSG_DONTWAIT), -1);
}

/* -- tests ---------------------------------------------------------------- */

static void only_stream_sockets_will_do(void **state)
{
	struct port_env env = { 0 };
	struct port *p = NULL;
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, sv), 0);
	assert_int_equal(port_stream_new(&env, 0, sv[0], &p, NULL), -EINVAL);
	assert_null(p);
	assert_int_equal(recv(sv[1], wire, 1, MSG_DONTWAIT), -1);
	assert_int_equal(close(sv[0]), -1); /* it was taken */
	close(sv[1]);
}

static void frames_may_be_split_anywhere(void **state)
{
	size_t len = add_frame(add_frame(add_frame(0, 60, 1), 14, 2), 99, 3);

	for (size_t cut = 1; cut < len; cut++) {
		put(0, cut);
		settle();
		put(cut, len);
		expect(len);
	}
	for (size_t i = 0; i < len; i++) {
		put(i, i + 1);
		settle();
	}
	expect(len);
	assert_int_equal(t.pool.n_lent, 0); /* an idle port holds nothing */
}

static void the_largest_frame_passes(void **state)
{
	size_t len = add_frame(0, 65521 + 18, 7);

	put(0, 70);
	settle();
	put(70, 30000);
	settle();
	put(30000, len);
	expect(len);
}

static void a_bad_length_ends_that_port_only(void **state)
{
	static const uint32_t bad[] = { 0, WIRE_FRAME_MAX + 1, UINT32_MAX };

	for (size_t i = 0; i < 3; i++) {
		wire_put32(wire, bad[i]);
		put(0, 4);
		settle();
		assert_non_null(strstr(t.ended[0], "out of bounds"));
		assert_null(t.ports[0]);
		assert_non_null(t.ports[1]);
		tear_down(state);
		set_up(state);
	}
}

static void the_length_is_judged_as_it_comes(void **state)
{
	uint8_t head[8] = { 0, 0, 0, 4, 1, 2, 3, 4 };

	for (size_t len = 0; len < 8; len++)
		assert_int_equal(port_stream_next(head, len), 0);
	assert_int_equal(port_stream_next(head, 8), 4);
	wire_put32(head, WIRE_FRAME_MAX);
	assert_int_equal(port_stream_next(head, 8), 0);
	wire_put32(head, WIRE_FRAME_MAX + 1);
	assert_int_equal(port_stream_next(head, 3), 0);
	assert_int_equal(port_stream_next(head, 4), -EPROTO);
}

static void a_runt_is_dropped_and_the_stream_goes_on(void **state)
{
	size_t len;

	wire_put32(wire, 13);
	put(0, 4 + 13);
	len = add_frame(0, 60, 1);
	put(0, len);
	expect(len);
	assert_int_equal(t.ports[0]->counts.n[COUNT_RUNT], 1);
}

static void qemus_end_ends_the_port(void **state)
{
	close(t.qemu[0]);
	settle();
	assert_null(t.ports[0]);
	assert_string_equal(t.ended[0], "QEMU closed it");
	t.qemu[0] = dup(t.qemu[1]);
}

/* Until nothing moves for longer than a wait. Returns the frames sent. */
static size_t flood(size_t frames, size_t len)
{
	size_t sent = 0;
	int idle = 0;

	while (sent < frames && idle < 4) {
		ssize_t n = send(t.qemu[0], wire, len, MSG_DONTWAIT);

		if (n == (ssize_t)len) {
			sent++;
			idle = 0;
			continue;
		}
		assert_int_equal(n, -1); /* a small frame goes whole */
		settle();
		if (++idle > 1)
			wait_ms(FLOW_PORT_MS);
	}
	return sent;
}

static size_t put_many(size_t frames, size_t len)
{
	size_t n = 0;

	while (n < frames &&
	       send(t.qemu[0], wire, len, MSG_DONTWAIT) == (ssize_t)len)
		n++;
	return n;
}

/* The receiver reads when the sender is stuck, and never before. */
static void one_that_keeps_up_loses_nothing(void **state)
{
	static uint8_t got[1 << 18];
	size_t len = add_frame(0, 1500, 1), sent = 0, received = 0;
	const size_t frames = 20000;

	while (received < frames * len) {
		size_t n = put_many(frames - sent, len);
		ssize_t r = 0;

		assert_int_equal(t.ports[1]->counts.n[COUNT_FULL], 0);
		sent += n;
		settle();
		if (n == 0)
			r = recv(t.qemu[1], got, sizeof(got), MSG_DONTWAIT);
		received += r > 0 ? (size_t)r : 0;
	}
	assert_int_equal(t.ports[1]->counts.n[COUNT_OUT_FRAMES], frames);
	assert_true(t.ports[0]->counts.n[COUNT_WAITED] > 0);
}

static void a_receiver_that_does_not_read_costs_a_bound(void **state)
{
	size_t len = add_frame(0, 1500, 1);
	const struct counters *c = &t.ports[1]->counts;

	assert_int_equal(flood(10000, len), 10000);
	wait_ms(FLOW_PORT_MS);
	settle();
	assert_true(c->n[COUNT_FULL] > 0);
	assert_int_equal(c->n[COUNT_FULL] + c->n[COUNT_OUT_FRAMES], 10000);
	assert_true(t.pool.n_lent * sizeof(struct buf) <=
		    PORT_QUEUE_BYTES + 4 * sizeof(struct buf));
}

static void a_receiver_that_wakes_up_gets_whole_frames(void **state)
{
	static uint8_t got[1 << 16];
	size_t len = add_frame(0, 1500, 1), n = 0, frames;
	int idle = 0;

	flood(3000, len);
	while (idle < 5) {
		ssize_t r = recv(t.qemu[1], got, sizeof(got), MSG_DONTWAIT);

		for (ssize_t i = 0; i < r; i++, n++)
			assert_int_equal(got[i], wire[n % len]);
		idle = r > 0 ? 0 : idle + 1;
		settle();
	}
	frames = t.ports[1]->counts.n[COUNT_OUT_FRAMES];
	assert_int_equal(n, frames * len);
	put(0, len); /* it keeps up again: nothing is lost */
	settle();
	assert_int_equal(recv(t.qemu[1], got, sizeof(got), MSG_DONTWAIT), len);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

static void one_that_cannot_be_watched_was_never_there(void **state)
{
	test_unwatched_port(SOCK_STREAM, port_stream_new);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_stream_sockets_will_do),
		cmocka_unit_test(one_that_cannot_be_watched_was_never_there),
		TEST(frames_may_be_split_anywhere),
		TEST(the_largest_frame_passes),
		TEST(a_bad_length_ends_that_port_only),
		cmocka_unit_test(the_length_is_judged_as_it_comes),
		TEST(a_runt_is_dropped_and_the_stream_goes_on),
		TEST(qemus_end_ends_the_port),
		TEST(one_that_keeps_up_loses_nothing),
		TEST(a_receiver_that_does_not_read_costs_a_bound),
		TEST(a_receiver_that_wakes_up_gets_whole_frames),
	};

	return cmocka_run_group_tests_name("stream", tests, NULL, NULL);
}
