/* fuzz_mux.c - the agent's port against a hostile other end
 *
 * The first byte of the input says how the rest is meant:
 *   0  bytes before the conversation has begun
 *   1  bytes after it has
 *   2  frames after it has: records of type, flags, channel, le16 length and
 *      the payload, given a good header here, so that what lies behind the
 *      checksum is reached
 * Channels 1 to 3 are open in both directions: one that flows, one that stalls,
 * and one that is freed in its own callback. A type of 255 is no frame: the
 * owner does something, by the next byte.
 */
#include <config.h>

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "frame.h"
#include "mux.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
	struct loop *loop;
	struct loop_timer *tick;
	struct mux *mux;
	int port[2];
	bool free_in_done;
} fuzz;

static void on_up(const struct mux_peer *peer, void *arg)
{
}

static void on_down(const char *why, void *arg)
{
	if (!*why)
		abort();
}

static void on_ctrl(const char *text, size_t len, void *arg)
{
	if (len > MUX_CTRL_MAX || text[len] != '\0')
		abort();
	mux_ctrl(fuzz.mux, text, len);
}

static void on_done(unsigned int chan, int error, void *arg)
{
	if (error < 0)
		abort();
	if (chan == 3 && fuzz.free_in_done)
		mux_free(TAKE_PTR(fuzz.mux));
}

static void on_pong(int64_t rtt_us, void *arg)
{
}

static void on_tick(void *arg)
{
	loop_stop(fuzz.loop, 0);
}

/* One round, which does not sleep. */
static void turn(void)
{
	loop_timer_set(fuzz.tick, 0);
	loop_run(fuzz.loop);
}

/* A round, and what it sent is thrown away. */
static void spin(void)
{
	uint8_t buf[65536];

	turn();
	while (recv(fuzz.port[1], buf, sizeof(buf), MSG_DONTWAIT) > 0)
		;
}

static void feed(const uint8_t *p, size_t len)
{
	while (len) {
		ssize_t n = send(fuzz.port[1], p, len, MSG_DONTWAIT);

		if (n > 0) {
			p += n;
			len -= (size_t)n;
		}
		spin();
	}
	spin();
}

/* A pipe's end that takes 4 KiB, and no more. */
static int stalled_sink(void)
{
	static int fds[2] = { -1, -1 };

	if (fds[0] < 0 && pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		abort();
	fcntl(fds[1], F_SETPIPE_SZ, 4096);
	return dup(fds[1]);
}

static int source(void)
{
	int fd = memfd_create("source", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, 100000) < 0)
		abort();
	return fd;
}

static void open_channels(void)
{
	for (unsigned int i = 1; i <= 3; i++) {
		mux_send_fd(fuzz.mux, i, source(), on_done, NULL);
		mux_recv_fd(fuzz.mux, i,
			    i == 2 ? stalled_sink()
				   : open("/dev/null", O_WRONLY | O_CLOEXEC),
			    on_done, NULL);
	}
	mux_ping(fuzz.mux, on_pong, NULL);
}

/* Answer its SYNC, so that it is up. */
static void come_up(void)
{
	uint8_t in[FRAME_HEADER + FRAME_SYNC_LEN], out[sizeof(in)];
	struct frame h = { FRAME_SYNC, 0, 0, FRAME_SYNC_LEN };
	struct frame_sync s;

	do /* a timer of 0 ms may be a round late, if the clock says so */
		turn();
	while (recv(fuzz.port[1], in, sizeof(in), MSG_DONTWAIT) < 0);
	frame_sync_decode(in + FRAME_HEADER, &s);
	memcpy(s.echo, s.nonce, sizeof(s.echo));
	frame_encode(&h, out);
	frame_sync_encode(&s, out + FRAME_HEADER);
	feed(out, sizeof(out));
	if (!mux_is_up(fuzz.mux))
		abort();
	open_channels();
	spin();
}

static void act(uint8_t what)
{
	bool sending = what & 4;

	if (what & 8)
		fuzz.free_in_done = true;
	else if (what & 16)
		mux_ping(fuzz.mux, on_pong, NULL);
	else if (what & 32)
		open_channels();
	else
		mux_reset(fuzz.mux, what & 3, sending, 32);
	spin();
}

static void feed_frames(const uint8_t *p, size_t len)
{
	uint8_t out[FRAME_HEADER + UINT16_MAX];

	while (len >= 5 && fuzz.mux) {
		size_t n = p[3] | (size_t)p[4] << 8;
		struct frame h = { p[0], p[1], p[2], (uint32_t)n };

		if (p[0] == 255) {
			act(p[1]);
			p += 2;
			len -= 2;
			continue;
		}
		p += 5;
		len -= 5;
		frame_encode(&h, out);
		memset(out + FRAME_HEADER, 'x',
		       n); /* where the input is short */
		memcpy(out + FRAME_HEADER, p, n < len ? n : len);
		feed(out, FRAME_HEADER + n);
		p += n < len ? n : len;
		len -= n < len ? n : len;
	}
}

static void start(void)
{
	static const struct mux_ops ops = { on_up, on_down, on_ctrl, NULL };

	signal(SIGPIPE, SIG_IGN);
	fuzz.free_in_done = false;
	loop_clock_stop(); /* it waits for nobody */
	if (loop_new(&fuzz.loop, NULL) < 0 ||
	    loop_timer_add(fuzz.loop, -1, on_tick, NULL, &fuzz.tick) < 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fuzz.port) < 0 ||
	    mux_new(fuzz.loop, fuzz.port[0], &ops, NULL, &fuzz.mux, NULL) < 0)
		abort();
}

static void stop(void)
{
	mux_free(TAKE_PTR(fuzz.mux));
	loop_free(fuzz.loop);
	close(fuzz.port[0]);
	close(fuzz.port[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	start();
	if (data[0] > 0)
		come_up();
	if (data[0] == 2)
		feed_frames(data + 1, size - 1);
	else
		feed(data + 1, size - 1);
	stop();
	return 0;
}
