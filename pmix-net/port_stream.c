#include <config.h>

#include "port_stream.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "cleanup.h"
#include "link_wire.h"
#include "netctl.h"

/* Reading: bytes go into a buffer that is held only while it has some. Whole
 * frames are offered to the forwarder where they lie; one that has to wait
 * stops the reading, and the kernel's socket buffer then stops QEMU.
 *
 * Writing: frames are copied behind one another and leave at the end of the
 * round (flow.h), or as soon as FLUSH_BYTES wait. That is done by who sends,
 * in whatever thread, and so is under the outlet's lock, as is what the socket
 * is watched for.
 */

#define PREFIX	    4
#define FLUSH_BYTES (64 * 1024)
#define LOW_BYTES   (PORT_QUEUE_BYTES / 2)
#define READS	    4 /* a round, so that one port cannot starve others */

struct stream {
	struct port port;
	struct port_env env;
	struct inlet in;
	int fd;
	struct loop_io *io;
	struct buf *rx; /* NULL: nothing half-read */
	/* under the outlet's lock: */
	struct bufq tx;
	size_t tx_bytes;
	struct netstats_sum fresh; /* queued since the last flush */
	bool blocked;		   /* the socket is full: wait for EPOLLOUT */
	bool was_full;		   /* someone may wait for room */
	bool paused;		   /* a frame of the guest's waits */
	bool dead;
};

static struct stream *of_port(struct port *p)
{
	return (struct stream *)((char *)p - offsetof(struct stream, port));
}

static struct stream *of_inlet(struct inlet *in)
{
	return (struct stream *)((char *)in - offsetof(struct stream, in));
}

static struct stream *of_outlet(struct outlet *out)
{
	return of_port(
		(struct port *)((char *)out - offsetof(struct port, out)));
}

static void watch_locked(struct stream *s)
{
	uint32_t events = 0;

	if (s->dead)
		return;
	if (!s->paused)
		events |= EPOLLIN;
	if (s->blocked)
		events |= EPOLLOUT;
	loop_io_set(s->io, events);
}

static void watch(struct stream *s)
{
	outlet_lock(&s->port.out);
	s->paused = s->in.awaits != NULL;
	watch_locked(s);
	outlet_unlock(&s->port.out);
}

static void end(struct stream *s, const char *why)
{
	if (s->dead)
		return;
	outlet_lock(&s->port.out);
	s->dead = true;
	loop_io_set(s->io, 0);
	outlet_unlock(&s->port.out);
	s->env.ended(&s->port, why, s->env.arg);
}

/* -- from the guest ------------------------------------------------------- */

int port_stream_next(const uint8_t *data, size_t len)
{
	uint32_t frame;

	if (len < PREFIX)
		return 0;
	frame = wire_get32(data);
	if (frame == 0 || frame > WIRE_FRAME_MAX)
		return -EPROTO;
	return frame > len - PREFIX ? 0 : (int)frame;
}

/* Returns 0, -EAGAIN when a frame waits, -EPROTO when it is no frame. */
static int offer_frames(struct stream *s)
{
	struct buf *b = s->rx;
	size_t start = b->start, frames = 0;
	struct packet p;
	int n, r = 0;

	while ((n = port_stream_next(b->data + b->start, buf_len(b))) > 0) {
		p = packet_flat(b->data + b->start + PREFIX, (size_t)n);
		r = port_offer(&s->port, s->env.fwd, &s->in, &p);
		if (r < 0)
			break;
		b->start += PREFIX + (size_t)n;
		frames++;
	}
	port_took(&s->port, frames, b->start - start - frames * PREFIX);
	return r < 0 ? r : n;
}

static void give_back_rx(struct stream *s)
{
	if (s->rx && !buf_len(s->rx)) {
		buf_return(s->env.pool, s->rx);
		s->rx = NULL;
	}
}

/* One read and what it brought. 0: there may be more; else stop. */
static int read_once(struct stream *s)
{
	ssize_t n;
	int r;

	if (!s->rx)
		s->rx = buf_lend_always(s->env.pool);
	if (!s->rx)
		return -ENOMEM;
	buf_compact(s->rx);
	n = recv(s->fd, s->rx->data + s->rx->end, buf_room(s->rx),
		 MSG_DONTWAIT);
	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	if (n == 0)
		return -ENOTCONN;
	s->rx->end += (size_t)n;
	r = offer_frames(s);
	if (r == 0 && buf_room(s->rx) > 0)
		return -EAGAIN; /* a short read: there is no more now */
	return r;
}

/* The port may be freed by this: nothing of it is touched afterwards. */
static void after_read(struct stream *s, int r)
{
	give_back_rx(s);
	watch(s);
	if (r == -ENOTCONN || r == -ECONNRESET)
		end(s, "QEMU closed it");
	else if (r == -EPROTO)
		end(s, "a frame's length is out of bounds");
	else if (r < 0 && r != -EAGAIN)
		end(s, strerror(-r));
}

static void read_some(struct stream *s)
{
	int r = 0;

	for (int i = 0; i < READS && r == 0; i++)
		r = read_once(s);
	after_read(s, r);
}

static void resume(struct inlet *in)
{
	struct stream *s = of_inlet(in);

	if (!s->dead)
		after_read(s, s->rx ? offer_frames(s) : 0);
}

/* -- to the guest --------------------------------------------------------- */

static void drop_sent(struct stream *s, size_t n)
{
	s->tx_bytes -= n;
	while (n) {
		struct buf *b = s->tx.head;
		size_t part = n < buf_len(b) ? n : buf_len(b);

		b->start += part;
		n -= part;
		if (!buf_len(b))
			buf_return(s->env.pool, bufq_pop(&s->tx));
	}
}

static int send_some(struct stream *s)
{
	struct iovec iov[16];
	struct msghdr msg = { .msg_iov = iov };
	ssize_t n;

	for (struct buf *b = s->tx.head; b && msg.msg_iovlen < ARRAY_SIZE(iov);
	     b = b->next)
		iov[msg.msg_iovlen++] =
			(struct iovec){ b->data + b->start, buf_len(b) };
	n = sendmsg(s->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0)
		return -errno;
	drop_sent(s, (size_t)n);
	return 0;
}

static void flush(struct stream *s)
{
	int r = 0;

	if (s->fresh.frames)
		batches_add(&s->port.out_batches, s->fresh.frames,
			    s->fresh.bytes);
	s->fresh = (struct netstats_sum){ 0 };
	while (!s->dead && s->tx.head && (r == 0 || r == -EINTR))
		r = send_some(s);
	s->blocked = r == -EAGAIN;
	if (s->was_full && s->tx_bytes <= LOW_BYTES) {
		s->was_full = false;
		flow_drained(s->env.flow, &s->port.out);
	}
	watch_locked(s); /* another error shows up as EPOLLHUP or in recv() */
}

static void stream_flush(struct outlet *out)
{
	struct stream *s = of_outlet(out);

	if (!s->blocked)
		flush(s);
}

static uint8_t *reserve(struct stream *s, size_t len)
{
	struct buf *b = s->tx.tail;

	if (!b || buf_room(b) < len) {
		b = buf_lend(s->env.pool);
		if (!b)
			return NULL;
		bufq_push(&s->tx, b);
	}
	b->end += len;
	return b->data + b->end - len;
}

static int stream_send(struct outlet *out, const struct packet *p)
{
	struct stream *s = of_outlet(out);
	uint8_t *at = NULL;

	if (s->tx_bytes + PREFIX + p->len <= PORT_QUEUE_BYTES)
		at = reserve(s, PREFIX + p->len);
	if (!at) {
		s->was_full = true;
		return -EAGAIN;
	}
	wire_put32(at, (uint32_t)p->len);
	packet_read(p, 0, at + PREFIX, p->len);
	s->tx_bytes += PREFIX + p->len;
	s->fresh.frames++;
	s->fresh.bytes += p->len;
	if (s->tx_bytes >= FLUSH_BYTES && !s->blocked)
		flush(s);
	return 0;
}

/* -- life ----------------------------------------------------------------- */

static void on_io(uint32_t events, void *arg)
{
	struct stream *s = arg;

	if (events & EPOLLOUT) {
		outlet_lock(&s->port.out);
		flush(s);
		outlet_unlock(&s->port.out);
	}
	if (!s->dead && !s->in.awaits && (events & ~(uint32_t)EPOLLOUT))
		read_some(s);
	else if (events & (EPOLLHUP | EPOLLERR))
		end(s, "QEMU closed it");
}

static void stream_free(struct port *p)
{
	struct stream *s = of_port(p);

	fwd_remove_port(s->env.fwd, p->rank);
	flow_forget_inlet(s->env.flow, &s->in);
	loop_io_free(s->io);
	close(s->fd);
	buf_return(s->env.pool, s->rx);
	bufq_done(&s->tx, s->env.pool);
	lock_done(&s->port.out.lock);
	free(s);
}

static void stream_stats(const struct port *p, struct netstats_port *ret,
			 struct netstats *to)
{
	const struct stream *s =
		(const struct stream *)((const char *)p -
					offsetof(struct stream, port));

	ret->kind = NETCTL_STREAM;
	ret->waits = s->in.awaits != NULL;
	ret->queue_bytes = s->tx_bytes;
	netstats_add(to, NETSTATS_PORT, ret);
}

static const struct port_ops ops = { .kind = "stream",
				     .free = stream_free,
				     .stats = stream_stats };

static int check_socket(int fd, struct errmsg *err)
{
	int type = 0;
	socklen_t len = sizeof(type);

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0)
		return errmsg_set(err, -errno, "descriptor of the port");
	if (type != SOCK_STREAM)
		return errmsg_say(
			err, -EINVAL,
			"descriptor of the port is not a stream socket");
	return 0;
}

int port_stream_new(const struct port_env *env, uint32_t rank, int fd,
		    struct port **ret, struct errmsg *err)
{
	_cleanup_close_ int own_fd = fd;
	_cleanup_free_ struct stream *s = calloc(1, sizeof(*s));
	int r;

	r = check_socket(fd, err);
	if (r < 0)
		return r;
	if (!s)
		return errmsg_set(err, -ENOMEM, "port");
	s->port.ops = &ops;
	s->port.rank = rank;
	s->in = (struct inlet){ resume, &s->port.counts, env->flow,
				.traffic = &s->port.traffic };
	s->port.out =
		(struct outlet){ stream_send, &s->port.counts, FLOW_PORT_MS };
	s->port.out.flush = stream_flush;
	flow_outlet(env->flow, &s->port.out);
	s->env = *env;
	s->fd = fd;
	r = loop_io_add(env->loop, fd, EPOLLIN, on_io, s, &s->io);
	if (r < 0)
		return errmsg_set(err, r, "watch the port");
	r = fwd_add_port(env->fwd, rank, &s->port.out); /* which may send */
	if (r < 0) {
		loop_io_free(s->io);
		return errmsg_set(err, r, "port of rank %" PRIu32, rank);
	}
	TAKE_FD(own_fd);
	*ret = &TAKE_PTR(s)->port;
	return 0;
}
