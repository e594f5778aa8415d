#include <config.h>

#include "mux_impl.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "cleanup.h"

/* What is sent when. A batch of frames is put together in `out` and written; no
 * new one is begun before it is gone. First SYNC, PING, PONG, then what
 * channels owe (credit, ends), then control messages, and data only when none
 * of these is there, one frame a channel in turn. Reading never waits for
 * writing: what the peer makes us owe is a few bits a channel. Calls from
 * outside only mark what is due and set a timer of 0 ms, so that callbacks
 * come from the loop alone.
 */

#define RETRY_MS	 100 /* a guest's port may lose a wake-up */
#define AWAY_MIN_MS	 50
#define AWAY_MAX_MS	 1000
#define TORN_MS		 2000 /* a frame that takes longer may be torn */
#define READS_PER_ROUND	 16
#define WRITES_PER_ROUND 16

static void port_broke(struct mux *m, int error);
static void port_lost(struct mux *m, const char *why);

/* -- frames in ------------------------------------------------------------- */

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
		mux_take_sync(m, &f, p + FRAME_HEADER);
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
			mux_down(m, "the other end has restarted in mid-frame");
			return true;
		}
	return false;
}

static void take_frame(struct mux *m, const struct frame *f, const uint8_t *p)
{
	switch ((enum frame_type)f->type) {
	case FRAME_SYNC:
		mux_take_sync(m, f, p);
		break;
	case FRAME_CTRL:
		mux_take_ctrl(m, f, p);
		break;
	case FRAME_DATA:
	case FRAME_CREDIT:
	case FRAME_EOF:
	case FRAME_RESET:
		mux_chan_take(m, f, p);
		break;
	case FRAME_PING:
		mux_take_ping(m, p);
		break;
	case FRAME_PONG:
		mux_take_pong(m, p);
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
		mux_refuse(m, why.text);
		return true;
	}
	if (left < FRAME_HEADER + f.length)
		return frame_is_torn(m);
	m->partial_ms = 0;
	m->in_off += FRAME_HEADER + f.length;
	take_frame(m, &f, p + FRAME_HEADER);
	return true;
}

/* A guest's port gives its bytes by pages: what is there of a frame is moved
 * only where the rest of it would not fit behind. */
static void take_bytes(struct mux *m)
{
	while (!m->dead && take_next(m))
		;
	if (m->dead)
		return;
	if (m->in_off == m->in_len) {
		m->in_off = m->in_len = 0;
	} else if (sizeof(m->in) - m->in_off < FRAME_MAX) {
		memmove(m->in, m->in + m->in_off, m->in_len - m->in_off);
		m->in_len -= m->in_off;
		m->in_off = 0;
	}
}

/* -- frames out ------------------------------------------------------------ */

size_t mux_room(const struct mux *m)
{
	return sizeof(m->out) - m->out_len;
}

/* The payload is at @p, or already in its place behind the header (NULL). */
void mux_put(struct mux *m, struct frame f, const void *p)
{
	uint8_t *at = m->out + m->out_len;

	frame_encode(&f, at);
	if (p)
		memcpy(at + FRAME_HEADER, p, f.length);
	m->out_len += FRAME_HEADER + f.length;
	if (f.type != FRAME_SYNC)
		m->sent++;
}

/* Put the next batch together. Returns false when there is nothing to send. */
static bool fill(struct mux *m)
{
	m->out_off = m->out_len = 0;
	mux_put_sync(m);
	if (m->up) {
		mux_put_pings(m);
		mux_chan_put_owed(m);
		mux_put_ctrl(m);
	}
	while (!m->dead && m->up && !m->out_len && mux_chan_put_data(m))
		;
	if (!m->dead && m->up && !m->out_len)
		mux_chan_put_owed(m); /* the ends that reading has brought */
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
	mux_kick(m);
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

void mux_port_on_ready(uint32_t events, void *arg)
{
	struct mux *m = arg;

	mux_enter(m);
	if (events & ~(uint32_t)EPOLLOUT)
		port_read(m);
	if (!m->dead)
		pump(m);
	mux_leave(m);
}

void mux_port_on_timer(void *arg)
{
	struct mux *m = arg;

	mux_enter(m);
	pump(m);
	mux_leave(m);
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
	mux_down(m, text.text);
	if (m->dead)
		return;
	if (!m->closed)
		loop_timer_set(m->away_timer, m->away_ms);
	else if (m->ops.closed)
		m->ops.closed(text.text, m->arg);
}

void mux_port_on_away(void *arg)
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
	m->sync_ms = MUX_SYNC_MIN_MS;
	port_wait(m, false);
	mux_on_sync_timer(m);
}
