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
#include "port_dgram.h"
#include "test_frame.h"
#include "test_port.h"

static uint8_t frame[256 * 1024], got[256 * 1024];

static int set_up(void **state)
{
	int bytes = 1 << 20, r = set_up_ports(SOCK_DGRAM, port_dgram_new);

	setsockopt(t.qemu[0], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	return r;
}

/* A frame from rank 0 to rank 1. */
static bool put(size_t len, uint8_t fill)
{
	test_frame(frame, 1, 0, len < 14 ? 14 : len);
	if (len > 14)
		memset(frame + 14, fill, len - 14);
	return send(t.qemu[0], frame, len, MSG_DONTWAIT) == (ssize_t)len;
}

static ssize_t get(void)
{
	return recv(t.qemu[1], got, sizeof(got), MSG_DONTWAIT);
}

static void expect(size_t len, uint8_t fill)
{
	ssize_t n = get();

	for (int tries = 0; n < 0 && tries < 100; tries++) {
		settle();
		n = get();
	}
	assert_int_equal(n, len);
	assert_int_equal(got[5], 1);
	assert_int_equal(got[14], fill);
	assert_int_equal(got[len - 1], fill);
}

/* -- tests ---------------------------------------------------------------- */

static void only_datagram_sockets_will_do(void **state)
{
	struct port_env env = { 0 };
	struct port *p = NULL;
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	assert_int_equal(port_dgram_new(&env, 0, sv[0], &p, NULL), -EINVAL);
	assert_null(p);
	assert_int_equal(close(sv[0]), -1); /* it was taken */
	close(sv[1]);
}

static void what_is_no_frame_is_dropped(void **state)
{
	const struct counters *c = &t.ports[0]->counts;

	assert_true(put(0, 0));
	assert_true(put(13, 0));
	assert_true(put(65521 + 19, 2));
	assert_true(put(sizeof(((struct buf *)0)->data) + 1, 3));
	assert_true(put(60, 4));
	expect(60, 4);
	assert_int_equal(get(), -1);
	assert_int_equal(c->n[COUNT_RUNT], 2);
	assert_int_equal(c->n[COUNT_OVERSIZE], 2);
}

static void a_frame_that_the_socket_cannot_take_is_dropped(void **state)
{
	int bytes = 2304;

	assert_int_equal(setsockopt(t.net[1], SOL_SOCKET, SO_SNDBUF, &bytes,
				    sizeof(bytes)),
			 0);
	assert_true(put(9000, 1));
	assert_true(put(60, 2));
	expect(60, 2);
	assert_int_equal(t.ports[1]->counts.n[COUNT_TOO_BIG], 1);
}

static void a_qemu_that_is_gone_is_noticed_by_sending(void **state)
{
	close(t.qemu[1]);
	settle();
	assert_non_null(t.ports[1]);
	assert_true(put(60, 1));
	assert_true(put(60, 1));
	settle();
	assert_null(t.ports[1]);
	assert_string_equal(t.ended[1], "QEMU closed it");
	assert_true(put(60, 1));
	settle();
	assert_int_equal(t.ports[0]->counts.n[COUNT_NO_PORT], 1);
	t.qemu[1] = dup(t.qemu[0]);
}

static void each_frame_is_a_datagram(void **state)
{
	static const size_t lens[] = { 60, 15, 1514, 65521 + 18, 99 };

	for (size_t i = 0; i < 5; i++)
		assert_true(put(lens[i], (uint8_t)i));
	for (size_t i = 0; i < 5; i++)
		expect(lens[i], (uint8_t)i);
	assert_int_equal(get(), -1);
	for (int i = 0; i < 100; i++)
		assert_true(put(60 + (size_t)i, (uint8_t)i));
	for (int i = 0; i < 100; i++)
		expect(60 + (size_t)i, (uint8_t)i);
	settle();
	assert_int_equal(t.pool.n_lent, 0); /* an idle port holds nothing */
}

/* The receiver reads when the sender is stuck, and never before. */
static void one_that_keeps_up_loses_nothing(void **state)
{
	const unsigned int frames = 20000;
	unsigned int sent = 0, received = 0;

	while (received < frames) {
		assert_int_equal(t.ports[1]->counts.n[COUNT_FULL], 0);
		bool stuck = sent == frames || !put(1500, (uint8_t)sent);

		sent += !stuck;
		if (!stuck && sent % 16)
			continue;
		settle();
		while (stuck && get() == 1500)
			assert_int_equal(got[14], (uint8_t)received++);
	}
	assert_int_equal(t.ports[1]->counts.n[COUNT_OUT_FRAMES], frames);
	assert_true(t.ports[0]->counts.n[COUNT_WAITED] > 0);
}

/* Until @frames are sent, waiting where that helps. */
static void flood(unsigned int frames)
{
	for (unsigned int sent = 0; sent < frames;) {
		if (put(1500, 1)) {
			sent++;
			continue;
		}
		settle();
		if (!put(1500, 1))
			wait_ms(FLOW_PORT_MS);
		else
			sent++;
	}
	wait_ms(FLOW_PORT_MS);
	settle();
}

static void a_receiver_that_does_not_read_costs_a_bound(void **state)
{
	const struct counters *c = &t.ports[1]->counts;

	flood(10000);
	assert_true(c->n[COUNT_FULL] > 0);
	assert_int_equal(c->n[COUNT_FULL] + c->n[COUNT_OUT_FRAMES], 10000);
	assert_true(t.pool.n_lent * sizeof(struct buf) <=
		    PORT_QUEUE_BYTES + 4 * sizeof(struct buf));
}

static void a_receiver_that_wakes_up_gets_all_that_was_taken(void **state)
{
	size_t n = 0;

	flood(3000);
	for (int idle = 0; idle < 5; idle++)
		for (settle(); get() == 1500; idle = 0)
			n++;
	assert_int_equal(n, t.ports[1]->counts.n[COUNT_OUT_FRAMES]);
	assert_true(put(60, 9)); /* it keeps up again: nothing is lost */
	expect(60, 9);
}

static void a_port_may_go_while_its_frame_waits(void **state)
{
	for (int i = 0; i < 10000 && !t.ports[0]->counts.n[COUNT_WAITED]; i++) {
		put(1500, 1);
		settle();
	}
	assert_int_equal(t.ports[0]->counts.n[COUNT_WAITED], 1);
	port_free(t.ports[0]);
	t.ports[0] = NULL;
	wait_ms(FLOW_PORT_MS);
	port_free(t.ports[1]);
	t.ports[1] = NULL;
	assert_int_equal(t.pool.n_lent, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

static void one_that_cannot_be_watched_was_never_there(void **state)
{
	test_unwatched_port(SOCK_DGRAM, port_dgram_new);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_datagram_sockets_will_do),
		cmocka_unit_test(one_that_cannot_be_watched_was_never_there),
		TEST(what_is_no_frame_is_dropped),
		TEST(a_frame_that_the_socket_cannot_take_is_dropped),
		TEST(a_qemu_that_is_gone_is_noticed_by_sending),
		TEST(each_frame_is_a_datagram),
		TEST(one_that_keeps_up_loses_nothing),
		TEST(a_receiver_that_does_not_read_costs_a_bound),
		TEST(a_receiver_that_wakes_up_gets_all_that_was_taken),
		TEST(a_port_may_go_while_its_frame_waits),
	};

	return cmocka_run_group_tests_name("dgram", tests, NULL, NULL);
}
