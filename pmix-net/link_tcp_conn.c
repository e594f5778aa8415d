#include <config.h>

#include "link_tcp_conn.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "cleanup.h"
#include "tcp_socket.h"

/* The states of a connection. Whatever is not expected in a state ends it.
 *
 *   dialler                           acceptor
 *   DIALLING  waits for connect()
 *   HELLO     sent hello              HELLO  waits for the dialler's hello
 *   PROOF     sent proof              PROOF  sent hello, waits for a proof
 *                                     OPEN   the proof was right; sent its
 *                                            own, waits for message OPEN
 *   UP        the proof was right;    UP
 *             sent OPEN
 *
 * OPEN tells the acceptor that the dialler has seen its proof. A connection
 * that ends before UP is a failed attempt; one that ends after it is a break.
 * Before UP a deadline runs, and all that is sent fits an empty socket buffer.
 */

#define READS 4 /* a round, so that one link cannot starve others */

/* What is read at once: any message, and little more, as what is there of the
 * next one has to be moved to the front of the buffer. */
#define READ_BYTES ((size_t)68 * 1024)
static_assert(sizeof(struct wire_header) + WIRE_PAYLOAD_MAX + WIRE_TAG <=
			      READ_BYTES &&
		      READ_BYTES <= BUF_BYTES,
	      "a read takes any message");

static struct tcp *of_link(struct link *l)
{
	return (struct tcp *)((char *)l - offsetof(struct tcp, link));
}

static void set_state(struct tcp *t, enum tcp_state state)
{
	t->host->n_strangers -= tcp_is_stranger(t);
	t->state = state;
	t->host->n_strangers += tcp_is_stranger(t);
}

/* No event comes from it any more. */
static void silence(struct tcp *t)
{
	set_state(t, TCP_DEAD);
	tcp_pending_remove(t);
	loop_io_set(t->io, 0);
}

static void release(struct tcp *t)
{
	const struct tcp_carrier *carrier = t->host->carrier;

	loop_io_free(t->io);
	if (!t->carried || !carrier->part(t, !t->ended))
		close(t->fd);
	buf_return(t->host->env.pool, t->rx);
	buf_return(t->host->env.pool, t->tx);
	seal_free(t->seal);
	free(t);
}

void tcp_free(struct tcp *t)
{
	silence(t);
	if (t->busy)
		t->doomed = true;
	else
		release(t);
}

void tcp_end(struct tcp *t, int code, const char *why)
{
	const struct link_env *env = &t->host->env;
	char who[TCP_ADDRESS_MAX];

	if (t->state == TCP_DEAD)
		return;
	if (tcp_is_stranger(t)) {
		tcp_peer_text(t->fd, who);
		env->events->stranger(who, code, why, env->arg);
	}
	silence(t);
	t->ended = true;
	if (t->link.owner)
		env->events->down(&t->link, code, why, env->arg);
	else
		tcp_free(t);
}

/* -- sending -------------------------------------------------------------- */

static void watch(struct tcp *t)
{
	uint32_t events = 0;

	if (t->state == TCP_DEAD)
		return;
	if (t->state == TCP_DIALLING || t->tx)
		events |= EPOLLOUT;
	if (t->state != TCP_DIALLING && !t->paused && !t->closed)
		events |= EPOLLIN;
	loop_io_set(t->io, events);
}

/* Handshake and OPEN: they fit, or the peer is none. */
static int send_small(struct tcp *t, const void *data, size_t len)
{
	ssize_t n = send(t->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n == (ssize_t)len)
		return 0;
	return n < 0 && errno != EAGAIN ? -errno : -EPROTO;
}

static void send_pending(struct tcp *t)
{
	struct buf *b = t->tx;
	ssize_t n;

	while (buf_len(b)) {
		n = send(t->fd, b->data + b->start, buf_len(b),
			 MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0 && errno != EINTR)
			break; /* recv() will say the same, and end it */
		if (n > 0)
			b->start += (size_t)n;
	}
	t->tx = NULL;
	buf_return(t->host->env.pool, b);
}

/* In @b, which has room. What cannot be sealed is not sent, nor what would
 * follow: recv() will see the end. */
bool tcp_seal(struct tcp *t, struct buf *b)
{
	if (!t->seal)
		return true;
	if (seal_close(t->seal, b->data + b->start, buf_len(b)) < 0) {
		shutdown(t->fd, SHUT_RDWR);
		return false;
	}
	b->end += WIRE_TAG;
	return true;
}

static int tcp_send(struct link *l, struct buf *b)
{
	struct tcp *t = of_link(l);

	if (t->host->carrier)
		return t->host->carrier->send(t, b);
	if (t->tx) {
		t->refused = true;
		return -EAGAIN;
	}
	if (!tcp_seal(t, b)) {
		buf_return(t->host->env.pool, b);
		return 0;
	}
	t->tx = b;
	send_pending(t);
	watch(t);
	return 0;
}

static void on_writable(struct tcp *t)
{
	const struct link_env *env = &t->host->env;

	if (t->tx)
		send_pending(t);
	watch(t);
	if (!t->tx && t->refused) {
		t->refused = false;
		env->events->writable(&t->link, env->arg);
	}
}

/* -- the handshake -------------------------------------------------------- */

static int send_proof(struct tcp *t, struct errmsg *err)
{
	bool dialled = t->link.dialled;
	uint8_t proof[WIRE_PROOF];
	int r;

	r = auth_proof(t->host->env.auth,
		       dialled ? AUTH_DIALLER : AUTH_ACCEPTOR,
		       dialled ? &t->ours : &t->theirs,
		       dialled ? &t->theirs : &t->ours, proof, err);
	if (r == 0)
		r = send_small(t, proof, sizeof(proof));
	return r;
}

static int check_proof(struct tcp *t, const uint8_t *said, struct errmsg *err)
{
	bool dialled = t->link.dialled;
	uint8_t proof[WIRE_PROOF];
	int r;

	r = auth_proof(t->host->env.auth,
		       dialled ? AUTH_ACCEPTOR : AUTH_DIALLER,
		       dialled ? &t->ours : &t->theirs,
		       dialled ? &t->theirs : &t->ours, proof, err);
	if (r == 0 && !auth_same(proof, said))
		r = errmsg_say(err, -EACCES, "it does not hold the step's key");
	return r;
}

static int make_seal(struct tcp *t, struct errmsg *err)
{
	const struct auth *auth = t->host->env.auth;
	bool dialled = t->link.dialled;

	if (!(auth->flags & WIRE_SEALED))
		return 0;
	return seal_new(auth, dialled, dialled ? &t->ours : &t->theirs,
			dialled ? &t->theirs : &t->ours, &t->seal, err);
}

/* With what our end of a carrier offers. */
static int send_open(struct tcp *t, struct errmsg *err)
{
	const struct tcp_carrier *carrier = t->host->carrier;
	uint8_t open[sizeof(struct wire_header) + TCP_OFFER_MAX + WIRE_TAG];
	size_t len = sizeof(struct wire_header);
	int r = carrier ? carrier->offer(t, open + len, err) : 0;

	if (r < 0)
		return r;
	wire_put32(open, WIRE_OPEN);
	wire_put32(open + 4, (uint32_t)r);
	len += (size_t)r;
	if (t->seal && seal_close(t->seal, open, len) < 0)
		return -EIO;
	return send_small(t, open, len + (t->seal ? WIRE_TAG : 0));
}

static int take_hello(struct tcp *t, struct errmsg *err)
{
	const struct auth *auth = t->host->env.auth;
	int r;

	memcpy(&t->theirs, t->rx->data + t->rx->start, sizeof(t->theirs));
	t->rx->start += sizeof(t->theirs);
	r = auth_check_hello(auth, &t->theirs,
			     t->link.dialled ? t->link.node : AUTH_ANY, err);
	if (r < 0)
		return r;
	if (t->link.dialled) {
		t->link.committed = true;
		r = send_proof(t, err);
	} else {
		r = auth_hello(auth, &t->ours, err);
		if (r == 0)
			r = send_small(t, &t->ours, sizeof(t->ours));
	}
	if (r == 0)
		set_state(t, TCP_PROOF);
	return r;
}

static void keep_name(struct tcp *t)
{
	size_t i;

	for (i = 0; i < WIRE_NAME - 1; i++) {
		char c = t->theirs.name[i];

		if (c <= ' ' || c > '~')
			break;
		t->link.peer_name[i] = c;
	}
	t->link.peer_name[i] = '\0';
}

static int up(struct tcp *t)
{
	const struct link_env *env = &t->host->env;

	set_state(t, TCP_UP);
	t->link.up = true;
	tcp_pending_remove(t);
	env->events->up(&t->link, env->arg);
	if (t->state == TCP_UP && t->host->carrier)
		t->host->carrier->resume(t);
	return 0;
}

/* The dialler is up once its proof was answered; with a carrier, when both have
 * said how they are to be reached. */
static int take_open(struct tcp *t, const uint8_t *offer, size_t len,
		     struct errmsg *err)
{
	const struct tcp_carrier *carrier = t->host->carrier;
	int r;

	if (!carrier)
		return len ? -EPROTO : up(t);
	r = carrier->join(t, offer, len, err);
	if (r == 0 && !t->link.dialled)
		r = send_open(t, err);
	return r < 0 ? r : up(t);
}

static int take_proof(struct tcp *t, struct errmsg *err)
{
	const struct link_env *env = &t->host->env;
	const uint8_t *said = t->rx->data + t->rx->start;
	int r;

	t->rx->start += WIRE_PROOF;
	r = check_proof(t, said, err);
	if (r < 0)
		return r;
	keep_name(t);
	r = make_seal(t, err);
	if (r < 0)
		return r;
	if (t->link.dialled) {
		r = send_open(t, err);
		if (r == 0 && t->host->carrier)
			set_state(t, TCP_OPEN);
		else if (r == 0)
			r = up(t);
		return r;
	}
	t->link.node = be32toh(t->theirs.node);
	set_state(t, TCP_OPEN);
	tcp_pending_set(t, LINK_OPEN_MS);
	if (!env->events->proved(&t->link, env->arg))
		return errmsg_say(err, -EALREADY, "there is a better link");
	return send_proof(t, err);
}

/* -- receiving ------------------------------------------------------------ */

/* The whole message at @p, once: it may be looked at again. */
static int open_seal(struct tcp *t, uint8_t *p, uint32_t len,
		     struct errmsg *err)
{
	uint8_t *payload = p + sizeof(struct wire_header);

	if (!t->seal || t->opened)
		return 0;
	if (seal_open(t->seal, p, payload, len, payload) < 0)
		return errmsg_say(
			err, -EBADMSG,
			"what came is not as it was sent (its tag is wrong)");
	t->opened = true;
	return 0;
}

static int take_message(struct tcp *t, struct errmsg *err)
{
	const struct link_env *env = &t->host->env;
	uint8_t *p = t->rx->data + t->rx->start;
	uint32_t type = wire_get32(p), len = wire_get32(p + 4);
	size_t tag = t->seal ? WIRE_TAG : 0;
	int r;

	/* No word of a peer's where there should have been a tag. */
	if (len > WIRE_PAYLOAD_MAX)
		return errmsg_say(err, t->seal ? -EBADMSG : -EPROTO,
				  "it sent a message of %" PRIu32 " bytes",
				  len);
	if (len + tag > buf_len(t->rx) - sizeof(struct wire_header))
		return -ENODATA;
	r = open_seal(t, p, len, err);
	if (r < 0)
		return r;
	if ((t->state == TCP_OPEN) != (type == WIRE_OPEN))
		return errmsg_say(err, -EPROTO,
				  "it sent message %" PRIu32 " out of order",
				  type);
	if (type == WIRE_OPEN)
		r = take_open(t, p + sizeof(struct wire_header), len, err);
	else if (t->host->carrier)
		r = -EPROTO; /* messages go there */
	else
		r = env->events->message(&t->link, type,
					 p + sizeof(struct wire_header), len,
					 err, env->arg);
	if (r < 0)
		return r;
	t->rx->start += sizeof(struct wire_header) + len + tag;
	t->opened = false;
	return 0;
}

/* One thing off the front of what was read. -ENODATA: it is not whole. */
static int take(struct tcp *t, struct errmsg *err)
{
	size_t len = buf_len(t->rx);

	switch (t->state) {
	case TCP_HELLO:
		return len < sizeof(t->theirs) ? -ENODATA : take_hello(t, err);
	case TCP_PROOF:
		return len < WIRE_PROOF ? -ENODATA : take_proof(t, err);
	case TCP_OPEN:
	case TCP_UP:
		return len < sizeof(struct wire_header) ? -ENODATA
							: take_message(t, err);
	case TCP_DIALLING:
	case TCP_DEAD:
		break;
	}
	return -EPROTO;
}

/* Everything whole that was read. 0 or the error that ends the link. */
static int take_all(struct tcp *t, struct errmsg *err)
{
	int r = 0;

	while (r == 0 && t->rx && t->state != TCP_DEAD)
		r = take(t, err);
	if (t->state == TCP_DEAD || r == -ENODATA)
		return 0;
	if (r == -EAGAIN) {
		t->paused = true;
		return 0;
	}
	return r;
}

/* Returns the bytes read, 0 when there is no more now, or the error. */
static ssize_t receive(struct tcp *t, struct errmsg *err)
{
	ssize_t n;

	if (!t->rx)
		t->rx = buf_lend_always(t->host->env.pool);
	if (!t->rx)
		return errmsg_set(err, -ENOMEM, "receive buffer");
	buf_compact(t->rx);
	n = recv(t->fd, t->rx->data + t->rx->end, READ_BYTES - buf_len(t->rx),
		 MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n < 0)
		return errmsg_say(err, -errno, "%s", strerror(errno));
	if (n == 0)
		return errmsg_say(err, -ECONNRESET, "it closed the connection");
	t->rx->end += (size_t)n;
	return n;
}

void tcp_closed(struct tcp *t)
{
	if (t->closed)
		tcp_end(t, -ECONNRESET, "it closed the connection");
}

/* What the carrier has may be older than that end. */
static void drain(struct tcp *t)
{
	t->closed = true;
	watch(t);
	if (t->host->carrier->drain(t))
		tcp_closed(t);
}

static void read_some(struct tcp *t)
{
	struct errmsg err = { "it broke the protocol" };
	bool more = true;
	ssize_t r = 1;
	int taken;

	for (int i = 0; i < READS && more && r > 0; i++) {
		r = receive(t, &err);
		more = r > 0 && buf_len(t->rx) == READ_BYTES;
		taken = r > 0 ? take_all(t, &err) : 0;
		r = taken < 0 ? taken : r;
		if (t->state == TCP_DEAD || t->paused)
			break;
	}
	if (t->rx && !buf_len(t->rx)) {
		buf_return(t->host->env.pool, t->rx);
		t->rx = NULL;
	}
	watch(t);
	if (r == -ECONNRESET && t->state == TCP_UP && t->host->carrier)
		drain(t);
	else if (r < 0)
		tcp_end(t, (int)r, err.text);
}

/* -- life ----------------------------------------------------------------- */

static void on_connected(struct tcp *t)
{
	struct errmsg err = { "" };
	socklen_t len = sizeof(int);
	int e = 0, r;

	if (getsockopt(t->fd, SOL_SOCKET, SO_ERROR, &e, &len) < 0)
		e = errno;
	if (e) {
		tcp_end(t, -e, strerror(e));
		return;
	}
	r = auth_hello(t->host->env.auth, &t->ours, &err);
	if (r == 0)
		r = send_small(t, &t->ours, sizeof(t->ours));
	if (r < 0) {
		tcp_end(t, r, strerror(-r));
		return;
	}
	set_state(t, TCP_HELLO);
	tcp_pending_set(t, LINK_OPEN_MS);
	watch(t);
}

bool tcp_enter(struct tcp *t)
{
	bool outer = !t->busy;

	t->busy = true;
	return outer;
}

void tcp_leave(struct tcp *t, bool outer)
{
	if (!outer)
		return;
	t->busy = false;
	if (t->doomed)
		release(t);
}

static void on_io(uint32_t events, void *arg)
{
	struct tcp *t = arg;
	bool outer = tcp_enter(t);

	if (t->state == TCP_DIALLING)
		on_connected(t);
	else if (events & EPOLLOUT)
		on_writable(t);
	if (t->state != TCP_DEAD && !t->paused && !t->closed &&
	    (events & ~(uint32_t)EPOLLOUT))
		read_some(t);
	tcp_leave(t, outer);
}

static void resume_reading(struct tcp *t)
{
	struct errmsg err = { "it broke the protocol" };
	int r;

	if (!t->paused)
		return;
	t->paused = false;
	r = take_all(t, &err);
	watch(t);
	if (r < 0)
		tcp_end(t, r, err.text);
}

static void tcp_resume(struct link *l)
{
	struct tcp *t = of_link(l);
	bool outer = tcp_enter(t);

	if (t->state != TCP_DEAD && t->host->carrier)
		t->host->carrier->resume(t);
	else if (t->state != TCP_DEAD)
		resume_reading(t);
	tcp_leave(t, outer);
}

static void free_link(struct link *l)
{
	tcp_free(of_link(l));
}

static const struct link_ops link_ops = {
	.send = tcp_send,
	.resume = tcp_resume,
	.free = free_link,
};

int tcp_new(struct tcp_host *h, int fd, bool dialled, int64_t ms,
	    struct tcp **ret)
{
	_cleanup_close_ int own_fd = fd;
	_cleanup_free_ struct tcp *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return -ENOMEM;
	t->link.ops = &link_ops;
	t->link.dialled = dialled;
	t->host = h;
	t->fd = fd;
	t->state = TCP_DEAD;
	r = loop_io_add(h->env.loop, fd, dialled ? EPOLLOUT : EPOLLIN, on_io, t,
			&t->io);
	if (r < 0)
		return r;
	tcp_set_options(fd);
	set_state(t, dialled ? TCP_DIALLING : TCP_HELLO);
	tcp_pending_set(t, ms);
	TAKE_FD(own_fd);
	*ret = TAKE_PTR(t);
	return 0;
}
