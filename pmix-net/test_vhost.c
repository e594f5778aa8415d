#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "guest_mem.h"
#include "port_vhost.h"
#include "test_driver.h"
#include "test_frame.h"
#include "test_port.h"

static uint8_t frame[16384], got[16384];

/* -- the driver against a device that the test plays ----------------------- */

static struct driver *with_bare_ends(const struct driver_conf *conf)
{
	struct driver *d = NULL;
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	close(sv[1]);
	assert_int_equal(driver_new(sv[0], conf, &d, NULL), 0);
	return d;
}

/* The device uses the buffer of slot @id: @len bytes. */
static void use(struct driver *d, unsigned int ring, uint32_t id, uint32_t len)
{
	struct vring *r = driver_ring(d, ring);

	r->used->ring[r->used->idx % r->num] =
		(struct vring_used_elem){ .id = id, .len = len };
	r->used->idx++;
}

static void what_no_device_may_do_is_noticed(void **state)
{
	static const struct {
		uint32_t id, len;
		uint16_t chains;
	} bad[] = {
		{ 256, 100, 1 },	  /* no such descriptor */
		{ 0, 2049, 1 },		  /* more than the buffer */
		{ 0, DRIVER_HDR - 1, 1 }, /* no header */
		{ 0, 100, 0 },		  /* a frame in no buffer */
		{ 0, 100, 2 },		  /* not negotiated */
		{ 0, 100, DRIVER_BUFFERS_MAX + 1 },
	};
	const struct driver_conf conf = { 0 };
	struct driver_frame f;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct driver *d = with_bare_ends(&conf);
		struct virtio_net_hdr_v1 h = { .num_buffers = bad[i].chains };

		assert_int_equal(driver_recv(d, 0, &f), 0);
		memcpy(driver_buffer(d, 0, 0), &h, sizeof(h));
		use(d, 0, bad[i].id, bad[i].len);
		assert_int_equal(driver_recv(d, 0, &f), -EPROTO);
		driver_free(d);
	}
}

static void a_buffer_is_used_once(void **state)
{
	const struct virtio_net_hdr_v1 h = { .num_buffers = 1 };
	const struct driver_conf conf = { 0 };
	struct driver *d = with_bare_ends(&conf);
	struct driver_frame f;

	memcpy(driver_buffer(d, 0, 7), &h, sizeof(h));
	use(d, 0, 7, 100);
	assert_int_equal(driver_recv(d, 0, &f), 1);
	assert_int_equal(f.len, 100 - DRIVER_HDR);
	use(d, 0, 7, 100);
	assert_int_equal(driver_recv(d, 0, &f), -EPROTO);
	driver_free(d);
}

static void kicks_are_for_who_asks(void **state)
{
	const struct driver_conf conf = { 0 };
	struct driver *d = with_bare_ends(&conf);
	struct vring *r = driver_ring(d, DRIVER_TX(0));
	uint8_t *at;

	assert_false(driver_publish(d, DRIVER_TX(0))); /* nothing new */
	assert_int_equal(driver_room(d, 0, &at), 1);
	driver_post(d, 0, NULL, 60, 1);
	assert_int_equal(r->avail->idx, 0);
	assert_true(driver_publish(d, DRIVER_TX(0)));
	assert_int_equal(r->avail->idx, 1);
	r->used->flags = VRING_USED_F_NO_NOTIFY;
	assert_int_equal(driver_room(d, 0, &at), 1);
	driver_post(d, 0, NULL, 60, 1);
	assert_false(driver_publish(d, DRIVER_TX(0)));
	driver_free(d);
}

/* -- two of them, and two ports -------------------------------------------- */

static struct driver *drivers[2];

static void pump(void *arg)
{
	settle();
}

static int set_up(void **state)
{
	memset(drivers, 0, sizeof(drivers));
	return set_up_ports(SOCK_STREAM, port_vhost_new);
}

static int leave(void **state)
{
	for (int i = 0; i < 2; i++)
		driver_free(drivers[i]);
	return tear_down(state);
}

static void begin(const struct driver_conf *conf)
{
	struct driver_conf c = *conf;
	struct errmsg err = { "" };

	c.pump = pump;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(
			driver_new(dup(t.qemu[i]), &c, &drivers[i], &err), 0);
		if (driver_start(drivers[i], &err) < 0)
			fail_msg("%s", err.text);
	}
}

static void expect_at(unsigned int to, const uint8_t *what, size_t len)
{
	struct driver_frame f;

	assert_int_equal(driver_wait(drivers[to], DRIVER_RX(0), FE_WAIT_MS), 1);
	assert_int_equal(driver_recv(drivers[to], 0, &f), 1);
	assert_int_equal(f.len, len);
	assert_int_equal(driver_frame_copy(&f, got, sizeof(got)), len);
	assert_memory_equal(got, what, len);
	driver_refill(drivers[to], 0, &f);
	driver_publish(drivers[to], DRIVER_RX(0));
}

static void send_and_expect(unsigned int from, size_t len, unsigned int pieces)
{
	static uint8_t stamp;

	test_frame(frame, !from, from, len);
	memset(frame + 14, ++stamp, len - 14);
	assert_int_equal(
		driver_send(drivers[from], 0, NULL, frame, len, pieces), 0);
	expect_at(!from, frame, len);
}

/* Over the ends of the rings, with frames of every kind of length. */
static void exchange(const struct driver_conf *conf)
{
	size_t most = conf->tx_bytes ? conf->tx_bytes : 1514;
	unsigned int pieces = conf->pieces ? conf->pieces : 1;

	begin(conf);
	for (size_t i = 0; i < 1200; i++)
		send_and_expect(i % 2, 60 + i * 37 % (most - 59),
				1 + (unsigned int)(i % pieces));
}

#define EXCHANGE(name, ...)                                     \
	static void name(void **state)                          \
	{                                                       \
		exchange(&(struct driver_conf){ __VA_ARGS__ }); \
	}

EXCHANGE(frames_pass_without_any_feature, .num = 16, .no_ack = true)
EXCHANGE(frames_pass_with_the_usual_ones, .features = DRIVER_USUAL, .mtu = 1500)
EXCHANGE(frames_fill_several_buffers, .features = DRIVER_USUAL,
	 .tx_bytes = 9014, .rx_bytes = 256)
EXCHANGE(frames_come_in_pieces, .features = DRIVER_USUAL, .pieces = 5)
EXCHANGE(frames_come_by_indirect_tables, .features = DRIVER_USUAL, .pieces = 5,
	 .rx_pieces = 3, .indirect = true)
EXCHANGE(memory_may_have_holes, .regions = true, .pieces = 3)
EXCHANGE(memory_may_come_by_slots, .regions = true, .mem_slots = true)

static void the_device_takes_what_was_asked_of_it(void **state)
{
	const struct driver_conf conf = { .features = DRIVER_USUAL,
					  .mem_slots = true,
					  .pairs = 2 };

	begin(&conf);
	assert_int_equal(driver_features(drivers[0]) & DRIVER_USUAL,
			 DRIVER_USUAL);
	assert_true(driver_features(drivers[0]) & DRIVER_BIT(VIRTIO_NET_F_MQ));
	assert_true(driver_protocol(drivers[0]) &
		    DRIVER_BIT(FE_PROTOCOL_CONFIGURE_MEM_SLOTS));
	assert_true(driver_protocol(drivers[0]) &
		    DRIVER_BIT(FE_PROTOCOL_REPLY_ACK));
}

/* As when a guest is paused: what waits in the ring is sent afterwards. */
static void a_ring_goes_on_where_it_stopped(void **state)
{
	const struct driver_conf conf = { .features = DRIVER_USUAL };
	unsigned int tx = DRIVER_TX(0);
	uint16_t base = 0;

	begin(&conf);
	for (int i = 0; i < 5; i++)
		send_and_expect(0, 60, 1);
	assert_int_equal(driver_enable(drivers[0], tx, false), 0);
	assert_int_equal(driver_stop_ring(drivers[0], tx, &base), 0);
	assert_int_equal(base, 5);
	test_frame(frame, 1, 0, 200);
	assert_int_equal(driver_send(drivers[0], 0, NULL, frame, 200, 1), 0);
	settle();
	assert_int_equal(driver_wait(drivers[1], DRIVER_RX(0), 0), 0);
	assert_int_equal(driver_set_ring(drivers[0], tx, NULL), 0);
	assert_int_equal(driver_enable(drivers[0], tx, true), 0);
	expect_at(1, frame, 200);
}

/* Its rings stop, and a new driver, here the firmware's, begins at 0. */
static void a_guest_that_reboots_goes_on(void **state)
{
	const struct driver_conf conf = { .features = DRIVER_USUAL };
	uint16_t base = 0;

	begin(&conf);
	for (int i = 0; i < 5; i++)
		send_and_expect(i % 2, 60, 1);
	for (unsigned int ring = 0; ring < 2; ring++) {
		assert_int_equal(driver_enable(drivers[0], ring, false), 0);
		assert_int_equal(driver_stop_ring(drivers[0], ring, &base), 0);
	}
	test_frame(frame, 0, 1, 60); /* for nobody */
	assert_int_equal(driver_send(drivers[1], 0, NULL, frame, 60, 1), 0);
	settle();
	assert_int_equal(t.ports[0]->counts.n[COUNT_DOWN], 1);
	assert_int_equal(driver_negotiate(drivers[0], NULL), 0);
	for (unsigned int ring = 0; ring < 2; ring++) {
		assert_int_equal(driver_set_ring(drivers[0], ring, NULL), 0);
		assert_int_equal(driver_enable(drivers[0], ring, true), 0);
	}
	for (int i = 0; i < 5; i++)
		send_and_expect(i % 2, 60, 1);
}

static void flood_until_dropped(uint64_t dropped)
{
	const uint64_t *n = &t.ports[1]->counts.n[COUNT_FULL];
	int64_t until = loop_now_ms() + FE_WAIT_MS;

	test_frame(frame, 1, 0, 60);
	while (*n < dropped) {
		driver_send(drivers[0], 0, NULL, frame, 60, 1);
		wait_ms(1);
		assert_true(loop_now_ms() < until);
	}
}

static void take_all(unsigned int at)
{
	struct driver_frame f;

	while (driver_recv(drivers[at], 0, &f) == 1)
		driver_refill(drivers[at], 0, &f);
	driver_publish(drivers[at], DRIVER_RX(0));
}

/* A driver is asked for a kick once; what there is no room for until then is
 * dropped without another word. */
static void a_full_ring_is_armed_once(void **state)
{
	const struct driver_conf conf = { .features = DRIVER_USUAL, .num = 16 };
	uint16_t *asked, untouched = 0x5555;

	begin(&conf);
	asked = &vring_avail_event(driver_ring(drivers[1], DRIVER_RX(0)));
	flood_until_dropped(1);
	assert_int_not_equal(*asked, untouched);
	*asked = untouched;
	flood_until_dropped(50);
	assert_int_equal(*asked, untouched);
	take_all(1);
	driver_kick(drivers[1], DRIVER_RX(0));
	settle();
	take_all(1);
	for (int i = 0; i < 50; i++)
		send_and_expect(i % 2, 60, 1);
}

static void a_front_end_that_hangs_up_ends_its_port_only(void **state)
{
	const struct driver_conf conf = { .features = DRIVER_USUAL };

	begin(&conf);
	driver_free(drivers[0]);
	drivers[0] = NULL;
	assert_int_equal(shutdown(t.qemu[0], SHUT_RDWR), 0);
	settle();
	assert_null(t.ports[0]);
	assert_non_null(t.ports[1]);
}

static void a_message_that_is_none_ends_its_port_only(void **state)
{
	const struct driver_conf conf = { .features = DRIVER_USUAL };
	static const uint8_t bytes[64] = { 0xff, 0xff, 0xff, 0xff };

	begin(&conf);
	assert_int_equal(
		fe_send(driver_fe(drivers[0]), bytes, sizeof(bytes), NULL, 0),
		0);
	assert_true(fe_hung_up(driver_fe(drivers[0])));
	assert_null(t.ports[0]);
	assert_non_null(t.ports[1]);
}

static void a_bad_descriptor_ends_its_port_only(void **state)
{
	const struct driver_conf conf = { .features = DRIVER_USUAL };

	begin(&conf);
	send_and_expect(0, 60, 1);
	/* the next slot's buffer is nowhere */
	driver_ring(drivers[0], DRIVER_TX(0))->desc[1].addr = 1;
	assert_int_equal(driver_send(drivers[0], 0, NULL, frame, 60, 1), 0);
	assert_true(fe_hung_up(driver_fe(drivers[0])));
	assert_non_null(strstr(t.ended[0], "outside the guest's memory"));
	assert_non_null(t.ports[1]);
}

/* Memory that is cut while frames flow, as the sender's and the receiver's. */
static void cut_while_frames_flow(unsigned int cut, size_t left)
{
	const struct driver_conf conf = { .features = DRIVER_USUAL,
					  .unsealed = true };
	struct port *others[2] = { t.ports[0], t.ports[1] };

	begin(&conf);
	for (int i = 0; i < 10; i++)
		send_and_expect(0, 1500, 1);
	test_frame(frame, 1, 0, 1500);
	for (int i = 0; i < 100; i++) /* on their way */
		driver_send(drivers[0], 0, NULL, frame, 1500, 1);
	/* we do not map what is not there any more */
	assert_int_equal(ftruncate(driver_memory_fd(drivers[cut]), (off_t)left),
			 0);
	settle();
	assert_null(t.ports[cut]);
	assert_string_equal(t.ended[cut], GUEST_MEM_GONE);
	assert_ptr_equal(t.ports[!cut], others[!cut]);
	assert_int_equal(t.counts[cut].n[COUNT_MEMORY_GONE], 1);
}

static void a_sender_that_cuts_its_memory_loses_its_port_only(void **state)
{
	cut_while_frames_flow(0, 0);
}

static void so_does_a_receiver(void **state)
{
	cut_while_frames_flow(1, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, leave)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_no_device_may_do_is_noticed),
		cmocka_unit_test(a_buffer_is_used_once),
		cmocka_unit_test(kicks_are_for_who_asks),
		TEST(frames_pass_without_any_feature),
		TEST(frames_pass_with_the_usual_ones),
		TEST(frames_fill_several_buffers),
		TEST(frames_come_in_pieces),
		TEST(frames_come_by_indirect_tables),
		TEST(memory_may_have_holes),
		TEST(memory_may_come_by_slots),
		TEST(the_device_takes_what_was_asked_of_it),
		TEST(a_ring_goes_on_where_it_stopped),
		TEST(a_guest_that_reboots_goes_on),
		TEST(a_full_ring_is_armed_once),
		TEST(a_front_end_that_hangs_up_ends_its_port_only),
		TEST(a_message_that_is_none_ends_its_port_only),
		TEST(a_bad_descriptor_ends_its_port_only),
		TEST(a_sender_that_cuts_its_memory_loses_its_port_only),
		TEST(so_does_a_receiver),
	};

	return cmocka_run_group_tests_name("vhost", tests, NULL, NULL);
}
