#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <cmocka.h>

#include "guest_mem.h"
#include "port_vhost.h"
#include "test_driver.h"
#include "test_frame.h"
#include "test_port.h"
#include "vhost.h"

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

/* -- what a front end may not say ------------------------------------------ */

enum fd_kind { NO_FD, EVENT, MEMORY, PIPE };

#define PAGES	     4 /* of MEMORY */
#define PAGE	     4096ull
#define FAR	     (1ull << 40) /* where the driver has no memory */
#define STATE(i, n)  .state = { (i), (n) }
#define RING(i, ...) .addr = { .index = (i), __VA_ARGS__ }
#define TABLE(...)   .memory = { __VA_ARGS__ }
#define REGION(...)  .mem_reg = { .region = { __VA_ARGS__ } }

/* Each by itself, after all that is usual was said. */
static const struct {
	const char *why; /* of the port's end */
	struct fe_msg msg;
	unsigned int n_fds;
	enum fd_kind kind;
} hostile[] = {
	{ "flags 0", { .request = FE_GET_FEATURES } },
	{ "flags 0x2", { FE_GET_FEATURES, 2 } },
	{ "flags 0x5", { FE_GET_FEATURES, FE_VERSION | FE_REPLY } },
	{ "request 0 is not known", { 0, FE_VERSION } },
	{ "request 19 is not known", { FE_SEND_RARP, FE_VERSION, 8 } },
	{ "request 21 is not known", { FE_SET_BACKEND_REQ_FD, FE_VERSION } },
	{ "request 4294967295 is not known", { UINT32_MAX, FE_VERSION } },
	{ "4 bytes", { FE_SET_FEATURES, FE_VERSION, 4 } },
	{ "8 bytes", { FE_SET_VRING_ADDR, FE_VERSION, 8 } },
	{ "40 bytes", { FE_SET_LOG_BASE, FE_VERSION, 40 } },
	{ "265 bytes", { FE_SET_MEM_TABLE, FE_VERSION, 265 } },
	{ "features 0x8000000000000000 were not offered",
	  { FE_SET_FEATURES, FE_VERSION, 8, .u64 = 1ull << 63 } },
	{ "protocol features 0x20 were not offered",
	  { FE_SET_PROTOCOL_FEATURES, FE_VERSION, 8,
	    .u64 = 1u << FE_PROTOCOL_BACKEND_REQ } },
	{ "ring 99: there are",
	  { FE_SET_VRING_NUM, FE_VERSION, 8, STATE(99, 256) } },
	{ "ring 99: there are",
	  { FE_SET_VRING_BASE, FE_VERSION, 8, STATE(99, 0) } },
	{ "ring 99: there are",
	  { FE_GET_VRING_BASE, FE_VERSION, 8, STATE(99, 0) } },
	{ "ring 99: there are",
	  { FE_SET_VRING_ENABLE, FE_VERSION, 8, STATE(99, 1) } },
	{ "ring 4294967295: there are",
	  { FE_SET_VRING_ADDR, FE_VERSION, 40, RING(UINT32_MAX) } },
	{ "ring 99: there are",
	  { FE_SET_VRING_KICK, FE_VERSION, 8, .u64 = 99 },
	  1,
	  EVENT },
	{ "ring 99: there are",
	  { FE_SET_VRING_CALL, FE_VERSION, 8, .u64 = 99 },
	  1,
	  EVENT },
	{ "a new size for a running ring",
	  { FE_SET_VRING_NUM, FE_VERSION, 8, STATE(0, 128) } },
	{ "a new base for a running ring",
	  { FE_SET_VRING_BASE, FE_VERSION, 8, STATE(1, 7) } },
	{ "ring 0",
	  { FE_SET_VRING_ADDR, FE_VERSION, 40,
	    RING(0, .desc_user_addr = FAR, .used_user_addr = FAR,
		 .avail_user_addr = FAR) } },
	{ "ring 1 without its descriptor",
	  { FE_SET_VRING_KICK, FE_VERSION, 8, .u64 = 1 } },
	{ "ring 1 without its descriptor",
	  { FE_SET_VRING_CALL, FE_VERSION, 8, .u64 = 1 } },
	{ "ring 1 without its descriptor",
	  { FE_SET_VRING_CALL, FE_VERSION, 8, .u64 = 1 | FE_NO_FD },
	  1,
	  EVENT },
	{ "ring 1 is to be polled",
	  { FE_SET_VRING_KICK, FE_VERSION, 8, .u64 = 1 | FE_NO_FD } },
	{ "an MTU of 65535", { FE_NET_SET_MTU, FE_VERSION, 8, .u64 = 65535 } },
	{ "a table of 9 memory regions with 8 descriptors",
	  { FE_SET_MEM_TABLE, FE_VERSION, 264, TABLE(9) },
	  9,
	  MEMORY },
	{ "a table of 1 memory regions with 0 descriptors",
	  { FE_SET_MEM_TABLE, FE_VERSION, 40, TABLE(1) } },
	{ "a table of 1 memory regions with 1 descriptors in 72 bytes",
	  { FE_SET_MEM_TABLE, FE_VERSION, 72, TABLE(1) },
	  1,
	  MEMORY },
	{ "a memory region of 0 bytes",
	  { FE_SET_MEM_TABLE, FE_VERSION, 40,
	    TABLE(1, 0, { { .gpa = PAGE } }) },
	  1,
	  MEMORY },
	{ "cannot be", /* it goes around the end of the guest's memory */
	  { FE_SET_MEM_TABLE, FE_VERSION, 40,
	    TABLE(1, 0, { { .gpa = -PAGE, .bytes = 2 * PAGE } }) },
	  1,
	  MEMORY },
	{ "cannot be", /* ... the front end's */
	  { FE_SET_MEM_TABLE, FE_VERSION, 40,
	    TABLE(1, 0, { { .user = -PAGE, .bytes = 2 * PAGE } }) },
	  1,
	  MEMORY },
	{ "cannot be", /* ... the file's */
	  { FE_SET_MEM_TABLE, FE_VERSION, 40,
	    TABLE(1, 0, { { .bytes = 2 * PAGE, .offset = -PAGE } }) },
	  1,
	  MEMORY },
	{ "does not begin with a page",
	  { FE_SET_MEM_TABLE, FE_VERSION, 40,
	    TABLE(1, 0, { { .gpa = 1, .bytes = PAGE } }) },
	  1,
	  MEMORY },
	{ "a memory region ends at 20480 of a file of 16384 bytes",
	  { FE_SET_MEM_TABLE, FE_VERSION, 40,
	    TABLE(1, 0, { { .bytes = 4 * PAGE, .offset = PAGE } }) },
	  1,
	  MEMORY },
	{ "overlap",
	  { FE_SET_MEM_TABLE, FE_VERSION, 72,
	    TABLE(2, 0,
		  { { .gpa = FAR, .bytes = 2 * PAGE, .user = FAR },
		    { .gpa = FAR + PAGE, .bytes = PAGE } }) },
	  2,
	  MEMORY },
	{ "no file in memory",
	  { FE_SET_MEM_TABLE, FE_VERSION, 40,
	    TABLE(1, 0, { { .bytes = PAGE } }) },
	  1,
	  PIPE },
	{ "ring 0", /* whose memory is gone */
	  { FE_SET_MEM_TABLE, FE_VERSION, 40,
	    TABLE(1, 0, { { .gpa = FAR, .bytes = PAGE, .user = FAR } }) },
	  1,
	  MEMORY },
	{ "a memory region without its descriptor",
	  { FE_ADD_MEM_REG, FE_VERSION, 40,
	    REGION(.gpa = FAR, .bytes = PAGE, .user = FAR) } },
	{ "no file in memory",
	  { FE_ADD_MEM_REG, FE_VERSION, 40,
	    REGION(.gpa = FAR, .bytes = PAGE, .user = FAR) },
	  1,
	  PIPE },
	{ "a memory region that is not there",
	  { FE_REM_MEM_REG, FE_VERSION, 40,
	    REGION(.gpa = FAR, .bytes = PAGE, .user = FAR) } },
	{ "a dirty-page log without its descriptor",
	  { FE_SET_LOG_BASE, FE_VERSION, 16, .log = { PAGE, 0 } } },
	{ "a dirty-page log of 0 bytes",
	  { FE_SET_LOG_BASE, FE_VERSION, 16, .log = { 0, 0 } },
	  1,
	  MEMORY },
	{ "dirty-page log: a memory region ends at 20480",
	  { FE_SET_LOG_BASE, FE_VERSION, 16, .log = { PAGES * PAGE, PAGE } },
	  1,
	  MEMORY },
	{ "dirty-page log: guest memory is no file in memory",
	  { FE_SET_LOG_BASE, FE_VERSION, 16, .log = { PAGE, 0 } },
	  1,
	  PIPE },
};

static int open_kind(enum fd_kind kind)
{
	int ends[2], fd;

	if (kind == EVENT)
		return eventfd(0, EFD_CLOEXEC);
	if (kind == PIPE) {
		assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
		close(ends[0]);
		return ends[1];
	}
	fd = memfd_create("test", MFD_CLOEXEC);
	assert_int_equal(ftruncate(fd, PAGES * PAGE), 0);
	return fd;
}

static void say_with(struct fe *fe, const struct fe_msg *msg, enum fd_kind kind,
		     unsigned int n)
{
	int fds[FE_FDS_MAX];

	for (unsigned int i = 0; i < n; i++) {
		fds[i] = open_kind(kind);
		assert_true(fds[i] >= 0);
	}
	assert_int_equal(fe_send(fe, msg, FE_HEADER + msg->size, fds, n), 0);
	while (n)
		close(fds[--n]);
}

static void a_hostile_message_ends_its_port_only(void **state)
{
	const struct driver_conf conf = { .features = DRIVER_USUAL };

	for (size_t i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++) {
		uint64_t features;

		set_up(state);
		begin(&conf);
		send_and_expect(0, 60, 1);
		say_with(driver_fe(drivers[0]), &hostile[i].msg,
			 hostile[i].kind, hostile[i].n_fds);
		assert_true(fe_hung_up(driver_fe(drivers[0])));
		assert_null(t.ports[0]);
		if (!strstr(t.ended[0], hostile[i].why))
			fail_msg("%zu: '%s', not '%s'", i, t.ended[0],
				 hostile[i].why);
		assert_non_null(t.ports[1]);
		assert_int_equal(fe_ask_u64(driver_fe(drivers[1]),
					    FE_GET_FEATURES, &features),
				 0);
		leave(state);
	}
}

/* -- what it seldom says --------------------------------------------------- */

static void a_message_may_come_in_pieces(void **state)
{
	const struct driver_conf conf = { .features = DRIVER_USUAL };
	struct fe_msg msg = { FE_SET_VRING_ENABLE, FE_VERSION | FE_NEED_REPLY,
			      8, STATE(0, 1) };
	struct fe *fe;

	begin(&conf);
	fe = driver_fe(drivers[0]);
	for (size_t i = 0; i < FE_HEADER + msg.size; i++) {
		assert_int_equal(fe_send(fe, (uint8_t *)&msg + i, 1, NULL, 0),
				 0);
		settle();
	}
	assert_int_equal(fe_recv(fe, &msg), 0);
	assert_int_equal(msg.u64, 0);
	send_and_expect(1, 60, 1);
}

/* Its rings stop while they are nowhere. */
static void memory_that_went_may_come_back(void **state)
{
	const struct driver_conf conf = { .features = DRIVER_USUAL,
					  .mem_slots = true };
	const struct fe_region *regions;
	struct fe_msg msg = { 0 };
	struct fe *fe;
	int fd;

	begin(&conf);
	fe = driver_fe(drivers[0]);
	assert_int_equal(driver_regions(drivers[0], &regions), 1);
	fd = driver_memory_fd(drivers[0]);
	send_and_expect(1, 60, 1);
	msg.mem_reg.region = regions[0];
	assert_int_equal(fe_tell(fe, &msg, FE_REM_MEM_REG, 40, NULL, 0), 0);
	test_frame(frame, 0, 1, 60); /* for nobody */
	assert_int_equal(driver_send(drivers[1], 0, NULL, frame, 60, 1), 0);
	settle();
	assert_int_equal(t.ports[0]->counts.n[COUNT_DOWN], 1);
	msg.mem_reg.region = regions[0];
	assert_int_equal(fe_tell(fe, &msg, FE_ADD_MEM_REG, 40, &fd, 1), 0);
	for (int i = 0; i < 5; i++)
		send_and_expect(i % 2, 60, 1);
}

static void a_front_end_may_leave_and_begin_again(void **state)
{
	const struct driver_conf conf = { .features = DRIVER_USUAL };
	struct fe_msg msg = { 0 };

	begin(&conf);
	send_and_expect(0, 60, 1);
	assert_int_equal(fe_tell(driver_fe(drivers[0]), &msg, FE_RESET_OWNER, 0,
				 NULL, 0),
			 0);
	test_frame(frame, 0, 1, 60);
	assert_int_equal(driver_send(drivers[1], 0, NULL, frame, 60, 1), 0);
	settle();
	assert_int_equal(t.ports[0]->counts.n[COUNT_DOWN], 1);
	for (unsigned int ring = 0; ring < 2; ring++)
		assert_int_equal(driver_enable(drivers[0], ring, true), 0);
	for (int i = 0; i < 5; i++)
		send_and_expect(i % 2, 60, 1);
}

static bool is_marked(const uint8_t *log, uint64_t at)
{
	return log[at / PAGE / 8] & (1u << at / PAGE % 8);
}

#define LOG_BYTES 65536ull /* of two gigabytes: a bit each page */

/* As when the VM is moved while it runs. */
static void a_log_has_the_pages_that_were_written(void **state)
{
	const struct driver_conf conf = { .features = DRIVER_USUAL };
	struct fe_msg msg = { FE_SET_LOG_BASE, FE_VERSION, 16,
			      .log = { LOG_BYTES, 0 } };
	int fd = open_kind(MEMORY);
	const uint8_t *log;
	struct driver_frame f;
	uint64_t buffer, sent;

	assert_int_equal(ftruncate(fd, LOG_BYTES), 0);
	log = mmap(NULL, LOG_BYTES, PROT_READ, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(log, MAP_FAILED);
	begin(&conf);
	send_and_expect(1, 60, 1);
	assert_int_equal(fe_send(driver_fe(drivers[0]), &msg,
				 FE_HEADER + msg.size, &fd, 1),
			 0);
	assert_int_equal(fe_recv(driver_fe(drivers[0]), &msg), 0);
	assert_int_equal(msg.request, FE_SET_LOG_BASE);
	test_frame(frame, 0, 1, 60);
	assert_int_equal(driver_send(drivers[1], 0, NULL, frame, 60, 1), 0);
	assert_int_equal(driver_wait(drivers[0], DRIVER_RX(0), FE_WAIT_MS), 1);
	assert_int_equal(driver_recv(drivers[0], 0, &f), 1);
	buffer = driver_gpa(drivers[0], f.piece[0].iov_base);
	sent = driver_gpa(drivers[0],
			  driver_buffer(drivers[0], DRIVER_TX(0), 3));
	assert_true(is_marked(log, buffer));
	assert_false(is_marked(log, sent)); /* we only read there */
	munmap((void *)(uintptr_t)log, LOG_BYTES);
	close(fd);
}

static void only_a_stream_of_this_node_is_a_port(void **state)
{
	const int kinds[][2] = { { AF_UNIX, SOCK_DGRAM },
				 { AF_INET, SOCK_STREAM } };
	struct vhost *v = NULL;
	struct errmsg err;

	for (int i = 0; i < 2; i++) {
		struct vhost_conf conf = { .fd = socket(kinds[i][0],
							kinds[i][1], 0) };

		assert_true(conf.fd >= 0);
		assert_int_equal(vhost_new(&conf, &v, &err), -EINVAL);
		assert_non_null(strstr(err.text, "not a unix stream socket"));
		close(conf.fd);
	}
	assert_int_equal(vhost_new(&(struct vhost_conf){ .fd = -1 }, &v, &err),
			 -EBADF);
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
		cmocka_unit_test(a_hostile_message_ends_its_port_only),
		TEST(a_message_may_come_in_pieces),
		TEST(memory_that_went_may_come_back),
		TEST(a_front_end_may_leave_and_begin_again),
		TEST(a_log_has_the_pages_that_were_written),
		cmocka_unit_test(only_a_stream_of_this_node_is_a_port),
	};

	return cmocka_run_group_tests_name("vhost", tests, NULL, NULL);
}
