#include <config.h>

#include "guest.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"
#include "link_wire.h"
#include "test_frame.h"

#define PREFIX	    4 /* a frame's length, on a stream */
#define STREAM_READ (128 * 1024)

struct guest {
	struct guest_conf conf;
	struct driver *driver; /* NULL: a stream */
	struct driver_frame frame;

	int fd; /* of a stream, this and what follows */
	uint8_t out[PREFIX + WIRE_FRAME_MAX], *in;
	size_t out_at, out_end, in_at, in_end;
};

struct guest *guest_new(const struct guest_conf *conf, struct nodes *s)
{
	struct guest *g = calloc(1, sizeof(*g));
	struct errmsg err = { "" };
	int sv[2];

	if (!g)
		die("out of memory");
	g->conf = *conf;
	check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv),
	      "socketpair");
	nodes_join(s, conf->rank, conf->kind, sv[1]);
	g->fd = sv[0];
	if (conf->kind == NETCTL_STREAM) {
		g->in = malloc(STREAM_READ);
		return g;
	}
	if (driver_new(sv[0], &conf->driver, &g->driver, &err) < 0 ||
	    driver_start(g->driver, &err) < 0)
		die("guest %u: %s", conf->rank, err.text);
	return g;
}

void guest_free(struct guest *g)
{
	if (g->driver)
		driver_free(g->driver);
	else
		close(g->fd);
	free(g->in);
	free(g);
}

struct driver *guest_driver(struct guest *g)
{
	return g->driver;
}

/* -- vhost-user ----------------------------------------------------------- */

static unsigned int pairs(const struct guest *g)
{
	return g->conf.driver.pairs ? g->conf.driver.pairs : 1;
}

static unsigned int vhost_send(struct guest *g, unsigned int pair,
			       unsigned int max, guest_fill_fn fill, void *arg)
{
	size_t most = g->conf.driver.tx_bytes ? g->conf.driver.tx_bytes : 2048;
	unsigned int n;

	for (n = 0; n < max; n++) {
		struct virtio_net_hdr_v1 hdr = { 0 };
		uint8_t *at;

		if (check(driver_room(g->driver, pair, &at), "send") == 0)
			break;
		driver_post(g->driver, pair, &hdr,
			    fill(at, most, pair, &hdr, arg),
			    g->conf.driver.pieces ? g->conf.driver.pieces : 1);
	}
	if (n)
		driver_publish(g->driver, DRIVER_TX(pair));
	return n;
}

static unsigned int vhost_recv(struct guest *g, unsigned int pair,
			       unsigned int max, guest_take_fn take, void *arg)
{
	struct driver_frame *f = &g->frame;
	unsigned int n = 0;

	while (n < max && check(driver_recv(g->driver, pair, f), "receive")) {
		if (!test_is_question(f->piece[0].iov_base)) {
			take(f->piece, f->n, f->len, &f->hdr, arg);
			n++;
		}
		driver_refill(g->driver, pair, f);
	}
	if (n)
		driver_publish(g->driver, DRIVER_RX(pair));
	return n;
}

static void vhost_wait(struct guest *g, enum guest_wait what, int ms)
{
	struct pollfd p[DRIVER_PAIRS_MAX];
	unsigned int ring, after = 1;

	for (unsigned int i = 0; i < pairs(g); i++) {
		ring = what == GUEST_FRAME ? DRIVER_RX(i) : DRIVER_TX(i);
		if (what == GUEST_ROOM) /* a good part of it */
			after = driver_pending(g->driver, i) / 2 + 1;
		if (driver_arm(g->driver, ring, after))
			return;
		p[i] = (struct pollfd){ driver_call_fd(g->driver, ring), POLLIN,
					0 };
	}
	check(poll(p, pairs(g), ms), "poll");
	for (unsigned int i = 0; i < pairs(g); i++)
		if (p[i].revents)
			driver_called(g->driver, what == GUEST_FRAME
							 ? DRIVER_RX(i)
							 : DRIVER_TX(i));
}

/* -- a stream ------------------------------------------------------------- */

/* What the socket has not taken yet; true: it has all. */
static bool stream_flush(struct guest *g)
{
	while (g->out_at < g->out_end) {
		ssize_t n =
			send(g->fd, g->out + g->out_at, g->out_end - g->out_at,
			     MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			return false;
		check((int)n, "send on a stream");
		g->out_at += (size_t)n;
	}
	return true;
}

static unsigned int stream_send(struct guest *g, unsigned int max,
				guest_fill_fn fill, void *arg)
{
	struct virtio_net_hdr_v1 none = { 0 };
	unsigned int n;
	size_t len;

	for (n = 0; n < max && stream_flush(g); n++) {
		len = fill(g->out + PREFIX, WIRE_FRAME_MAX, 0, &none, arg);
		wire_put32(g->out, (uint32_t)len);
		g->out_at = 0;
		g->out_end = PREFIX + len;
	}
	stream_flush(g);
	return n;
}

static bool stream_read(struct guest *g)
{
	ssize_t n;

	memmove(g->in, g->in + g->in_at, g->in_end - g->in_at);
	g->in_end -= g->in_at;
	g->in_at = 0;
	n = recv(g->fd, g->in + g->in_end, STREAM_READ - g->in_end,
		 MSG_DONTWAIT);
	if (n < 0 && errno == EAGAIN)
		return false;
	if (n == 0)
		die("vmstep-net has closed a port");
	g->in_end += (size_t)check((int)n, "receive on a stream");
	return true;
}

static unsigned int stream_recv(struct guest *g, unsigned int max,
				guest_take_fn take, void *arg)
{
	const struct virtio_net_hdr_v1 none = { 0 };
	unsigned int n = 0;

	while (n < max) {
		size_t have = g->in_end - g->in_at, len;
		struct iovec frame;

		len = have < PREFIX ? 0 : wire_get32(g->in + g->in_at);
		if (have < PREFIX || have - PREFIX < len) {
			if (!stream_read(g))
				break;
			continue;
		}
		frame = (struct iovec){ g->in + g->in_at + PREFIX, len };
		if (!test_is_question(frame.iov_base)) {
			take(&frame, 1, len, &none, arg);
			n++;
		}
		g->in_at += PREFIX + len;
	}
	return n;
}

static void stream_wait(struct guest *g, enum guest_wait what, int ms)
{
	struct pollfd p = { g->fd, what == GUEST_FRAME ? POLLIN : POLLOUT, 0 };

	check(poll(&p, 1, ms), "poll");
}

/* -- either --------------------------------------------------------------- */

unsigned int guest_send(struct guest *g, unsigned int pair, unsigned int max,
			guest_fill_fn fill, void *arg)
{
	return g->driver ? vhost_send(g, pair, max, fill, arg)
			 : stream_send(g, max, fill, arg);
}

bool guest_flush(struct guest *g)
{
	return g->driver || stream_flush(g);
}

unsigned int guest_recv(struct guest *g, unsigned int max, guest_take_fn take,
			void *arg)
{
	unsigned int n = 0;

	if (!g->driver)
		return stream_recv(g, max, take, arg);
	for (unsigned int i = 0; i < pairs(g); i++)
		n += vhost_recv(g, i, max, take, arg);
	return n;
}

void guest_wait(struct guest *g, enum guest_wait what, int ms)
{
	if (g->driver)
		vhost_wait(g, what, ms);
	else
		stream_wait(g, what, ms);
}
