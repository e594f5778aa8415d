#include <config.h>

#include "mux_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "cleanup.h"

/* How a channel ends. Its sender's last frame is EOF or RESET, its receiver's
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
 */

#define CREDIT_MS	20 /* until a small amount of credit is returned */
#define PEER_WINDOW_MAX (64u << 20)

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
	mux_kick(c->mux);
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

void mux_chan_end_all(struct mux *m)
{
	struct chan *c;

	while (!m->dead && (c = TAILQ_FIRST(&m->chans))) {
		c->last_sent = c->last_got = true;
		if (c->ended || c->half_open)
			chan_free(c);
		else
			chan_end(c, ECONNRESET);
	}
}

void mux_chan_free_all(struct mux *m)
{
	while (!TAILQ_EMPTY(&m->chans))
		chan_free(TAILQ_FIRST(&m->chans));
}

/* -- sending channels ------------------------------------------------------ */

static void chan_set_ready(struct chan *c)
{
	if (c->is_ready || c->fd < 0 || c->moved >= c->limit)
		return;
	loop_io_set(c->io, 0);
	c->is_ready = true;
	TAILQ_INSERT_TAIL(&c->mux->ready, c, ready);
	mux_kick(c->mux);
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

void mux_chan_on_credit_timer(void *arg)
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

	mux_enter(m);
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
	mux_leave(m);
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

/* -- both ------------------------------------------------------------------ */

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

/* -- frames in ------------------------------------------------------------- */

static void on_data(struct mux *m, const struct frame *f, const uint8_t *p)
{
	struct chan *c = chan_find(m, f->channel, false);

	if (!c || c->last_got) {
		mux_refuse(m, "data of a channel that is not open");
		return;
	}
	if (f->length > c->limit - c->moved) {
		mux_refuse(m, "more data than its credit");
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
		mux_refuse(m, "too many channels");
		return;
	}
	if (c->last_got || credit.window > PEER_WINDOW_MAX ||
	    credit.consumed < c->consumed || credit.consumed > c->moved ||
	    credit.consumed + credit.window < c->limit) {
		mux_refuse(m, "credit that cannot be");
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
		mux_refuse(m, "the end of a channel was confirmed too early");
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
		mux_refuse(m, "the end of a channel that is not open");
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
		mux_refuse(m, "too many channels");
		return;
	}
	if (c->last_got) {
		mux_refuse(m, "a channel was reset after its end");
		return;
	}
	c->last_got = true;
	if (!error || p[2] || p[3])
		error = EPROTO;
	/* also of a channel that nobody opened here: it waits for our word */
	chan_owe_reset(c, error);
	chan_end(c, error);
}

void mux_chan_take(struct mux *m, const struct frame *f, const uint8_t *p)
{
	if (f->type == FRAME_DATA)
		on_data(m, f, p);
	else if (f->type == FRAME_CREDIT)
		on_credit(m, f, p);
	else if (f->type == FRAME_EOF)
		on_eof(m, f);
	else
		on_reset(m, f, p);
}

/* -- frames out ------------------------------------------------------------ */

static void put_credit(struct mux *m, struct chan *c)
{
	struct frame f = { FRAME_CREDIT, 0, c->id, FRAME_CREDIT_LEN };
	struct frame_credit credit = { c->consumed, c->window };
	uint8_t bytes[FRAME_CREDIT_LEN];

	c->limit = c->consumed + c->window;
	frame_credit_encode(&credit, bytes);
	mux_put(m, f, bytes);
}

static void put_last(struct mux *m, struct chan *c)
{
	uint8_t error[4] = { (uint8_t)c->error, (uint8_t)(c->error >> 8) };
	struct frame f = { FRAME_EOF, c->sending ? 0 : FRAME_BACK, c->id, 0 };

	if (c->owes & OWES_RESET) {
		f.type = FRAME_RESET;
		f.length = sizeof(error);
	}
	mux_put(m, f, error);
	c->last_sent = true;
}

void mux_chan_put_owed(struct mux *m)
{
	struct chan *c;

	while (mux_room(m) >= FRAME_HEADER + FRAME_CREDIT_LEN &&
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
		mux_put(m, f, NULL);
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

bool mux_chan_put_data(struct mux *m)
{
	struct chan *c = TAILQ_FIRST(&m->ready);

	if (!c)
		return false;
	TAILQ_REMOVE(&m->ready, c, ready);
	c->is_ready = false;
	put_data(m, c);
	return true;
}
