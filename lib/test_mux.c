#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>
#include <cmocka.h>

#include "cleanup.h"
#include "crc32c.h"
#include "frame.h"
#include "mux.h"

/* Two muxes, a and b, over a socketpair; or a alone, and the test writes and
 * reads b's frames itself ("by hand"). */

enum callback { UP, DOWN, CTRL, DONE, PONG, CLOSED };

struct end {
	struct mux *mux;
	int n[CLOSED + 1]; /* callbacks so far */
	int free_in;	   /* free the mux in this one; -1: never */
	char *ctrl;	   /* the last message */
	size_t ctrl_len;
	char why[ERRMSG_MAX];
	unsigned int done_chan;
	int done_error;
	int64_t rtt_us;
	uint8_t boot_id[FRAME_BOOT_ID_LEN];
};

struct fixture {
	struct loop *loop;
	struct loop_timer *tick;
	int port[2];
	struct end a, b;
	uint8_t nonce[FRAME_NONCE_LEN]; /* of the end by hand */
	uint8_t peer[FRAME_NONCE_LEN];	/* a's, as seen by hand */
};

static void count(struct end *e, enum callback what)
{
	e->n[what]++;
	if (e->free_in == (int)what)
		mux_free(TAKE_PTR(e->mux));
}

static void on_up(const struct mux_peer *peer, void *arg)
{
	struct end *e = arg;

	memcpy(e->boot_id, peer->boot_id, sizeof(e->boot_id));
	count(e, UP);
}

static void on_down(const char *why, void *arg)
{
	struct end *e = arg;

	snprintf(e->why, sizeof(e->why), "%s", why);
	count(e, DOWN);
}

static void on_ctrl(const char *text, size_t len, void *arg)
{
	struct end *e = arg;

	assert_int_equal(text[len], '\0');
	free(e->ctrl);
	e->ctrl = malloc(len + 1);
	memcpy(e->ctrl, text, len + 1);
	e->ctrl_len = len;
	count(e, CTRL);
}

static void on_closed(const char *why, void *arg)
{
	count(arg, CLOSED);
}

static void on_done(unsigned int chan, int error, void *arg)
{
	struct end *e = arg;

	e->done_chan = chan;
	e->done_error = error;
	count(e, DONE);
}

static void on_pong(int64_t rtt_us, void *arg)
{
	struct end *e = arg;

	e->rtt_us = rtt_us;
	count(e, PONG);
}

static const struct mux_ops ops = { on_up, on_down, on_ctrl, on_closed };

static void on_tick(void *arg)
{
	loop_stop(arg, 0);
}

/* One round of the loop, a millisecond long at the most. */
static void spin(struct fixture *f)
{
	loop_timer_set(f->tick, 1);
	assert_int_equal(loop_run(f->loop), 0);
}

#define WAIT_FOR(f, condition)                             \
	do {                                               \
		int64_t end_ = loop_now_ms() + 60000;      \
		while (!(condition)) {                     \
			assert_true(loop_now_ms() < end_); \
			spin(f);                           \
		}                                          \
	} while (0)

/* So many turns at the least, however long the machine makes each. */
static void settle(struct fixture *f)
{
	int64_t end = loop_now_ms() + 40;

	for (int i = 0; i < 40 || loop_now_ms() < end; i++)
		spin(f);
}

static void open_port(struct fixture *f)
{
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, f->port), 0);
}

static void start(struct fixture *f, struct end *e, int fd)
{
	assert_int_equal(mux_new(f->loop, fd, &ops, e, &e->mux, NULL), 0);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	signal(SIGPIPE, SIG_IGN);
	*state = f;
	f->a.free_in = f->b.free_in = -1;
	memset(f->nonce, 'n', sizeof(f->nonce));
	if (loop_new(&f->loop, NULL) < 0 ||
	    loop_timer_add(f->loop, -1, on_tick, f->loop, &f->tick) < 0)
		return -1;
	open_port(f);
	return 0;
}

/* Both are up. */
static int setup_pair(void **state)
{
	struct fixture *f;

	if (setup(state) < 0)
		return -1;
	f = *state;
	start(f, &f->a, f->port[0]);
	start(f, &f->b, f->port[1]);
	WAIT_FOR(f, f->a.n[UP] && f->b.n[UP]);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	mux_free(f->a.mux);
	mux_free(f->b.mux);
	loop_free(f->loop);
	free(f->a.ctrl);
	free(f->b.ctrl);
	for (int i = 0; i < 2; i++)
		if (f->port[i] >= 0)
			close(f->port[i]);
	free(f);
	return 0;
}

/* -- by hand --------------------------------------------------------------- */

static void hand_write(struct fixture *f, const void *p, size_t len)
{
	assert_int_equal(write(f->port[1], p, len), len);
}

static void hand_send(struct fixture *f, struct frame h, const void *payload)
{
	uint8_t bytes[FRAME_MAX];

	frame_encode(&h, bytes);
	if (h.length)
		memcpy(bytes + FRAME_HEADER, payload, h.length);
	hand_write(f, bytes, FRAME_HEADER + h.length);
}

/* The next frame of @a but SYNC, which is remembered. */
static struct frame hand_read(struct fixture *f, uint8_t payload[FRAME_MAX],
			      bool sync_too)
{
	uint8_t bytes[FRAME_HEADER];
	struct frame h;
	struct frame_sync s;
	int n = 0;

	do {
		WAIT_FOR(f, ioctl(f->port[1], FIONREAD, &n) == 0 &&
				    n >= FRAME_HEADER);
		assert_int_equal(read(f->port[1], bytes, sizeof(bytes)),
				 sizeof(bytes));
		assert_int_equal(frame_decode(bytes, &h, NULL), 0);
		WAIT_FOR(f, ioctl(f->port[1], FIONREAD, &n) == 0 &&
				    n >= (int)h.length);
		assert_int_equal(read(f->port[1], payload, h.length), h.length);
		if (h.type == FRAME_SYNC) {
			frame_sync_decode(payload, &s);
			memcpy(f->peer, s.nonce, sizeof(s.nonce));
		}
	} while (h.type == FRAME_SYNC && !sync_too);
	return h;
}

static void hand_sync(struct fixture *f, struct frame_sync s, uint8_t flags)
{
	uint8_t bytes[FRAME_SYNC_LEN];

	memcpy(s.nonce, f->nonce, sizeof(s.nonce));
	memcpy(s.echo, f->peer, sizeof(s.echo));
	frame_sync_encode(&s, bytes);
	hand_send(f, (struct frame){ FRAME_SYNC, flags, 0, sizeof(bytes) },
		  bytes);
}

static const struct frame_sync proper = { .proto_min = 1,
					  .proto_max = 1,
					  .max_frame = FRAME_MAX };

/* Answer what a asks until it is up; what it said before that is skipped. */
static void hand_up(struct fixture *f)
{
	uint8_t payload[FRAME_MAX];
	int ups = f->a.n[UP];

	while (f->a.n[UP] == ups) {
		struct frame h = hand_read(f, payload, true);

		if (h.type == FRAME_SYNC && h.flags & FRAME_ASK)
			hand_sync(f, proper, 0);
		settle(f);
	}
}

static int setup_hand(void **state)
{
	struct fixture *f;

	if (setup(state) < 0)
		return -1;
	f = *state;
	start(f, &f->a, f->port[0]);
	hand_up(f);
	return 0;
}

/* A frame that ends the conversation, for the reason that says @why. */
static void hand_breaks(struct fixture *f, struct frame h, const void *payload,
			const char *why)
{
	int downs = f->a.n[DOWN];

	hand_send(f, h, payload);
	WAIT_FOR(f, f->a.n[DOWN] == downs + 1);
	assert_non_null(strstr(f->a.why, why));
	assert_false(mux_is_up(f->a.mux));
}

/* -- things to send -------------------------------------------------------- */

static uint8_t pattern(size_t i)
{
	return (uint8_t)(i ^ i >> 8 ^ i >> 16);
}

/* A regular file of @len bytes, read from its start. */
static int file_of(size_t len)
{
	int fd = memfd_create("data", MFD_CLOEXEC);
	uint8_t *p;

	assert_int_equal(ftruncate(fd, (off_t)len), 0);
	if (!len)
		return fd;
	p = mmap(NULL, len, PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(p != MAP_FAILED);
	for (size_t i = 0; i < len; i++)
		p[i] = pattern(i);
	munmap(p, len);
	return fd;
}

/* Read what is there, at most @max bytes, and compare. Returns the new
 * length. */
static size_t read_some(int fd, size_t at, size_t max)
{
	uint8_t buf[65536];
	ssize_t n = read(fd, buf, max < sizeof(buf) ? max : sizeof(buf));

	for (ssize_t i = 0; i < n; i++)
		assert_int_equal(buf[i], pattern(at + (size_t)i));
	return n > 0 ? at + (size_t)n : at;
}

static void make_pipe(int fds[2])
{
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
}

/* Channel 1 from a to b, the descriptors of the test in *in and *out. */
static void open_stream(struct fixture *f, int *in, int *out)
{
	int from[2], to[2];

	make_pipe(from);
	make_pipe(to);
	assert_int_equal(mux_recv_fd(f->b.mux, 1, to[1], on_done, &f->b), 0);
	assert_int_equal(mux_send_fd(f->a.mux, 1, from[0], on_done, &f->a), 0);
	*in = from[1];
	*out = to[0];
}

/* -- conversations --------------------------------------------------------- */

static void test_nobody(void **state)
{
	struct fixture *f = *state;

	start(f, &f->a, f->port[0]);
	settle(f);
	assert_false(mux_is_up(f->a.mux));
	assert_int_equal(mux_ctrl(f->a.mux, "{}", 2), -ENOTCONN);
	assert_int_equal(mux_ping(f->a.mux, NULL, NULL), -ENOTCONN);
	assert_int_equal(mux_send_fd(f->a.mux, 1, file_of(1), NULL, NULL),
			 -ENOTCONN);
	assert_int_equal(mux_recv_fd(f->a.mux, 1, file_of(1), NULL, NULL),
			 -ENOTCONN);
	assert_int_equal(mux_reset(f->a.mux, 1, true, EPIPE), -ENOENT);
	assert_int_equal(f->a.n[UP] + f->a.n[DOWN], 0);
}

static void test_asks_again(void **state)
{
	struct fixture *f = *state;
	uint8_t payload[FRAME_MAX];

	start(f, &f->a, f->port[0]);
	assert_int_equal(hand_read(f, payload, true).flags, FRAME_ASK);
	hand_up(f);
}

static void test_both_up(void **state)
{
	struct fixture *f = *state;

	settle(f);
	assert_int_equal(f->a.n[UP], 1);
	assert_int_equal(f->b.n[UP], 1);
	assert_int_equal(f->a.n[DOWN] + f->b.n[DOWN], 0);
	assert_memory_not_equal(f->a.boot_id, f->b.boot_id,
				sizeof(f->a.boot_id));
}

static void test_garbage(void **state)
{
	struct fixture *f = *state;
	struct frame data = { FRAME_DATA, 0, 7, 100 };
	struct frame fake = { FRAME_SYNC, FRAME_ASK, 0, FRAME_SYNC_LEN };
	uint8_t junk[5000], header[FRAME_HEADER];

	for (size_t i = 0; i < sizeof(junk); i++)
		junk[i] = (uint8_t) "VMx"[i % 3];
	hand_write(f, junk, sizeof(junk));
	hand_send(f, data, junk); /* left over from an earlier conversation */
	frame_encode(&fake, header); /* half a SYNC */
	hand_write(f, header, sizeof(header));
	hand_write(f, junk, FRAME_SYNC_LEN);
	start(f, &f->a, f->port[0]);
	hand_up(f);
	hand_send(f, (struct frame){ FRAME_CTRL, 0, 0, 2 }, "{}");
	WAIT_FOR(f, f->a.n[CTRL] == 1);
	assert_int_equal(f->a.n[DOWN], 0);
}

static void test_stale_sync(void **state)
{
	struct fixture *f = *state;

	start(f, &f->a, f->port[0]);
	hand_sync(f, proper, FRAME_ASK); /* echoes nothing */
	settle(f);
	assert_int_equal(f->a.n[UP], 0);
	hand_up(f);
}

static void test_skipped_frames(void **state)
{
	struct fixture *f = *state;
	uint8_t payload[FRAME_MAX], old[FRAME_NONCE_LEN];
	struct frame_sync s = proper;

	start(f, &f->a, f->port[0]);
	hand_read(f, payload, true);
	memcpy(old, f->peer, sizeof(old));
	s.sent = 3; /* a has missed three frames */
	hand_sync(f, s, 0);
	while (memcmp(old, f->peer, sizeof(old)) == 0)
		hand_read(f, payload, true);
	assert_int_equal(f->a.n[UP], 0);
}

static void test_version(void **state)
{
	struct fixture *f = *state;
	uint8_t payload[FRAME_MAX];
	struct frame_sync s = { .proto_min = 7,
				.proto_max = 9,
				.max_frame = FRAME_MAX };

	start(f, &f->a, f->port[0]);
	hand_read(f, payload, true);
	for (int i = 0; i < 10; i++)
		hand_sync(f, s, FRAME_ASK);
	settle(f);
	assert_int_equal(f->a.n[UP], 0);
	assert_int_equal(f->a.n[DOWN], 1); /* said once */
	assert_non_null(strstr(f->a.why, "versions 7 to 9"));
}

static void test_peer_restarts(void **state)
{
	struct fixture *f = *state;
	uint8_t old[FRAME_BOOT_ID_LEN];
	int in, out;

	open_stream(f, &in, &out);
	memcpy(old, f->a.boot_id, sizeof(old));
	mux_free(TAKE_PTR(f->b.mux));
	start(f, &f->b, f->port[1]);
	WAIT_FOR(f, f->a.n[DOWN] == 1);
	assert_non_null(strstr(f->a.why, "restarted"));
	assert_int_equal(f->a.n[DONE], 1);
	assert_int_equal(f->a.done_error, ECONNRESET);
	WAIT_FOR(f, f->a.n[UP] == 2 && f->b.n[UP] == 2);
	assert_memory_not_equal(old, f->a.boot_id, sizeof(old));
	close(in);
	close(out);
	open_stream(f, &in, &out); /* the number is free again */
	close(in);
	WAIT_FOR(f, f->a.n[DONE] == 2);
	assert_int_equal(f->a.done_error, 0);
	close(out);
}

static void test_torn_frame(void **state)
{
	struct fixture *f = *state;
	struct frame h = { FRAME_CTRL, 0, 0, 30000 };
	uint8_t header[FRAME_HEADER];

	frame_encode(&h, header);
	hand_write(f, header, sizeof(header));
	hand_write(f, "half a frame, then a reset", 26);
	memset(f->nonce, 'm', sizeof(f->nonce));
	memset(f->peer, 0, sizeof(f->peer));
	for (int i = 0; i < 4 && !f->a.n[DOWN]; i++) {
		hand_sync(f, proper, FRAME_ASK);
		for (int64_t end = loop_now_ms() + 800; loop_now_ms() < end;)
			spin(f);
	}
	assert_int_equal(f->a.n[DOWN], 1);
	assert_non_null(strstr(f->a.why, "mid-frame"));
	hand_up(f);
}

static void test_close(void **state)
{
	struct fixture *f = *state;

	close(TAKE_FD(f->port[1]));
	WAIT_FOR(f, f->a.n[CLOSED] == 1);
	assert_int_equal(f->a.n[DOWN], 1);
	assert_int_equal(mux_ctrl(f->a.mux, "x", 1), -ENOTCONN);
	settle(f);
	assert_int_equal(f->a.n[UP], 1);
}

/* It ends while there is something to write to it, too. */
static void test_last_words(void **state)
{
	struct fixture *f = *state;

	hand_send(f, (struct frame){ FRAME_CTRL, 0, 0, 4 }, "last");
	close(TAKE_FD(f->port[1]));
	mux_ctrl(f->a.mux, "too late", 8);
	WAIT_FOR(f, f->a.n[CLOSED] == 1);
	assert_int_equal(f->a.n[CTRL], 1);
	assert_string_equal(f->a.ctrl, "last");
}

static void test_every_cut(void **state)
{
	struct fixture *f = *state;
	struct frame ctrl = { FRAME_CTRL, 0, 0, 5 };
	uint8_t payload[FRAME_MAX];
	size_t len = 2 * (FRAME_HEADER + 5);
	uint8_t bytes[64];

	frame_encode(&ctrl, bytes);
	memcpy(bytes + FRAME_HEADER, "hello", 5);
	memcpy(bytes + len / 2, bytes, len / 2);
	start(f, &f->a, f->port[0]);
	hand_read(f, payload, true);
	for (size_t i = 0; i < sizeof(payload) && !f->a.n[UP]; i++) {
		/* the SYNC, one byte at a time, through a second socketpair */
		int sv[2], hand = f->port[1];

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
		f->port[1] = sv[0];
		hand_sync(f, proper, 0);
		f->port[1] = hand;
		while (recv(sv[1], payload, 1, MSG_DONTWAIT) == 1) {
			hand_write(f, payload, 1);
			spin(f);
		}
		close(sv[0]);
		close(sv[1]);
	}
	for (size_t cut = 1; cut < len; cut++) {
		int before = f->a.n[CTRL];

		hand_write(f, bytes, cut);
		spin(f);
		hand_write(f, bytes + cut, len - cut);
		WAIT_FOR(f, f->a.n[CTRL] == before + 2);
		assert_string_equal(f->a.ctrl, "hello");
	}
	assert_int_equal(f->a.n[DOWN], 0);
}

/* -- what breaks the rules ------------------------------------------------- */

static void test_bad_header(void **state)
{
	static const struct {
		struct frame h;
		const char *why;
	} bad[] = {
		{ { FRAME_TYPES, 0, 0, 0 }, "unknown type" },
		{ { FRAME_CTRL, FRAME_BACK, 0, 1 }, "flags" },
		{ { FRAME_DATA, 0, 0, 1 }, "on channel 0" },
		{ { FRAME_CTRL, 0, 1, 1 }, "on channel 1" },
		{ { FRAME_DATA, 0, 1, 0 }, "of 0 bytes" },
		{ { FRAME_EOF, 0, 1, 1 }, "of 1 bytes" },
		{ { FRAME_PING, 0, 0, 7 }, "of 7 bytes" },
	};
	struct fixture *f = *state;
	struct frame big = { FRAME_CTRL, 0, 0, 4 };
	uint8_t bytes[FRAME_HEADER + 4] = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		hand_breaks(f, bad[i].h, bytes, bad[i].why);
		hand_up(f);
	}
	frame_encode(&big, bytes);
	bytes[15] ^= 1;
	hand_write(f, bytes, sizeof(bytes));
	WAIT_FOR(f, strstr(f->a.why, "checksum"));
	hand_up(f);
	big.length = FRAME_PAYLOAD_MAX + 1;
	frame_encode(&big, bytes);
	hand_write(f, bytes, sizeof(bytes));
	WAIT_FOR(f, strstr(f->a.why, "of 32753 bytes"));
}

static void test_bad_channel(void **state)
{
	struct fixture *f = *state;
	uint8_t p[12] = { 1 };
	int to[2];

	hand_breaks(f, (struct frame){ FRAME_DATA, 0, 5, 1 }, p, "not open");
	hand_up(f);
	hand_breaks(f, (struct frame){ FRAME_EOF, 0, 5, 0 }, p, "not open");
	hand_up(f);
	hand_breaks(f, (struct frame){ FRAME_EOF, FRAME_BACK, 5, 0 }, p,
		    "too early");
	hand_up(f);
	hand_breaks(f, (struct frame){ FRAME_PONG, 0, 0, 8 }, p, "pong");
	hand_up(f);
	make_pipe(to);
	mux_recv_fd(f->a.mux, 5, to[1], NULL, NULL);
	hand_send(f, (struct frame){ FRAME_EOF, 0, 5, 0 }, NULL);
	hand_breaks(f, (struct frame){ FRAME_DATA, 0, 5, 1 }, p, "not open");
	close(to[0]);
}

static void test_bad_credit(void **state)
{
	struct fixture *f = *state;
	struct frame h = { FRAME_CREDIT, 0, 5, FRAME_CREDIT_LEN };
	uint8_t p[FRAME_CREDIT_LEN];

	frame_credit_encode(&(struct frame_credit){ 1, 100 }, p);
	hand_breaks(f, h, p, "credit"); /* for a byte that was never sent */
	hand_up(f);
	frame_credit_encode(&(struct frame_credit){ 0, 1u << 31 }, p);
	hand_breaks(f, h, p, "credit");
	hand_up(f);
	frame_credit_encode(&(struct frame_credit){ 0, 100 }, p);
	hand_send(f, h, p);
	frame_credit_encode(&(struct frame_credit){ 0, 99 }, p);
	hand_breaks(f, h, p, "credit"); /* taken back */
	hand_up(f);
	for (h.channel = 1; h.channel <= MUX_CHANNELS; h.channel++) {
		hand_send(f, h, p);
		spin(f);
	}
	hand_breaks(f, h, p, "too many channels");
}

static void test_over_credit(void **state)
{
	struct fixture *f = *state;
	struct frame h = { FRAME_DATA, 0, 5, FRAME_PAYLOAD_MAX };
	static uint8_t p[FRAME_MAX];
	int to[2];

	make_pipe(to);
	fcntl(to[1], F_SETPIPE_SZ, 4096);
	assert_int_equal(mux_recv_fd(f->a.mux, 5, to[1], on_done, &f->a), 0);
	hand_read(f, p, false); /* its credit */
	for (int i = 0; i < MUX_WINDOW / FRAME_PAYLOAD_MAX; i++) {
		hand_send(f, h, p);
		spin(f);
	}
	assert_true(mux_is_up(f->a.mux));
	hand_breaks(f, h, p, "more data than its credit");
	assert_int_equal(f->a.done_error, ECONNRESET);
	close(to[0]);
}

static void test_too_many_pings(void **state)
{
	struct fixture *f = *state;
	uint8_t bytes[2048], *p = bytes;
	struct frame h = { FRAME_PING, 0, 0, 8 };

	for (int i = 0; i <= MUX_PINGS; i++, p += FRAME_HEADER + 8) {
		frame_encode(&h, p);
		memset(p + FRAME_HEADER, i, 8);
	}
	hand_write(f, bytes, (size_t)(p - bytes));
	WAIT_FOR(f, f->a.n[DOWN] == 1);
	assert_non_null(strstr(f->a.why, "pings"));
}

/* -- control messages ------------------------------------------------------ */

static void test_ctrl_limits(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *text = malloc(MUX_CTRL_MAX + 1);
	int r = 0, n;

	memset(text, 'j', MUX_CTRL_MAX + 1);
	assert_int_equal(mux_ctrl(f->a.mux, text, MUX_CTRL_MAX + 1), -EMSGSIZE);
	assert_int_equal(mux_ctrl(f->a.mux, text, 0), -EINVAL);
	for (n = 0; (r = mux_ctrl(f->a.mux, text, MUX_CTRL_MAX)) == 0; n++)
		;
	assert_int_equal(r, -ENOBUFS);
	assert_int_equal(n, MUX_CTRL_QUEUE / MUX_CTRL_MAX);
	WAIT_FOR(f, f->b.n[CTRL] == n);
	assert_int_equal(f->b.ctrl_len, MUX_CTRL_MAX);
	assert_memory_equal(f->b.ctrl, text, MUX_CTRL_MAX);
}

static void test_ctrl_too_long(void **state)
{
	struct fixture *f = *state;
	struct frame h = { FRAME_CTRL, FRAME_MORE, 0, FRAME_PAYLOAD_MAX };
	static uint8_t p[FRAME_PAYLOAD_MAX];

	for (int i = 0; i < MUX_CTRL_MAX / FRAME_PAYLOAD_MAX; i++) {
		hand_send(f, h, p);
		spin(f);
	}
	assert_true(mux_is_up(f->a.mux));
	hand_breaks(f, h, p, "too long");
}

static void test_ctrl_order(void **state)
{
	struct fixture *f = *state;
	char text[32];

	for (int i = 0; i < 1000; i++) {
		snprintf(text, sizeof(text), "%d", i);
		mux_ctrl(f->a.mux, text, strlen(text));
		mux_ctrl(f->b.mux, text, strlen(text));
	}
	for (int i = 0; f->a.n[CTRL] < 1000 || f->b.n[CTRL] < 1000; i++) {
		spin(f);
		assert_true(i < 1000);
	}
	assert_string_equal(f->a.ctrl, "999");
	assert_string_equal(f->b.ctrl, "999");
}

static void test_ping(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < MUX_PINGS; i++)
		assert_int_equal(mux_ping(f->a.mux, on_pong, &f->a), 0);
	assert_int_equal(mux_ping(f->a.mux, on_pong, &f->a), -EBUSY);
	WAIT_FOR(f, f->a.n[PONG] == MUX_PINGS);
	assert_in_range(f->a.rtt_us, 0, 10000000);
	mux_ping(f->a.mux, on_pong, &f->a);
	close(TAKE_FD(f->port[1])); /* b's mux still borrows a dead number */
	mux_free(TAKE_PTR(f->b.mux));
	WAIT_FOR(f, f->a.n[PONG] == MUX_PINGS + 1);
	assert_int_equal(f->a.rtt_us, -1);
}

/* -- channels -------------------------------------------------------------- */

static void test_bad_numbers(void **state)
{
	struct fixture *f = *state;
	unsigned int i;
	int to[2], r = 0;

	assert_int_equal(mux_send_fd(f->a.mux, 0, file_of(1), NULL, NULL),
			 -EINVAL);
	assert_int_equal(mux_recv_fd(f->a.mux, 0, file_of(1), NULL, NULL),
			 -EINVAL);
	assert_int_equal(mux_send_fd(f->a.mux, 1, -1, NULL, NULL), -EBADF);
	assert_int_equal(mux_send_fd(f->a.mux, 1, file_of(1), NULL, NULL), 0);
	assert_int_equal(mux_send_fd(f->a.mux, 1, file_of(1), NULL, NULL),
			 -EBUSY);
	make_pipe(to);
	for (i = 1; r == 0; i++)
		r = mux_recv_fd(f->a.mux, i, dup(to[1]), NULL, NULL);
	assert_int_equal(r, -EMFILE);
	assert_int_equal(i, MUX_CHANNELS + 1); /* one is the sender */
	assert_int_equal(mux_unacked(f->a.mux, 2), -ENOENT);
	close(to[0]);
	close(to[1]);
	settle(f);
	assert_true(mux_is_up(f->b.mux));
}

static void test_whole(void **state)
{
	struct fixture *f = *state;
	size_t len = 20 << 20, got = 0;
	int to[2];

	make_pipe(to);
	mux_send_fd(f->a.mux, 9, file_of(len), on_done, &f->a);
	mux_recv_fd(f->b.mux, 9, to[1], on_done, &f->b);
	while (got < len) { /* slowly, so that credit runs out */
		got = read_some(to[0], got, got < len / 8 ? 3000 : 65536);
		spin(f);
	}
	WAIT_FOR(f, f->a.n[DONE] && f->b.n[DONE]);
	assert_int_equal(f->a.done_error, 0);
	assert_int_equal(f->b.done_error, 0);
	assert_int_equal(read(to[0], &len, 1), 0); /* closed */
	close(to[0]);
}

static void test_both_ways(void **state)
{
	struct fixture *f = *state;
	size_t len = 3 << 20, ab = 0, ba = 0;
	int to_a[2], to_b[2];

	make_pipe(to_a);
	make_pipe(to_b);
	mux_send_fd(f->a.mux, 1, file_of(len), on_done, &f->a);
	mux_recv_fd(f->a.mux, 1, to_a[1], on_done, &f->a);
	mux_recv_fd(f->b.mux, 1, to_b[1], on_done, &f->b);
	mux_send_fd(f->b.mux, 1, file_of(len), on_done, &f->b);
	while (ab < len || ba < len) {
		ba = read_some(to_a[0], ba, 65536);
		ab = read_some(to_b[0], ab, 65536);
		spin(f);
	}
	WAIT_FOR(f, f->a.n[DONE] == 2 && f->b.n[DONE] == 2);
	close(to_a[0]);
	close(to_b[0]);
}

static void test_stalled(void **state)
{
	struct fixture *f = *state;
	size_t len = 1 << 20, got = 0;
	int in, out, to[2];

	open_stream(f, &in, &out); /* nobody reads from out */
	fcntl(in, F_SETFL, O_NONBLOCK);
	for (int i = 0; i < 400; i++) {
		got = write(in, f, sizeof(*f)) > 0 ? 1 : got;
		spin(f);
	}
	make_pipe(to);
	mux_recv_fd(f->b.mux, 2, to[1], on_done, &f->b);
	mux_send_fd(f->a.mux, 2, file_of(len), on_done, &f->a);
	mux_ping(f->a.mux, on_pong, &f->a);
	mux_ctrl(f->a.mux, "{}", 2);
	for (got = 0; got < len; spin(f))
		got = read_some(to[0], got, 65536);
	WAIT_FOR(f, f->a.n[PONG] && f->b.n[CTRL] && f->a.n[DONE]);
	assert_int_equal(f->a.done_chan, 2);
	assert_true(mux_unacked(f->a.mux, 1) > 0);
	close(in);
	close(out);
	close(to[0]);
}

static void test_ctrl_overtakes(void **state)
{
	struct fixture *f = *state;
	int to[2];

	make_pipe(to);
	mux_recv_fd(f->b.mux, 1, to[1], on_done, &f->b);
	mux_send_fd(f->a.mux, 1, file_of(8 << 20), on_done, &f->a);
	for (int i = 0; i < 5; i++)
		spin(f);
	mux_ctrl(f->a.mux, "{}", 2);
	WAIT_FOR(f, f->b.n[CTRL]);
	assert_int_equal(f->a.n[DONE], 0);
	close(to[0]);
}

static void test_empty(void **state)
{
	struct fixture *f = *state;
	int in, out;

	open_stream(f, &in, &out);
	close(in);
	WAIT_FOR(f, f->a.n[DONE] && f->b.n[DONE]);
	assert_int_equal(f->a.done_error + f->b.done_error, 0);
	assert_int_equal(read(out, &in, 1), 0);
	close(out);
}

static void test_unacked(void **state)
{
	struct fixture *f = *state;
	int in, out;

	open_stream(f, &in, &out);
	assert_int_equal(mux_unacked(f->a.mux, 1), 0);
	assert_int_equal(write(in, "abc", 3), 3);
	WAIT_FOR(f, mux_unacked(f->a.mux, 1) == 3);
	WAIT_FOR(f, mux_unacked(f->a.mux, 1) == 0); /* b's pipe has them */
	close(in);
	close(out);
}

static void test_receiver_first(void **state)
{
	struct fixture *f = *state;
	int to[2];

	make_pipe(to);
	mux_recv_fd(f->b.mux, 4, to[1], on_done, &f->b);
	settle(f);
	mux_send_fd(f->a.mux, 4, file_of(10), on_done, &f->a);
	WAIT_FOR(f, f->a.n[DONE] && f->b.n[DONE]);
	assert_int_equal(read_some(to[0], 0, 100), 10);
	close(to[0]);
}

static void test_sender_resets(void **state)
{
	struct fixture *f = *state;
	int in, out;

	open_stream(f, &in, &out);
	assert_int_equal(mux_reset(f->a.mux, 1, true, ECANCELED), 0);
	assert_int_equal(mux_reset(f->a.mux, 1, true, ECANCELED), -ENOENT);
	WAIT_FOR(f, f->b.n[DONE] == 1);
	assert_int_equal(f->b.done_error, ECANCELED);
	settle(f);
	assert_int_equal(f->a.n[DONE], 0);
	close(in);
	close(out);
	open_stream(f, &in, &out); /* both have confirmed: free again */
	close(in);
	close(out);
}

static void test_receiver_resets(void **state)
{
	struct fixture *f = *state;
	int in, out;

	open_stream(f, &in, &out);
	assert_int_equal(mux_reset(f->b.mux, 1, false, EFBIG), 0);
	WAIT_FOR(f, f->a.n[DONE] == 1);
	assert_int_equal(f->a.done_error, EFBIG);
	assert_int_equal(write(in, "x", 1), -1); /* the pipe is closed */
	assert_int_equal(f->b.n[DONE], 0);
	close(in);
	close(out);
}

static void test_reset_unopened(void **state)
{
	struct fixture *f = *state;
	int to[2];

	make_pipe(to);
	mux_recv_fd(f->b.mux, 1, to[1], on_done, &f->b);
	settle(f);
	mux_reset(f->b.mux, 1, false, ENOENT); /* a never opened it */
	mux_send_fd(f->b.mux, 1, file_of(100), on_done, &f->b);
	mux_reset(f->b.mux, 1, true, ENOENT);
	settle(f);
	assert_true(mux_is_up(f->a.mux) && mux_is_up(f->b.mux));
	assert_int_equal(mux_send_fd(f->a.mux, 1, file_of(10), on_done, &f->a),
			 0);
	close(to[0]);
	make_pipe(to);
	assert_int_equal(mux_recv_fd(f->b.mux, 1, to[1], on_done, &f->b), 0);
	WAIT_FOR(f, f->a.n[DONE] == 1 && f->a.done_error == 0);
	close(to[0]);
}

static void test_reader_gone(void **state)
{
	struct fixture *f = *state;
	int in, out;

	open_stream(f, &in, &out);
	close(out);
	assert_int_equal(write(in, "x", 1), 1);
	WAIT_FOR(f, f->a.n[DONE] && f->b.n[DONE]);
	assert_int_equal(f->a.done_error, EPIPE);
	assert_int_equal(f->b.done_error, EPIPE);
	close(in);
}

static void test_both_reset(void **state)
{
	struct fixture *f = *state;
	int in, out;

	for (int i = 0; i < 20; i++) {
		open_stream(f, &in, &out);
		for (int j = 0; j < i % 4; j++)
			spin(f);
		if (i & 4)
			close(TAKE_FD(in));
		if (i & 8)
			mux_reset(f->a.mux, 1, true, EINTR);
		mux_reset(f->b.mux, 1, false, EINTR);
		settle(f);
		assert_true(mux_is_up(f->a.mux) && mux_is_up(f->b.mux));
		if (in >= 0)
			close(in);
		close(out);
	}
}

static void test_read_error(void **state)
{
	struct fixture *f = *state;
	int to[2];

	make_pipe(to);
	mux_recv_fd(f->b.mux, 1, to[1], on_done, &f->b);
	mux_send_fd(f->a.mux, 1, open("/", O_RDONLY | O_CLOEXEC), on_done,
		    &f->a);
	WAIT_FOR(f, f->a.n[DONE] && f->b.n[DONE]);
	assert_int_equal(f->a.done_error, EISDIR);
	assert_int_equal(f->b.done_error, EISDIR);
	close(to[0]);
}

static void test_pty(void **state)
{
	struct fixture *f = *state;
	int master = posix_openpt(O_RDWR | O_NOCTTY), slave, to[2];
	char buf[8] = "";

	make_pipe(to);
	assert_int_equal(grantpt(master) + unlockpt(master), 0);
	slave = open(ptsname(master), O_RDWR | O_NOCTTY);
	mux_recv_fd(f->b.mux, 1, to[1], on_done, &f->b);
	mux_send_fd(f->a.mux, 1, master, on_done, &f->a);
	assert_int_equal(write(slave, "pty", 3), 3);
	WAIT_FOR(f, read(to[0], buf, sizeof(buf)) == 3);
	assert_string_equal(buf, "pty");
	close(slave); /* the master reads EIO now */
	WAIT_FOR(f, f->a.n[DONE] && f->b.n[DONE]);
	assert_int_equal(f->a.done_error, 0);
	close(to[0]);
}

static void test_flags(void **state)
{
	struct fixture *f = *state;
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	mux_recv_fd(f->a.mux, 1, dup(sv[0]), on_done, &f->a);
	mux_recv_fd(f->a.mux, 2, dup(sv[0]), on_done, &f->a);
	assert_true(fcntl(sv[0], F_GETFL) & O_NONBLOCK);
	mux_reset(f->a.mux, 1, false, EPIPE);
	assert_true(fcntl(sv[0], F_GETFL) & O_NONBLOCK); /* 2 needs it still */
	mux_reset(f->a.mux, 2, false, EPIPE);
	assert_false(fcntl(sv[0], F_GETFL) & O_NONBLOCK);
	close(sv[0]);
	close(sv[1]);
}

static void test_to_file(void **state)
{
	struct fixture *f = *state;
	int file = memfd_create("sink", MFD_CLOEXEC);

	mux_recv_fd(f->b.mux, 1, dup(file), on_done, &f->b);
	mux_send_fd(f->a.mux, 1, file_of(300000), on_done, &f->a);
	WAIT_FOR(f, f->a.n[DONE] && f->b.n[DONE]);
	assert_int_equal(lseek(file, 0, SEEK_CUR), 300000);
	close(file);
}

/* -- ends in the middle ---------------------------------------------------- */

static void free_in(struct fixture *f, enum callback what)
{
	int in, out;

	f->a.free_in = (int)what;
	open_stream(f, &in, &out);
	mux_ctrl(f->b.mux, "{}", 2);
	mux_ping(f->a.mux, on_pong, &f->a);
	if (what == DONE)
		close(TAKE_FD(in));
	if (what == DOWN || what == CLOSED) {
		spin(f);
		mux_free(TAKE_PTR(f->b.mux));
		close(TAKE_FD(f->port[1]));
	}
	WAIT_FOR(f, !f->a.mux);
	settle(f);
	if (in >= 0)
		close(in);
	close(out);
}

static void test_free_in_down(void **state)
{
	free_in(*state, DOWN);
}

static void test_free_in_ctrl(void **state)
{
	free_in(*state, CTRL);
}

static void test_free_in_done(void **state)
{
	free_in(*state, DONE);
}

static void test_free_in_pong(void **state)
{
	free_in(*state, PONG);
}

static void test_free_in_closed(void **state)
{
	free_in(*state, CLOSED);
}

static void test_free_in_up(void **state)
{
	struct fixture *f = *state;

	f->a.free_in = UP;
	start(f, &f->a, f->port[0]);
	start(f, &f->b, f->port[1]);
	WAIT_FOR(f, !f->a.mux);
	settle(f);
}

/* -- frames ---------------------------------------------------------------- */

static void test_crc(void **state)
{
	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
}

#define ALONE(text, fn)                         \
	{                                       \
		text, fn, setup, teardown, NULL \
	}
#define HAND(text, fn)                               \
	{                                            \
		text, fn, setup_hand, teardown, NULL \
	}
#define PAIR(text, fn)                               \
	{                                            \
		text, fn, setup_pair, teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		ALONE("the checksum is CRC-32C", test_crc),
		ALONE("without a peer, calls say ENOTCONN", test_nobody),
		ALONE("it asks again until it is answered", test_asks_again),
		ALONE("garbage and old frames before SYNC are skipped",
		      test_garbage),
		ALONE("a SYNC that echoes nothing brings nobody up",
		      test_stale_sync),
		ALONE("who missed frames starts again", test_skipped_frames),
		ALONE("no common version: said once, not up", test_version),
		ALONE("frames may be cut anywhere", test_every_cut),
		HAND("a bad header ends the conversation, the next begins",
		     test_bad_header),
		HAND("frames of channels that are not open", test_bad_channel),
		HAND("credit that cannot be", test_bad_credit),
		HAND("more data than its credit", test_over_credit),
		HAND("too many pings at once", test_too_many_pings),
		HAND("a control message that never ends", test_ctrl_too_long),
		HAND("a restart in the middle of a frame is noticed",
		     test_torn_frame),
		HAND("the port closes", test_close),
		HAND("what was said before it closed is heard",
		     test_last_words),
		PAIR("two that start at once come up once", test_both_up),
		PAIR("a restarted peer is a new life", test_peer_restarts),
		PAIR("control messages up to the limit, and beyond",
		     test_ctrl_limits),
		PAIR("control messages keep their order", test_ctrl_order),
		PAIR("ping measures, and fails when the peer goes", test_ping),
		PAIR("numbers in use and too many of them are refused",
		     test_bad_numbers),
		PAIR("20 MB arrive whole at a slow reader", test_whole),
		PAIR("the same number goes both ways at once", test_both_ways),
		PAIR("a stalled channel holds up nothing else", test_stalled),
		PAIR("control messages overtake data", test_ctrl_overtakes),
		PAIR("an empty stream ends at both ends", test_empty),
		PAIR("what the reader has not taken is known", test_unacked),
		PAIR("the receiver may open first", test_receiver_first),
		PAIR("the sender gives up", test_sender_resets),
		PAIR("the receiver gives up", test_receiver_resets),
		PAIR("a channel that only one end opened is given up",
		     test_reset_unopened),
		PAIR("a reader that is gone resets with EPIPE",
		     test_reader_gone),
		PAIR("both ends give up at once", test_both_reset),
		PAIR("a read error travels", test_read_error),
		PAIR("EIO of a pty is its end", test_pty),
		PAIR("flags of a shared descriptor come back with the last",
		     test_flags),
		PAIR("a regular file can be the sink", test_to_file),
		ALONE("freed in up()", test_free_in_up),
		PAIR("freed in down()", test_free_in_down),
		PAIR("freed in ctrl()", test_free_in_ctrl),
		PAIR("freed in done()", test_free_in_done),
		PAIR("freed in pong()", test_free_in_pong),
		PAIR("freed in closed()", test_free_in_closed),
	};

	return cmocka_run_group_tests_name("mux", tests, NULL, NULL);
}
