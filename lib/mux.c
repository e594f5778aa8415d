#include <config.h>

#include "mux_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"

/* How a conversation begins. Each end has a nonce for it, drawn anew whenever
 * the last one ended. A SYNC carries the sender's nonce and echoes the one it
 * knows of the other end. An end is up when it has seen its own nonce echoed:
 * all before that SYNC is of an earlier life and was skipped, all after it is
 * meant for it. An end that is not up asks (FRAME_ASK), and whoever is asked
 * answers; two ends that start at once therefore meet in three or four SYNCs:
 *
 *      agent                                  helper
 *        |  SYNC nonce A, echo 0, ASK           |   (nobody there yet)
 *        |  SYNC nonce A, echo 0, ASK           |
 *        |------------------------------------->|
 *        |          SYNC nonce H, echo A, ASK   |
 *     up |<-------------------------------------|
 *        |  SYNC nonce A, echo H                |
 *        |------------------------------------->| up
 *
 * A SYNC with an unknown nonce while up means that the peer began again. So
 * does one that hides in a frame that never becomes complete: the guest was
 * reset while QEMU held half of it. "sent" counts the frames that went before:
 * an end that comes up late, having skipped some, must not go on from there.
 */

#define BEGIN_MS       200 /* between two conversations, at least */
#define SYNC_MAX_MS    16000
#define PEER_FRAME_MIN 4096

/* Early in a guest's boot getrandom() would block, and old kernels lack it. */
static int random_bytes(void *p, size_t len)
{
	_cleanup_close_ int fd = -1;

	if (getrandom(p, len, GRND_NONBLOCK) == (ssize_t)len)
		return 0;
	fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return read(fd, p, len) == (ssize_t)len ? 0 : -EIO;
}

static void new_nonce(struct mux *m)
{
	uint8_t fresh[FRAME_NONCE_LEN];

	if (random_bytes(fresh, sizeof(fresh)) < 0) { /* no more descriptors */
		memcpy(fresh, m->nonce, sizeof(fresh));
		for (size_t i = 0; i < sizeof(fresh) && !++fresh[i]; i++)
			;
	}
	memcpy(m->nonce, fresh, sizeof(fresh));
}

/* -- the end of a conversation --------------------------------------------- */

static void drop_ctrl(struct mux *m)
{
	struct message *msg;

	while ((msg = STAILQ_FIRST(&m->ctrl_out))) {
		STAILQ_REMOVE_HEAD(&m->ctrl_out, next);
		free(msg);
	}
	m->ctrl_out_bytes = 0;
	free(TAKE_PTR(m->ctrl_in));
	m->ctrl_in_len = 0;
}

static void pong(struct mux *m, int64_t rtt_us)
{
	struct ping *p = STAILQ_FIRST(&m->pings);
	mux_pong_fn fn = p->fn;
	void *arg = p->arg;

	STAILQ_REMOVE_HEAD(&m->pings, next);
	m->n_pings--;
	free(p);
	if (fn)
		fn(rtt_us, arg);
}

/* The next SYNC goes out when some time has passed since the last up(): a peer
 * that keeps beginning anew does not keep us busy. */
static void begin_again(struct mux *m)
{
	int64_t wait = m->up_ms + BEGIN_MS - loop_now_ms();

	new_nonce(m);
	m->sent = 0;
	m->quiet = true;
	m->sync_ms = MUX_SYNC_MIN_MS;
	loop_timer_set(m->sync_timer, wait > 0 ? wait : 0);
}

void mux_down(struct mux *m, const char *why)
{
	if (!m->up)
		return;
	m->up = false;
	if (!m->out_off) /* a frame that is partly out is sent to its end */
		m->out_len = 0;
	m->n_pongs = 0;
	m->partial_ms = 0;
	drop_ctrl(m);
	begin_again(m);
	mux_chan_end_all(m);
	while (!m->dead && !STAILQ_EMPTY(&m->pings))
		pong(m, -1);
	if (!m->dead)
		m->ops.down(why, m->arg);
}

void mux_end(struct mux *m, const char *why)
{
	mux_enter(m);
	mux_down(m, why);
	mux_leave(m);
}

/* What a peer must not do, it does at most once a conversation. */
void mux_refuse(struct mux *m, const char *what)
{
	struct errmsg why;

	errmsg_say(&why, 0, "the other end broke the rules: %s", what);
	mux_down(m, why.text);
}

/* -- SYNC ------------------------------------------------------------------ */

void mux_on_sync_timer(void *arg)
{
	struct mux *m = arg;

	if (m->up || m->closed)
		return;
	m->quiet = false;
	m->owes_sync = true;
	loop_timer_set(m->sync_timer, m->sync_ms);
	m->sync_ms =
		m->sync_ms * 2 > SYNC_MAX_MS ? SYNC_MAX_MS : m->sync_ms * 2;
	mux_kick(m);
}

static void go_up(struct mux *m, const struct frame_sync *s, uint32_t proto)
{
	struct mux_peer peer = { .proto = proto };

	memcpy(peer.boot_id, s->boot_id, sizeof(peer.boot_id));
	m->peer_max = s->max_frame < FRAME_MAX ? s->max_frame : FRAME_MAX;
	m->peer_max -= FRAME_HEADER;
	m->up = true;
	m->up_ms = loop_now_ms();
	m->ops.up(&peer, m->arg);
}

/* We cannot talk to this one: try again, but rarely. */
static void give_up(struct mux *m, const struct frame_sync *s)
{
	struct errmsg why;

	m->quiet = true;
	m->owes_sync = false;
	loop_timer_set(m->sync_timer, SYNC_MAX_MS);
	errmsg_say(
		&why, 0,
		"the other end speaks versions %u to %u of the protocol with frames up to %u bytes, this one versions %u to %u: use the same version of vmstep on both",
		s->proto_min, s->proto_max, s->max_frame, MUX_PROTO_MIN,
		MUX_PROTO_MAX);
	m->ops.down(why.text, m->arg);
}

void mux_take_sync(struct mux *m, const struct frame *f, const uint8_t *p)
{
	struct frame_sync s;
	uint32_t proto;

	frame_sync_decode(p, &s);
	if (m->up && memcmp(s.nonce, m->peer_nonce, sizeof(s.nonce)) != 0) {
		mux_down(m, "the other end has restarted");
		if (m->dead)
			return;
	}
	memcpy(m->peer_nonce, s.nonce, sizeof(s.nonce));
	if (f->flags & FRAME_ASK) {
		m->owes_sync = true;
		mux_kick(m);
	}
	if (m->up || m->quiet || memcmp(s.echo, m->nonce, sizeof(s.echo)) != 0)
		return;
	proto = s.proto_max < MUX_PROTO_MAX ? s.proto_max : MUX_PROTO_MAX;
	if (proto < MUX_PROTO_MIN || proto < s.proto_min ||
	    s.max_frame < PEER_FRAME_MIN)
		give_up(m, &s);
	else if (s.sent)
		begin_again(m);
	else
		go_up(m, &s, proto);
}

void mux_put_sync(struct mux *m)
{
	struct frame f = { FRAME_SYNC, m->up ? 0 : FRAME_ASK, 0,
			   FRAME_SYNC_LEN };
	struct frame_sync s = { .proto_min = MUX_PROTO_MIN,
				.proto_max = MUX_PROTO_MAX,
				.max_frame = FRAME_MAX,
				.sent = m->sent };
	uint8_t bytes[FRAME_SYNC_LEN];

	if (!m->owes_sync || m->quiet)
		return;
	m->owes_sync = false;
	memcpy(s.nonce, m->nonce, sizeof(s.nonce));
	memcpy(s.echo, m->peer_nonce, sizeof(s.echo));
	memcpy(s.boot_id, m->boot_id, sizeof(s.boot_id));
	frame_sync_encode(&s, bytes);
	mux_put(m, f, bytes);
}

/* -- control messages ------------------------------------------------------ */

void mux_take_ctrl(struct mux *m, const struct frame *f, const uint8_t *p)
{
	bool whole = !m->ctrl_in && !(f->flags & FRAME_MORE);
	_cleanup_free_ char *text = NULL;
	size_t len;

	if (f->length > MUX_CTRL_MAX - m->ctrl_in_len) {
		mux_refuse(m, "a control message that is too long");
		return;
	}
	if (!m->ctrl_in)
		m->ctrl_in = malloc((whole ? f->length : MUX_CTRL_MAX) + 1);
	if (!m->ctrl_in) {
		mux_down(m, "out of memory for a control message");
		return;
	}
	memcpy(m->ctrl_in + m->ctrl_in_len, p, f->length);
	m->ctrl_in_len += f->length;
	if (f->flags & FRAME_MORE)
		return;
	m->ctrl_in[m->ctrl_in_len] = '\0';
	len = m->ctrl_in_len;
	text = TAKE_PTR(m->ctrl_in); /* ours: the callback may end it all */
	m->ctrl_in_len = 0;
	m->ops.ctrl(text, len, m->arg);
}

void mux_put_ctrl(struct mux *m)
{
	struct message *msg;

	while (mux_room(m) > FRAME_HEADER &&
	       (msg = STAILQ_FIRST(&m->ctrl_out))) {
		struct frame f = { FRAME_CTRL, 0, 0,
				   (uint32_t)(msg->len - msg->off) };

		if (f.length > mux_room(m) - FRAME_HEADER)
			f.length = (uint32_t)mux_room(m) - FRAME_HEADER;
		if (f.length > m->peer_max)
			f.length = m->peer_max;
		if (f.length < msg->len - msg->off)
			f.flags = FRAME_MORE;
		mux_put(m, f, msg->text + msg->off);
		msg->off += f.length;
		if (msg->off < msg->len)
			continue;
		STAILQ_REMOVE_HEAD(&m->ctrl_out, next);
		m->ctrl_out_bytes -= msg->len;
		free(msg);
	}
}

int mux_ctrl(struct mux *m, const char *text, size_t len)
{
	struct message *msg;

	if (!m->up)
		return -ENOTCONN;
	if (!len)
		return -EINVAL;
	if (len > MUX_CTRL_MAX)
		return -EMSGSIZE;
	if (len > MUX_CTRL_QUEUE - m->ctrl_out_bytes)
		return -ENOBUFS;
	msg = malloc(sizeof(*msg) + len);
	if (!msg)
		return -ENOMEM;
	msg->len = len;
	msg->off = 0;
	memcpy(msg->text, text, len);
	STAILQ_INSERT_TAIL(&m->ctrl_out, msg, next);
	m->ctrl_out_bytes += len;
	mux_kick(m);
	return 0;
}

/* -- pings ----------------------------------------------------------------- */

void mux_take_ping(struct mux *m, const uint8_t *p)
{
	if (m->n_pongs == MUX_PINGS) {
		mux_refuse(m, "too many pings at once");
		return;
	}
	memcpy(&m->pongs[m->n_pongs++], p, sizeof(m->pongs[0]));
	mux_kick(m);
}

static int64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* Pongs come in the order of the pings. */
void mux_take_pong(struct mux *m, const uint8_t *p)
{
	const struct ping *first = STAILQ_FIRST(&m->pings);

	if (!first || !first->sent ||
	    memcmp(&first->start_us, p, sizeof(first->start_us)) != 0)
		mux_refuse(m, "a pong without a ping");
	else
		pong(m, now_us() - first->start_us);
}

void mux_put_pings(struct mux *m)
{
	struct frame f = { FRAME_PONG, 0, 0, sizeof(uint64_t) };
	struct ping *p;

	for (unsigned int i = 0; i < m->n_pongs; i++)
		mux_put(m, f, &m->pongs[i]);
	m->n_pongs = 0;
	f.type = FRAME_PING;
	for (p = STAILQ_FIRST(&m->pings); p; p = STAILQ_NEXT(p, next))
		if (!p->sent) {
			p->sent = true;
			p->start_us = now_us();
			mux_put(m, f, &p->start_us);
		}
}

int mux_ping(struct mux *m, mux_pong_fn fn, void *arg)
{
	struct ping *p;

	if (!m->up)
		return -ENOTCONN;
	if (m->n_pings == MUX_PINGS)
		return -EBUSY;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->fn = fn;
	p->arg = arg;
	STAILQ_INSERT_TAIL(&m->pings, p, next);
	m->n_pings++;
	mux_kick(m);
	return 0;
}

/* -- the rest of the contract ---------------------------------------------- */

bool mux_is_up(const struct mux *m)
{
	return m->up;
}

void mux_free(struct mux *m)
{
	struct ping *p;

	if (!m || m->dead)
		return;
	mux_chan_free_all(m);
	while ((p = STAILQ_FIRST(&m->pings))) {
		STAILQ_REMOVE_HEAD(&m->pings, next);
		free(p);
	}
	drop_ctrl(m);
	loop_io_free(m->io);
	loop_timer_free(m->pump_timer);
	loop_timer_free(m->sync_timer);
	loop_timer_free(m->retry_timer);
	loop_timer_free(m->credit_timer);
	loop_timer_free(m->away_timer);
	m->up = false;
	m->dead = true;
	if (!m->busy)
		free(m);
}

static int start(struct mux *m)
{
	int flags = fcntl(m->fd, F_GETFL), r;
	struct stat st;

	if (flags < 0 || fstat(m->fd, &st) < 0 ||
	    fcntl(m->fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	m->may_return = S_ISCHR(st.st_mode);
	r = random_bytes(m->boot_id, sizeof(m->boot_id));
	if (r == 0)
		r = random_bytes(m->nonce, sizeof(m->nonce));
	if (r == 0)
		r = loop_timer_add(m->loop, -1, mux_port_on_timer, m,
				   &m->pump_timer);
	if (r == 0)
		r = loop_timer_add(m->loop, -1, mux_port_on_timer, m,
				   &m->retry_timer);
	if (r == 0)
		r = loop_timer_add(m->loop, -1, mux_chan_on_credit_timer, m,
				   &m->credit_timer);
	if (r == 0)
		r = loop_timer_add(m->loop, -1, mux_port_on_away, m,
				   &m->away_timer);
	if (r == 0)
		r = loop_timer_add(m->loop, 0, mux_on_sync_timer, m,
				   &m->sync_timer);
	if (r == 0)
		r = loop_io_add(m->loop, m->fd, EPOLLIN, mux_port_on_ready, m,
				&m->io);
	return r;
}

int mux_new(struct loop *l, int fd, const struct mux_ops *ops, void *arg,
	    struct mux **ret, struct errmsg *err)
{
	struct mux *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return errmsg_set(err, -ENOMEM, "agent port");
	m->loop = l;
	m->fd = fd;
	m->ops = *ops;
	m->arg = arg;
	m->sync_ms = MUX_SYNC_MIN_MS;
	TAILQ_INIT(&m->chans);
	TAILQ_INIT(&m->owing);
	TAILQ_INIT(&m->ready);
	STAILQ_INIT(&m->ctrl_out);
	STAILQ_INIT(&m->pings);
	r = start(m);
	if (r < 0) {
		mux_free(m);
		return errmsg_set(err, r, "agent port");
	}
	*ret = m;
	return 0;
}
