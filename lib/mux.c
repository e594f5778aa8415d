#include <config.h>

#include "mux.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "frame.h"

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
 *
 * How a channel ends. Its sender's last frame is EOF or RESET, its receiver's
 * last frame is EOF or RESET with FRAME_BACK; each end sends exactly one and
 * waits for the other's, so nothing of an old stream can be taken for a new
 * one of the same number. The owner learns of the end as soon as it is certain;
 * what then remains of the channel only waits for those frames.
 *
 *      sender                      receiver
 *        |        CREDIT 0, window    |  opens it: nothing is sent before
 *        |<---------------------------|
 *        |  DATA ...                  |
 *        |--------------------------->|
 *        |        CREDIT n, window    |  as its descriptor takes the data
 *        |<---------------------------|
 *        |  EOF                       |
 *        |--------------------------->|
 *        |               EOF (BACK)   |  all written and closed
 *        |<---------------------------|
 *
 * A receiver may open before the sender does: its CREDIT makes a channel here
 * that waits for mux_send_fd() (half open).
 *
 * What is sent when. A batch of frames is put together in `out` and written; no
 * new one is begun before it is gone. First SYNC, PING, PONG, then what
 * channels owe (credit, ends), then control messages, and data only when none
 * of these is there, one frame a channel in turn. Reading never waits for
 * writing: what the peer makes us owe is a few bits a channel. Calls from
 * outside only mark what is due and set a timer of 0 ms, so that callbacks
 * come from the loop alone.
 */

#define BEGIN_MS	 200  /* between two conversations, at least */
#define SYNC_MIN_MS	 1000 /* between two SYNCs that are not answered */
#define SYNC_MAX_MS	 16000
#define RETRY_MS	 100 /* a guest's port may lose a wake-up */
#define AWAY_MIN_MS	 50
#define AWAY_MAX_MS	 1000
#define CREDIT_MS	 20   /* until a small amount of credit is returned */
#define TORN_MS		 2000 /* a frame that takes longer may be torn */
#define READS_PER_ROUND	 16
#define WRITES_PER_ROUND 16
#define PEER_WINDOW_MAX	 (64u << 20)
#define PEER_FRAME_MIN	 4096

enum owes {
	OWES_CREDIT = 1 << 0,
	OWES_EOF = 1 << 1,
	OWES_RESET = 1 << 2,
};

struct chan {
	struct mux *mux;
	TAILQ_ENTRY(chan) all, owing, ready;
	unsigned int id;
	bool sending;
	bool half_open; /* the peer's wish, nobody here has opened it */
	bool eof;	/* sender: read to its end; receiver: EOF came */
	bool ended;	/* the owner knows; only last frames are missing */
	bool last_sent, last_got;
	bool is_ready; /* sender: in the list of those with data */
	unsigned int owes;
	int error; /* that RESET will tell */

	int fd;	      /* owned */
	int fd_flags; /* to be put back, or -1 */
	struct loop_io *io;
	mux_done_fn done;
	void *arg;

	uint64_t moved;	   /* bytes sent, or received */
	uint64_t consumed; /* of these, bytes in the receiver's descriptor */
	uint64_t limit;	   /* how far the sender may go */
	uint32_t window;   /* receiver's */

	uint8_t *buf; /* receiver's: window bytes, a ring, when needed */
	size_t head, len;
};
TAILQ_HEAD(chan_list, chan);

struct message {
	STAILQ_ENTRY(message) next;
	size_t len, off;
	char text[];
};

struct ping {
	STAILQ_ENTRY(ping) next;
	bool sent;
	int64_t start_us;
	mux_pong_fn fn;
	void *arg;
};

struct mux {
	struct loop *loop;
	int fd; /* borrowed */
	struct loop_io *io;
	struct loop_timer *pump_timer, *sync_timer, *retry_timer;
	struct loop_timer *credit_timer, *away_timer;
	struct mux_ops ops;
	void *arg;
	unsigned int busy; /* callbacks of ours on the stack */
	bool dead;	   /* freed by one of them */
	bool may_return;   /* the port is a device: its end is not for ever */
	bool closed, blocked;
	int64_t away_ms;

	bool up, quiet, owes_sync;
	uint8_t nonce[FRAME_NONCE_LEN], peer_nonce[FRAME_NONCE_LEN];
	uint8_t boot_id[FRAME_BOOT_ID_LEN];
	uint32_t peer_max; /* payload bytes */
	uint64_t sent;
	int64_t up_ms, sync_ms;

	struct chan_list chans, owing, ready;
	unsigned int n_chans;
	size_t window_sum;
	bool credit_due;

	STAILQ_HEAD(, message) ctrl_out;
	size_t ctrl_out_bytes;
	char *ctrl_in; /* the message that is coming; NULL: none is */
	size_t ctrl_in_len;

	STAILQ_HEAD(, ping) pings;
	unsigned int n_pings, n_pongs;
	uint64_t pongs[MUX_PINGS];

	int64_t partial_ms; /* since when a frame is incomplete; 0: none is */
	size_t in_off, in_len, out_off, out_len;
	uint8_t in[2 * FRAME_MAX], out[FRAME_MAX];
};

static void pump(struct mux *m);
static void port_broke(struct mux *m, int error);
static void port_lost(struct mux *m, const char *why);

static void enter(struct mux *m)
{
	m->busy++;
}

static void leave(struct mux *m)
{
	if (--m->busy == 0 && m->dead)
		free(m);
}

static void kick(struct mux *m)
{
	loop_timer_set(m->pump_timer, 0);
}

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

/* -- channels -------------------------------------------------------------- */

static struct chan *chan_find(const struct mux *m, unsigned int id,
			      bool sending)
{
	struct chan *c;

	for (c = TAILQ_FIRST(&m->chans); c; c = TAILQ_NEXT(c, all))
		if (c->id == id && c->sending == sending)
			return c;
	return NULL;
}

static int chan_new(struct mux *m, unsigned int id, bool sending,
		    struct chan **ret)
{
	struct chan *c;

	if (m->n_chans >= MUX_CHANNELS)
		return -EMFILE;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->mux = m;
	c->id = id;
	c->sending = sending;
	c->fd = c->fd_flags = -1;
	TAILQ_INSERT_TAIL(&m->chans, c, all);
	m->n_chans++;
	*ret = c;
	return 0;
}

/* Two descriptors of one open file, as a terminal's, share its flags: if
 * another channel loses its O_NONBLOCK by this, it is the one to do it. */
static void chan_put_flags_back(struct chan *c)
{
	struct chan *o;
	int flags;

	if (c->fd_flags < 0)
		return;
	fcntl(c->fd, F_SETFL, c->fd_flags);
	for (o = TAILQ_FIRST(&c->mux->chans); o; o = TAILQ_NEXT(o, all)) {
		flags = o == c || o->fd < 0 ? -1 : fcntl(o->fd, F_GETFL);
		if (flags >= 0 && !(flags & O_NONBLOCK)) {
			fcntl(o->fd, F_SETFL, flags | O_NONBLOCK);
			o->fd_flags = c->fd_flags;
			return;
		}
	}
}

static void chan_close_fd(struct chan *c)
{
	loop_io_free(c->io);
	c->io = NULL;
	if (c->is_ready)
		TAILQ_REMOVE(&c->mux->ready, c, ready);
	c->is_ready = false;
	if (c->fd < 0)
		return;
	chan_put_flags_back(c);
	close(TAKE_FD(c->fd));
	c->mux->window_sum -= c->window;
	free(TAKE_PTR(c->buf));
	c->len = 0;
}

static void chan_free(struct chan *c)
{
	struct mux *m = c->mux;

	chan_close_fd(c);
	if (c->owes)
		TAILQ_REMOVE(&m->owing, c, owing);
	TAILQ_REMOVE(&m->chans, c, all);
	m->n_chans--;
	free(c);
}

static void chan_owe(struct chan *c, unsigned int what)
{
	if (!c->owes)
		TAILQ_INSERT_TAIL(&c->mux->owing, c, owing);
	c->owes |= what;
	kick(c->mux);
}

static void chan_owe_reset(struct chan *c, int error)
{
	if (c->last_sent || c->owes & OWES_EOF)
		return;
	c->error = error;
	chan_owe(c, OWES_RESET);
}

/* Tell the owner. @c may be gone afterwards, and the mux dead. */
static void chan_end(struct chan *c, int error)
{
	mux_done_fn done = c->ended ? NULL : c->done;
	unsigned int id = c->id;
	void *arg = c->arg;

	c->ended = true;
	c->half_open = false;
	chan_close_fd(c);
	if (c->last_sent && c->last_got)
		chan_free(c);
	if (done)
		done(id, error, arg);
}

static void chan_fail(struct chan *c, int error)
{
	chan_owe_reset(c, error);
	chan_end(c, error);
}

static int chan_attach(struct chan *c, int fd, mux_done_fn done, void *arg,
		       loop_io_fn fn)
{
	int flags = fcntl(fd, F_GETFL), r;

	if (flags < 0)
		return -errno;
	r = loop_io_add(c->mux->loop, fd, 0, fn, c, &c->io);
	if (r < 0)
		return r;
	if (!(flags & O_NONBLOCK) &&
	    fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0)
		c->fd_flags = flags;
	c->fd = fd;
	c->done = done;
	c->arg = arg;
	return 0;
}

/* -- sending channels ------------------------------------------------------ */

static void chan_set_ready(struct chan *c)
{
	if (c->is_ready || c->fd < 0 || c->moved >= c->limit)
		return;
	loop_io_set(c->io, 0);
	c->is_ready = true;
	TAILQ_INSERT_TAIL(&c->mux->ready, c, ready);
	kick(c->mux);
}

static void on_source(uint32_t events, void *arg)
{
	chan_set_ready(arg);
}

int mux_send_fd(struct mux *m, unsigned int chan, int fd, mux_done_fn done,
		void *arg)
{
	_cleanup_close_ int own = fd;
	struct chan *c;
	int r;

	if (!m->up)
		return -ENOTCONN;
	if (!chan)
		return -EINVAL;
	c = chan_find(m, chan, true);
	if (c && !c->half_open)
		return -EBUSY;
	if (!c) {
		r = chan_new(m, chan, true, &c);
		if (r < 0)
			return r;
	}
	r = chan_attach(c, own, done, arg, on_source);
	if (r < 0) {
		if (!c->half_open)
			chan_free(c);
		return r;
	}
	TAKE_FD(own);
	c->half_open = false;
	chan_set_ready(c);
	return 0;
}

/* -- receiving channels ---------------------------------------------------- */

static void on_credit_timer(void *arg)
{
	struct mux *m = arg;
	struct chan *c;

	m->credit_due = false;
	for (c = TAILQ_FIRST(&m->chans); c; c = TAILQ_NEXT(c, all))
		if (!c->sending && !c->ended &&
		    c->consumed + c->window > c->limit)
			chan_owe(c, OWES_CREDIT);
}

static void chan_consumed(struct chan *c, size_t n)
{
	struct mux *m = c->mux;

	c->consumed += n;
	if (c->consumed + c->window - c->limit >= c->window / 4) {
		chan_owe(c, OWES_CREDIT);
	} else if (!m->credit_due) {
		m->credit_due = true;
		loop_timer_set(m->credit_timer, CREDIT_MS);
	}
}

/* How many of @n bytes the descriptor takes; 0 when it is full. */
static ssize_t sink_write(struct chan *c, const uint8_t *p, size_t n)
{
	ssize_t done;

	do
		done = write(c->fd, p, n);
	while (done < 0 && errno == EINTR);
	if (done < 0)
		return errno == EAGAIN ? 0 : -errno;
	chan_consumed(c, (size_t)done);
	return done;
}

static void chan_all_written(struct chan *c)
{
	if (!c->eof) {
		loop_io_set(c->io, 0);
		return;
	}
	chan_owe(c, OWES_EOF);
	chan_end(c, 0);
}

static void on_sink(uint32_t events, void *arg)
{
	struct chan *c = arg;
	struct mux *m = c->mux;
	ssize_t n = 1;

	enter(m);
	while (c->len && n > 0) {
		size_t run = c->window - c->head;

		n = sink_write(c, c->buf + c->head,
			       run < c->len ? run : c->len);
		if (n > 0) {
			c->head = (c->head + (size_t)n) % c->window;
			c->len -= (size_t)n;
		}
	}
	if (n < 0)
		chan_fail(c, (int)-n);
	else if (!c->len)
		chan_all_written(c);
	leave(m);
}

static int chan_store(struct chan *c, const uint8_t *p, size_t n)
{
	size_t tail, run;

	if (!c->buf)
		c->buf = malloc(c->window);
	if (!c->buf)
		return -ENOMEM;
	tail = (c->head + c->len) % c->window;
	run = c->window - tail < n ? c->window - tail : n;
	memcpy(c->buf + tail, p, run);
	memcpy(c->buf, p + run, n - run);
	c->len += n;
	loop_io_set(c->io, EPOLLOUT);
	return 0;
}

static void chan_receive(struct chan *c, const uint8_t *p, size_t n)
{
	ssize_t done = c->len ? 0 : sink_write(c, p, n);
	int r = done < 0 ? (int)done : 0;

	if (r == 0 && (size_t)done < n)
		r = chan_store(c, p + done, n - (size_t)done);
	if (r < 0)
		chan_fail(c, -r);
}

static uint32_t choose_window(const struct mux *m)
{
	size_t left = m->window_sum < MUX_WINDOW_SUM
			      ? MUX_WINDOW_SUM - m->window_sum
			      : 0;

	if (left / 4 >= MUX_WINDOW)
		return MUX_WINDOW;
	return left / 4 > MUX_WINDOW_MIN ? (uint32_t)(left / 4)
					 : MUX_WINDOW_MIN;
}

int mux_recv_fd(struct mux *m, unsigned int chan, int fd, mux_done_fn done,
		void *arg)
{
	_cleanup_close_ int own = fd;
	struct chan *c;
	int r;

	if (!m->up)
		return -ENOTCONN;
	if (!chan)
		return -EINVAL;
	if (chan_find(m, chan, false))
		return -EBUSY;
	r = chan_new(m, chan, false, &c);
	if (r < 0)
		return r;
	r = chan_attach(c, own, done, arg, on_sink);
	if (r < 0) {
		chan_free(c);
		return r;
	}
	TAKE_FD(own);
	c->window = choose_window(m);
	m->window_sum += c->window;
	chan_owe(c, OWES_CREDIT);
	return 0;
}

int mux_reset(struct mux *m, unsigned int chan, bool sending, int error)
{
	struct chan *c = chan_find(m, chan, sending);

	if (!c || c->ended || c->half_open)
		return -ENOENT;
	c->done = NULL;
	chan_fail(c, error);
	return 0;
}

int64_t mux_unacked(const struct mux *m, unsigned int chan)
{
	const struct chan *c = chan_find(m, chan, true);

	if (!c || c->ended || c->half_open)
		return -ENOENT;
	return (int64_t)(c->moved - c->consumed);
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
	m->sync_ms = SYNC_MIN_MS;
	loop_timer_set(m->sync_timer, wait > 0 ? wait : 0);
}

static void go_down(struct mux *m, const char *why)
{
	struct chan *c;

	if (!m->up)
		return;
	m->up = false;
	if (!m->out_off) /* a frame that is partly out is sent to its end */
		m->out_len = 0;
	m->n_pongs = 0;
	m->partial_ms = 0;
	drop_ctrl(m);
	begin_again(m);
	while (!m->dead && (c = TAILQ_FIRST(&m->chans))) {
		c->last_sent = c->last_got = true;
		if (c->ended || c->half_open)
			chan_free(c);
		else
			chan_end(c, ECONNRESET);
	}
	while (!m->dead && !STAILQ_EMPTY(&m->pings))
		pong(m, -1);
	if (!m->dead)
		m->ops.down(why, m->arg);
}

/* What a peer must not do, it does at most once a conversation. */
static void refuse(struct mux *m, const char *what)
{
	struct errmsg why;

	errmsg_say(&why, 0, "the other end broke the rules: %s", what);
	go_down(m, why.text);
}

/* -- SYNC ------------------------------------------------------------------ */

static void on_sync_timer(void *arg)
{
	struct mux *m = arg;

	if (m->up || m->closed)
		return;
	m->quiet = false;
	m->owes_sync = true;
	loop_timer_set(m->sync_timer, m->sync_ms);
	m->sync_ms =
		m->sync_ms * 2 > SYNC_MAX_MS ? SYNC_MAX_MS : m->sync_ms * 2;
	kick(m);
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

static void on_sync(struct mux *m, const struct frame *f, const uint8_t *p)
{
	struct frame_sync s;
	uint32_t proto;

	frame_sync_decode(p, &s);
	if (m->up && memcmp(s.nonce, m->peer_nonce, sizeof(s.nonce)) != 0) {
		go_down(m, "the other end has restarted");
		if (m->dead)
			return;
	}
	memcpy(m->peer_nonce, s.nonce, sizeof(s.nonce));
	if (f->flags & FRAME_ASK) {
		m->owes_sync = true;
		kick(m);
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

/* Skip to the next SYNC and take it. Returns false when there is none yet. */
static bool find_sync(struct mux *m)
{
	const uint8_t *p;
	struct frame f;
	size_t left;

	for (; (p = memchr(m->in + m->in_off, 'V', m->in_len - m->in_off));
	     m->in_off++) {
		m->in_off = (size_t)(p - m->in);
		left = m->in_len - m->in_off;
		if (left < FRAME_HEADER)
			return false;
		if (frame_decode(p, &f, NULL) < 0 || f.type != FRAME_SYNC)
			continue;
		if (left < FRAME_HEADER + f.length)
			return false;
		m->in_off += FRAME_HEADER + f.length;
		on_sync(m, &f, p + FRAME_HEADER);
		return true;
	}
	m->in_off = m->in_len;
	return false;
}

/* Is there a SYNC inside the frame that does not become complete? Then search
 * from there. */
static bool frame_is_torn(struct mux *m)
{
	struct frame f;

	if (!m->partial_ms)
		m->partial_ms = loop_now_ms();
	if (loop_now_ms() - m->partial_ms < TORN_MS)
		return false;
	for (size_t i = m->in_off + 1; i + FRAME_HEADER <= m->in_len; i++)
		if (frame_decode(m->in + i, &f, NULL) == 0 &&
		    f.type == FRAME_SYNC && f.flags & FRAME_ASK) {
			m->in_off = i;
			go_down(m, "the other end has restarted in mid-frame");
			return true;
		}
	return false;
}

/* -- frames in ------------------------------------------------------------- */

static void on_ctrl(struct mux *m, const struct frame *f, const uint8_t *p)
{
	bool whole = !m->ctrl_in && !(f->flags & FRAME_MORE);
	_cleanup_free_ char *text = NULL;
	size_t len;

	if (f->length > MUX_CTRL_MAX - m->ctrl_in_len) {
		refuse(m, "a control message that is too long");
		return;
	}
	if (!m->ctrl_in)
		m->ctrl_in = malloc((whole ? f->length : MUX_CTRL_MAX) + 1);
	if (!m->ctrl_in) {
		go_down(m, "out of memory for a control message");
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

static void on_data(struct mux *m, const struct frame *f, const uint8_t *p)
{
	struct chan *c = chan_find(m, f->channel, false);

	if (!c || c->last_got) {
		refuse(m, "data of a channel that is not open");
		return;
	}
	if (f->length > c->limit - c->moved) {
		refuse(m, "more data than its credit");
		return;
	}
	c->moved += f->length;
	if (!c->ended)
		chan_receive(c, p, f->length);
}

static void on_credit(struct mux *m, const struct frame *f, const uint8_t *p)
{
	struct chan *c = chan_find(m, f->channel, true);
	struct frame_credit credit;

	frame_credit_decode(p, &credit);
	if (!c && chan_new(m, f->channel, true, &c) == 0)
		c->half_open = true;
	if (!c) {
		refuse(m, "too many channels");
		return;
	}
	if (c->last_got || credit.window > PEER_WINDOW_MAX ||
	    credit.consumed < c->consumed || credit.consumed > c->moved ||
	    credit.consumed + credit.window < c->limit) {
		refuse(m, "credit that cannot be");
		return;
	}
	c->consumed = credit.consumed;
	c->limit = credit.consumed + credit.window;
	chan_set_ready(c);
}

/* The receiver has written all we sent. */
static void on_eof_back(struct mux *m, struct chan *c)
{
	if (!c || !c->eof || !c->last_sent || c->last_got) {
		refuse(m, "the end of a channel was confirmed too early");
		return;
	}
	c->last_got = true;
	c->consumed = c->moved;
	chan_end(c, 0);
}

static void on_eof(struct mux *m, const struct frame *f)
{
	struct chan *c = chan_find(m, f->channel, f->flags & FRAME_BACK);

	if (f->flags & FRAME_BACK) {
		on_eof_back(m, c);
	} else if (!c || c->last_got) {
		refuse(m, "the end of a channel that is not open");
	} else {
		c->last_got = c->eof = true;
		if (c->ended)
			chan_end(c, 0); /* free it where we are done, too */
		else if (!c->len)
			chan_all_written(c);
	}
}

static void on_reset(struct mux *m, const struct frame *f, const uint8_t *p)
{
	struct chan *c = chan_find(m, f->channel, f->flags & FRAME_BACK);
	int error = p[0] | p[1] << 8; /* an errno; what does not fit is odd */

	if (!c && chan_new(m, f->channel, f->flags & FRAME_BACK, &c) < 0) {
		refuse(m, "too many channels");
		return;
	}
	if (c->last_got) {
		refuse(m, "a channel was reset after its end");
		return;
	}
	c->last_got = true;
	if (!error || p[2] || p[3])
		error = EPROTO;
	/* also of a channel that nobody opened here: it waits for our word */
	chan_owe_reset(c, error);
	chan_end(c, error);
}

static void on_ping(struct mux *m, const uint8_t *p)
{
	if (m->n_pongs == MUX_PINGS) {
		refuse(m, "too many pings at once");
		return;
	}
	memcpy(&m->pongs[m->n_pongs++], p, sizeof(m->pongs[0]));
	kick(m);
}

static int64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* Pongs come in the order of the pings. */
static void on_pong(struct mux *m, const uint8_t *p)
{
	const struct ping *first = STAILQ_FIRST(&m->pings);

	if (!first || !first->sent ||
	    memcmp(&first->start_us, p, sizeof(first->start_us)) != 0)
		refuse(m, "a pong without a ping");
	else
		pong(m, now_us() - first->start_us);
}

static void take_frame(struct mux *m, const struct frame *f, const uint8_t *p)
{
	switch ((enum frame_type)f->type) {
	case FRAME_SYNC:
		on_sync(m, f, p);
		break;
	case FRAME_CTRL:
		on_ctrl(m, f, p);
		break;
	case FRAME_DATA:
		on_data(m, f, p);
		break;
	case FRAME_CREDIT:
		on_credit(m, f, p);
		break;
	case FRAME_EOF:
		on_eof(m, f);
		break;
	case FRAME_RESET:
		on_reset(m, f, p);
		break;
	case FRAME_PING:
		on_ping(m, p);
		break;
	case FRAME_PONG:
		on_pong(m, p);
		break;
	case FRAME_TYPES:
		break;
	}
}

/* Returns false when more bytes are needed. */
static bool take_next(struct mux *m)
{
	const uint8_t *p = m->in + m->in_off;
	size_t left = m->in_len - m->in_off;
	struct errmsg why;
	struct frame f;

	if (!m->up)
		return find_sync(m);
	if (left < FRAME_HEADER)
		return false;
	if (frame_decode(p, &f, &why) < 0) {
		m->in_off++;
		refuse(m, why.text);
		return true;
	}
	if (left < FRAME_HEADER + f.length)
		return frame_is_torn(m);
	m->partial_ms = 0;
	m->in_off += FRAME_HEADER + f.length;
	take_frame(m, &f, p + FRAME_HEADER);
	return true;
}

static void take_bytes(struct mux *m)
{
	while (!m->dead && take_next(m))
		;
	if (m->dead)
		return;
	memmove(m->in, m->in + m->in_off, m->in_len - m->in_off);
	m->in_len -= m->in_off;
	m->in_off = 0;
}

/* -- frames out ------------------------------------------------------------ */

static size_t room(const struct mux *m)
{
	return sizeof(m->out) - m->out_len;
}

/* The payload is at @p, or already in its place behind the header (NULL). */
static void put_frame(struct mux *m, struct frame f, const void *p)
{
	uint8_t *at = m->out + m->out_len;

	frame_encode(&f, at);
	if (p)
		memcpy(at + FRAME_HEADER, p, f.length);
	m->out_len += FRAME_HEADER + f.length;
	if (f.type != FRAME_SYNC)
		m->sent++;
}

static void put_sync(struct mux *m)
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
	put_frame(m, f, bytes);
}

static void put_pings(struct mux *m)
{
	struct frame f = { FRAME_PONG, 0, 0, sizeof(uint64_t) };
	struct ping *p;

	for (unsigned int i = 0; i < m->n_pongs; i++)
		put_frame(m, f, &m->pongs[i]);
	m->n_pongs = 0;
	f.type = FRAME_PING;
	for (p = STAILQ_FIRST(&m->pings); p; p = STAILQ_NEXT(p, next))
		if (!p->sent) {
			p->sent = true;
			p->start_us = now_us();
			put_frame(m, f, &p->start_us);
		}
}

static void put_credit(struct mux *m, struct chan *c)
{
	struct frame f = { FRAME_CREDIT, 0, c->id, FRAME_CREDIT_LEN };
	struct frame_credit credit = { c->consumed, c->window };
	uint8_t bytes[FRAME_CREDIT_LEN];

	c->limit = c->consumed + c->window;
	frame_credit_encode(&credit, bytes);
	put_frame(m, f, bytes);
}

static void put_last(struct mux *m, struct chan *c)
{
	uint8_t error[4] = { (uint8_t)c->error, (uint8_t)(c->error >> 8) };
	struct frame f = { FRAME_EOF, c->sending ? 0 : FRAME_BACK, c->id, 0 };

	if (c->owes & OWES_RESET) {
		f.type = FRAME_RESET;
		f.length = sizeof(error);
	}
	put_frame(m, f, error);
	c->last_sent = true;
}

static void put_owed(struct mux *m)
{
	struct chan *c;

	while (room(m) >= FRAME_HEADER + FRAME_CREDIT_LEN &&
	       (c = TAILQ_FIRST(&m->owing))) {
		TAILQ_REMOVE(&m->owing, c, owing);
		if (c->owes & (OWES_EOF | OWES_RESET))
			put_last(m, c); /* which makes credit needless */
		else
			put_credit(m, c);
		c->owes = 0;
		if (c->ended && c->last_sent && c->last_got)
			chan_free(c);
	}
}

static void put_ctrl(struct mux *m)
{
	struct message *msg;

	while (room(m) > FRAME_HEADER && (msg = STAILQ_FIRST(&m->ctrl_out))) {
		struct frame f = { FRAME_CTRL, 0, 0,
				   (uint32_t)(msg->len - msg->off) };

		if (f.length > room(m) - FRAME_HEADER)
			f.length = (uint32_t)room(m) - FRAME_HEADER;
		if (f.length > m->peer_max)
			f.length = m->peer_max;
		if (f.length < msg->len - msg->off)
			f.flags = FRAME_MORE;
		put_frame(m, f, msg->text + msg->off);
		msg->off += f.length;
		if (msg->off < msg->len)
			continue;
		STAILQ_REMOVE_HEAD(&m->ctrl_out, next);
		m->ctrl_out_bytes -= msg->len;
		free(msg);
	}
}

/* Read from @c's descriptor right behind the place of the header. */
static void put_data(struct mux *m, struct chan *c)
{
	struct frame f = { FRAME_DATA, 0, c->id, 0 };
	uint64_t max = c->limit - c->moved;
	int error;
	ssize_t n;

	if (max > m->peer_max)
		max = m->peer_max;
	do
		n = read(c->fd, m->out + FRAME_HEADER, max);
	while (n < 0 && errno == EINTR);
	error = errno;
	if (n > 0) {
		f.length = (uint32_t)n;
		put_frame(m, f, NULL);
		c->moved += (uint64_t)n;
		chan_set_ready(c); /* and behind the others */
	} else if (n < 0 && error == EAGAIN) {
		loop_io_set(c->io, EPOLLIN);
	} else if (n < 0 && !(error == EIO && isatty(c->fd))) {
		chan_fail(c, error);
	} else { /* a pty whose last user is gone gives EIO */
		c->eof = true;
		chan_owe(c, OWES_EOF);
		chan_close_fd(c);
	}
}

/* Put the next batch together. Returns false when there is nothing to send. */
static bool fill(struct mux *m)
{
	struct chan *c;

	m->out_off = m->out_len = 0;
	put_sync(m);
	if (m->up) {
		put_pings(m);
		put_owed(m);
		put_ctrl(m);
	}
	while (!m->dead && m->up && !m->out_len &&
	       (c = TAILQ_FIRST(&m->ready))) {
		TAILQ_REMOVE(&m->ready, c, ready);
		c->is_ready = false;
		put_data(m, c);
	}
	if (!m->dead && m->up && !m->out_len)
		put_owed(m); /* the ends that reading has brought */
	return !m->dead && m->out_len > 0;
}

/* -- the port -------------------------------------------------------------- */

static void port_wait(struct mux *m, bool writable)
{
	m->blocked = writable;
	loop_io_set(m->io, writable ? EPOLLIN | EPOLLOUT : EPOLLIN);
	loop_timer_set(m->retry_timer, writable ? RETRY_MS : -1);
}

/* Write as much as the port takes, in turn with reading. */
static void pump(struct mux *m)
{
	for (int i = 0; i < WRITES_PER_ROUND; i++) {
		ssize_t n;

		if (m->closed || m->away_ms)
			return;
		if (m->out_off == m->out_len && !fill(m)) {
			if (!m->dead && m->blocked)
				port_wait(m, false);
			return;
		}
		n = write(m->fd, m->out + m->out_off, m->out_len - m->out_off);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN) {
			port_broke(m, errno);
			return;
		}
		if (n <= 0) {
			port_wait(m, true);
			return;
		}
		m->out_off += (size_t)n;
	}
	kick(m);
}

static void port_read(struct mux *m)
{
	for (int i = 0; i < READS_PER_ROUND && !m->dead; i++) {
		ssize_t n = read(m->fd, m->in + m->in_len,
				 sizeof(m->in) - m->in_len);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			port_lost(m, n < 0 ? strerror(errno) : "closed");
			return;
		}
		m->in_len += (size_t)n;
		take_bytes(m);
	}
}

/* Writing has failed; what the other end said before it went still counts. */
static void port_broke(struct mux *m, int error)
{
	port_read(m);
	if (!m->dead && !m->closed && !m->away_ms)
		port_lost(m, strerror(error));
}

static void on_port(uint32_t events, void *arg)
{
	struct mux *m = arg;

	enter(m);
	if (events & ~(uint32_t)EPOLLOUT)
		port_read(m);
	if (!m->dead)
		pump(m);
	leave(m);
}

static void on_pump_timer(void *arg)
{
	struct mux *m = arg;

	enter(m);
	pump(m);
	leave(m);
}

/* Nobody is at the other end now, or never will be again. */
static void port_lost(struct mux *m, const char *why)
{
	struct errmsg text;

	m->in_off = m->in_len = m->out_off = m->out_len = 0;
	m->partial_ms = 0;
	m->closed = !m->may_return;
	m->away_ms = AWAY_MIN_MS;
	port_wait(m, false);
	loop_io_set(m->io, 0); /* EPOLLHUP would spin */
	errmsg_say(&text, 0, "the port: %s", why);
	go_down(m, text.text);
	if (m->dead)
		return;
	if (!m->closed)
		loop_timer_set(m->away_timer, m->away_ms);
	else if (m->ops.closed)
		m->ops.closed(text.text, m->arg);
}

static void on_away_timer(void *arg)
{
	struct mux *m = arg;
	struct pollfd pfd = { .fd = m->fd, .events = POLLIN };

	if (poll(&pfd, 1, 0) >= 0 && pfd.revents & (POLLHUP | POLLERR)) {
		m->away_ms = m->away_ms * 2 > AWAY_MAX_MS ? AWAY_MAX_MS
							  : m->away_ms * 2;
		loop_timer_set(m->away_timer, m->away_ms);
		return;
	}
	m->away_ms = 0;
	m->sync_ms = SYNC_MIN_MS;
	port_wait(m, false);
	on_sync_timer(m);
}

/* -- the rest of the contract ---------------------------------------------- */

bool mux_is_up(const struct mux *m)
{
	return m->up;
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
	kick(m);
	return 0;
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
	kick(m);
	return 0;
}

void mux_free(struct mux *m)
{
	struct ping *p;

	if (!m || m->dead)
		return;
	while (!TAILQ_EMPTY(&m->chans))
		chan_free(TAILQ_FIRST(&m->chans));
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
		r = loop_timer_add(m->loop, -1, on_pump_timer, m,
				   &m->pump_timer);
	if (r == 0)
		r = loop_timer_add(m->loop, -1, on_pump_timer, m,
				   &m->retry_timer);
	if (r == 0)
		r = loop_timer_add(m->loop, -1, on_credit_timer, m,
				   &m->credit_timer);
	if (r == 0)
		r = loop_timer_add(m->loop, -1, on_away_timer, m,
				   &m->away_timer);
	if (r == 0)
		r = loop_timer_add(m->loop, 0, on_sync_timer, m,
				   &m->sync_timer);
	if (r == 0)
		r = loop_io_add(m->loop, m->fd, EPOLLIN, on_port, m, &m->io);
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
	m->sync_ms = SYNC_MIN_MS;
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
