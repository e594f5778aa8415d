#include <config.h>

#include "port_dgram.h"

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

/* Reading: up to RX_FRAMES datagrams a system call, each into a buffer of its
 * own, held only until the forwarder has had the frame. One that has to wait
 * stops the reading.
 *
 * Writing: frames are copied behind one another, each with its length before
 * it, and leave at the end of the round (flow.h), or as soon as FLUSH_BYTES
 * wait. That is done by who sends, in whatever thread, and so is under the
 * outlet's lock, as is what the socket is watched for.
 *
 * The kernel bounds a pair of datagram sockets by what its sender has under
 * way (SO_SNDBUF): EAGAIN until the other end has read enough of it, then
 * EPOLLOUT. The other bound, net.unix.max_dgram_qlen, is not for pairs.
 */

#define PREFIX	     4
#define FLUSH_BYTES  (64 * 1024)
#define LOW_BYTES    (PORT_QUEUE_BYTES / 2)
#define RX_FRAMES    8
#define TX_FRAMES    32
#define READS	     4 /* a round, so that one port cannot starve others */
#define SNDBUF_BYTES (1024 * 1024) /* asked for; the kernel may give less */

struct dgram {
	struct port port;
	struct port_env env;
	struct inlet in;
	int fd;
	struct loop_io *io;
	struct buf *rx[RX_FRAMES]; /* a frame each, from next_rx to n_rx */
	unsigned int n_rx, next_rx;
	/* under the outlet's lock: */
	struct bufq tx;
	size_t tx_bytes;
	bool blocked;  /* the socket is full: wait for EPOLLOUT */
	bool was_full; /* someone may wait for room */
	bool paused;   /* a frame of the guest's waits */
	bool gone;     /* QEMU is: end_job ends the port */
	bool dead;
	struct round_job end_job;
};

static struct dgram *of_port(struct port *p)
{
	return (struct dgram *)((char *)p - offsetof(struct dgram, port));
}

static struct dgram *of_inlet(struct inlet *in)
{
	return (struct dgram *)((char *)in - offsetof(struct dgram, in));
}

static struct dgram *of_outlet(struct outlet *out)
{
	return of_port(
		(struct port *)((char *)out - offsetof(struct port, out)));
}

static void watch_locked(struct dgram *d)
{
	uint32_t events = 0;

	if (d->dead)
		return;
	if (!d->paused)
		events |= EPOLLIN;
	if (d->blocked)
		events |= EPOLLOUT;
	loop_io_set(d->io, events);
}

static void watch(struct dgram *d)
{
	outlet_lock(&d->port.out);
	d->paused = d->in.awaits != NULL;
	watch_locked(d);
	outlet_unlock(&d->port.out);
}

static void end(struct dgram *d, const char *why)
{
	if (d->dead)
		return;
	outlet_lock(&d->port.out);
	d->dead = true;
	loop_io_set(d->io, 0);
	outlet_unlock(&d->port.out);
	d->env.ended(&d->port, why, d->env.arg);
}

/* -- from the guest ------------------------------------------------------- */

/* Returns 0, or -EAGAIN when a frame waits. */
static int offer_frames(struct dgram *d)
{
	size_t frames = 0, bytes = 0;
	int r = 0;

	for (; d->next_rx < d->n_rx; d->next_rx++) {
		struct buf *b = d->rx[d->next_rx];
		struct packet p = packet_flat(b->data, buf_len(b));

		r = port_offer(&d->port, d->env.fwd, &d->in, &p);
		if (r < 0)
			break;
		frames++;
		bytes += p.len;
		buf_return(d->env.pool, b);
	}
	port_took(&d->port, frames, bytes);
	if (r == 0)
		d->n_rx = d->next_rx = 0;
	return r;
}

/* As many as memory allows, none is held before. */
static void lend_rx(struct dgram *d)
{
	while (d->n_rx < RX_FRAMES) {
		struct buf *b = buf_lend_always(d->env.pool);

		if (!b)
			return;
		d->rx[d->n_rx++] = b;
	}
}

/* The last of them got nothing. */
static void give_back_rx(struct dgram *d, unsigned int used)
{
	while (d->n_rx > used)
		buf_return(d->env.pool, d->rx[--d->n_rx]);
}

/* One call and what it brought. 0: there may be more; else stop. */
static int read_once(struct dgram *d)
{
	struct mmsghdr msgs[RX_FRAMES] = { 0 };
	struct iovec iov[RX_FRAMES];
	unsigned int lent;
	int n, r;

	lend_rx(d);
	lent = d->n_rx;
	if (!lent)
		return -ENOMEM;
	for (unsigned int i = 0; i < lent; i++) {
		iov[i] = (struct iovec){ d->rx[i]->data, buf_room(d->rx[i]) };
		msgs[i].msg_hdr.msg_iov = &iov[i];
		msgs[i].msg_hdr.msg_iovlen = 1;
	}
	n = recvmmsg(d->fd, msgs, lent, MSG_DONTWAIT, NULL);
	r = n < 0 ? -errno : 0;
	/* what was longer than a buffer is too long for a frame even so */
	for (int i = 0; i < n; i++)
		d->rx[i]->end = msgs[i].msg_len;
	give_back_rx(d, n < 0 ? 0 : (unsigned int)n);
	if (r < 0)
		return r == -EINTR ? 0 : r;
	r = offer_frames(d);
	return r == 0 && (unsigned int)n < lent ? -EAGAIN : r;
}

/* The port may be freed by this: nothing of it is touched afterwards. */
static void after_read(struct dgram *d, int r)
{
	watch(d);
	if (r == -ECONNRESET)
		end(d, "QEMU closed it");
	else if (r < 0 && r != -EAGAIN)
		end(d, strerror(-r));
}

static void read_some(struct dgram *d)
{
	int r = offer_frames(d); /* those that waited go first */

	for (int i = 0; i < READS && r == 0; i++)
		r = read_once(d);
	after_read(d, r);
}

static void resume(struct inlet *in)
{
	struct dgram *d = of_inlet(in);

	if (!d->dead)
		after_read(d, offer_frames(d));
}

/* -- to the guest --------------------------------------------------------- */

static void drop_first(struct dgram *d)
{
	struct buf *b = d->tx.head;
	size_t n = PREFIX + wire_get32(b->data + b->start);

	b->start += n;
	d->tx_bytes -= n;
	if (!buf_len(b))
		buf_return(d->env.pool, bufq_pop(&d->tx));
}

/* The first frames of the queue as messages; returns how many. */
static unsigned int first_frames(const struct dgram *d, struct mmsghdr *msgs,
				 struct iovec *iov)
{
	unsigned int n = 0;

	for (struct buf *b = d->tx.head; b; b = b->next)
		for (size_t at = b->start; at < b->end; n++) {
			size_t len = wire_get32(b->data + at);

			if (n == TX_FRAMES)
				return n;
			iov[n] = (struct iovec){ b->data + at + PREFIX, len };
			msgs[n].msg_hdr.msg_iov = &iov[n];
			msgs[n].msg_hdr.msg_iovlen = 1;
			at += PREFIX + len;
		}
	return n;
}

static int send_some(struct dgram *d)
{
	struct mmsghdr msgs[TX_FRAMES] = { 0 };
	struct iovec iov[TX_FRAMES];
	int n = sendmmsg(d->fd, msgs, first_frames(d, msgs, iov),
			 MSG_DONTWAIT | MSG_NOSIGNAL);

	size_t before = d->tx_bytes;

	if (n < 0)
		return -errno;
	for (int i = 0; i < n; i++)
		drop_first(d);
	if (n)
		batches_add(&d->port.out_batches, (uint64_t)n,
			    before - d->tx_bytes - (size_t)n * PREFIX);
	return 0;
}

/* An error is the first frame's. Returns -EAGAIN: no more goes now; 0. */
static int after_send(struct dgram *d, int r)
{
	switch (r) {
	case 0:
	case -EINTR:
	case -EAGAIN:
		break;
	case -EMSGSIZE: /* SO_SNDBUF is smaller than this frame */
		count(&d->port.counts, COUNT_TOO_BIG);
		drop_first(d);
		return 0;
	case -ENOBUFS:
	case -ENOMEM:
		count(&d->port.counts, COUNT_FULL);
		drop_first(d);
		return 0;
	default:
		d->gone = true;
		while (d->tx.head)
			drop_first(d);
		round_post(d->env.round, &d->end_job);
	}
	return r == -EINTR ? 0 : r;
}

static void flush(struct dgram *d)
{
	int r = 0;

	while (!d->dead && d->tx.head && r == 0)
		r = after_send(d, send_some(d));
	d->blocked = r == -EAGAIN;
	if (d->was_full && d->tx_bytes <= LOW_BYTES) {
		d->was_full = false;
		flow_drained(d->env.flow, &d->port.out);
	}
	watch_locked(d);
}

static void dgram_flush(struct outlet *out)
{
	struct dgram *d = of_outlet(out);

	if (!d->blocked)
		flush(d);
}

/* Not out of a flush: that may be deep in the forwarder, which would find the
 * port freed under it. */
static void on_end_job(struct round_job *job)
{
	end((struct dgram *)((char *)job - offsetof(struct dgram, end_job)),
	    "QEMU closed it");
}

static uint8_t *reserve(struct dgram *d, size_t len)
{
	struct buf *b = d->tx.tail;

	if (!b || buf_room(b) < len) {
		b = buf_lend(d->env.pool);
		if (!b)
			return NULL;
		bufq_push(&d->tx, b);
	}
	b->end += len;
	return b->data + b->end - len;
}

static int dgram_send(struct outlet *out, const struct packet *p)
{
	struct dgram *d = of_outlet(out);
	uint8_t *at = NULL;

	if (d->gone)
		return -ENOTCONN;
	if (d->tx_bytes + PREFIX + p->len <= PORT_QUEUE_BYTES)
		at = reserve(d, PREFIX + p->len);
	if (!at) {
		d->was_full = true;
		return -EAGAIN;
	}
	wire_put32(at, (uint32_t)p->len);
	packet_read(p, 0, at + PREFIX, p->len);
	d->tx_bytes += PREFIX + p->len;
	if (d->tx_bytes >= FLUSH_BYTES && !d->blocked)
		flush(d);
	return 0;
}

/* -- life ----------------------------------------------------------------- */

static void on_io(uint32_t events, void *arg)
{
	struct dgram *d = arg;

	if (events & EPOLLOUT) {
		outlet_lock(&d->port.out);
		flush(d);
		outlet_unlock(&d->port.out);
	}
	if (!d->dead && !d->in.awaits && (events & ~(uint32_t)EPOLLOUT))
		read_some(d);
	else if (events & (EPOLLHUP | EPOLLERR))
		end(d, "QEMU closed it");
}

static void dgram_free(struct port *p)
{
	struct dgram *d = of_port(p);

	fwd_remove_port(d->env.fwd, p->rank);
	flow_forget_inlet(d->env.flow, &d->in);
	round_forget(d->env.round, &d->end_job);
	loop_io_free(d->io);
	close(d->fd);
	for (; d->next_rx < d->n_rx; d->next_rx++)
		buf_return(d->env.pool, d->rx[d->next_rx]);
	bufq_done(&d->tx, d->env.pool);
	lock_done(&d->port.out.lock);
	free(d);
}

static void dgram_stats(const struct port *p, struct netstats_port *ret,
			struct netstats *to)
{
	const struct dgram *d =
		(const struct dgram *)((const char *)p -
				       offsetof(struct dgram, port));

	ret->kind = NETCTL_DGRAM;
	ret->waits = d->in.awaits != NULL;
	ret->queue_bytes = d->tx_bytes;
	netstats_add(to, NETSTATS_PORT, ret);
}

static const struct port_ops ops = { .kind = "dgram",
				     .free = dgram_free,
				     .stats = dgram_stats };

static int prepare_socket(int fd, struct errmsg *err)
{
	const int bytes = SNDBUF_BYTES;
	int type = 0;
	socklen_t len = sizeof(type);

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0)
		return errmsg_set(err, -errno, "descriptor of the port");
	if (type != SOCK_DGRAM)
		return errmsg_say(
			err, -EINVAL,
			"descriptor of the port is not a datagram socket");
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	return 0;
}

int port_dgram_new(const struct port_env *env, uint32_t rank, int fd,
		   struct port **ret, struct errmsg *err)
{
	_cleanup_close_ int own_fd = fd;
	_cleanup_free_ struct dgram *d = calloc(1, sizeof(*d));
	int r;

	r = prepare_socket(fd, err);
	if (r < 0)
		return r;
	if (!d)
		return errmsg_set(err, -ENOMEM, "port");
	d->port.ops = &ops;
	d->port.rank = rank;
	d->in = (struct inlet){ resume, &d->port.counts, env->flow,
				.traffic = &d->port.traffic };
	d->port.out =
		(struct outlet){ dgram_send, &d->port.counts, FLOW_PORT_MS };
	d->port.out.flush = dgram_flush;
	flow_outlet(env->flow, &d->port.out);
	d->end_job.fn = on_end_job;
	d->env = *env;
	d->fd = fd;
	r = loop_io_add(env->loop, fd, EPOLLIN, on_io, d, &d->io);
	if (r < 0)
		return errmsg_set(err, r, "watch the port");
	r = fwd_add_port(env->fwd, rank, &d->port.out); /* which may send */
	if (r < 0) {
		loop_io_free(d->io);
		return errmsg_set(err, r, "port of rank %" PRIu32, rank);
	}
	TAKE_FD(own_fd);
	*ret = &TAKE_PTR(d)->port;
	return 0;
}
