#include <config.h>

#include "console.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "cleanup.h"
#include "plain.h"

#define END_MS 1000 /* for a slow reader to take what is left */

/* A reader: what it gets is written from the ring, by a descriptor that does
 * not block. One that does not keep up loses what the ring overtakes, and is
 * told. */
struct reader {
	LIST_ENTRY(reader) link;
	struct console *console;
	int fd;		    /* owned */
	int flags;	    /* of the descriptor, to be put back */
	struct loop_io *io; /* while it is full, and to see it leave */
	bool stays;	    /* the copy: its own troubles do not end it */
	size_t done;	    /* bytes of the ring that are written or lost */
	size_t lost;	    /* not told yet */
	char note[80];	    /* that tells it */
	size_t note_len, note_off;
};

/* Who types. */
struct writer {
	int fd; /* owned; -1: nobody */
	struct loop_io *io;
	char data[4096]; /* that the guest has not taken yet */
	size_t at, len;
};

struct console {
	struct loop *loop;
	int fd;
	struct loop_io *io; /* NULL: it has ended */
	LIST_HEAD(, reader) readers;
	struct writer writer;
	char keep[CONSOLE_KEEP]; /* a ring */
	size_t total;		 /* bytes ever put into it */
};

/* -- readers --------------------------------------------------------------- */

static void make_note(struct reader *y)
{
	y->note_len = (size_t)snprintf(
		y->note, sizeof(y->note),
		"\r\n[vmstep: %zu bytes of the console are missing here]\r\n",
		y->lost);
	y->note_off = 0;
	y->lost = 0;
}

/* What is to be written next; 0 bytes when all is. */
static struct iovec next_piece(struct reader *y)
{
	struct console *c = y->console;
	size_t at = y->done % CONSOLE_KEEP, left = c->total - y->done;

	if (y->note_off == y->note_len && y->lost)
		make_note(y);
	if (y->note_off < y->note_len)
		return (struct iovec){ y->note + y->note_off,
				       y->note_len - y->note_off };
	if (left > CONSOLE_KEEP - at)
		left = CONSOLE_KEEP - at;
	return (struct iovec){ c->keep + at, left };
}

static void wrote(struct reader *y, size_t n)
{
	if (y->note_off < y->note_len)
		y->note_off += n;
	else
		y->done += n;
}

/* Returns 0, or -EAGAIN when the reader has to go on first; -EPIPE: it is
 * gone. */
static int write_some(struct reader *y)
{
	struct iovec piece;
	ssize_t n;

	while ((piece = next_piece(y)).iov_len) {
		n = write(y->fd, piece.iov_base, piece.iov_len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return -EAGAIN;
		if (n <= 0 && !y->stays)
			return -EPIPE;
		if (n <= 0) { /* a full disk may not end the VM */
			y->lost += y->console->total - y->done;
			y->done = y->console->total;
			return 0;
		}
		wrote(y, (size_t)n);
	}
	return 0;
}

static void reader_free(struct reader *y)
{
	LIST_REMOVE(y, link);
	loop_io_free(y->io);
	fcntl(y->fd, F_SETFL, y->flags);
	close(y->fd);
	free(y);
}

static void on_reader(uint32_t events, void *arg);

/* Whose reader has left would be reported for ever: the copy is watched while
 * it is full only. */
static void pass_on(struct reader *y)
{
	struct console *c = y->console;
	int r = write_some(y);

	if (r == -EPIPE || (r == 0 && !c->io && !y->stays)) {
		reader_free(y);
	} else if (!y->stays) {
		loop_io_set(y->io, r == -EAGAIN ? EPOLLOUT : 0);
	} else if (r == -EAGAIN && !y->io) {
		loop_io_add(c->loop, y->fd, EPOLLOUT, on_reader, y, &y->io);
	} else if (r == 0) {
		loop_io_free(y->io);
		y->io = NULL;
	}
}

static void on_reader(uint32_t events, void *arg)
{
	struct reader *y = arg;

	if (!y->stays && (events & (EPOLLHUP | EPOLLERR)))
		reader_free(y);
	else
		pass_on(y);
}

static void pass_on_all(struct console *c)
{
	struct reader *y, *next;

	for (y = LIST_FIRST(&c->readers); y; y = next) {
		next = LIST_NEXT(y, link);
		if (!y->stays || !y->io) /* else it is full */
			pass_on(y);
	}
}

/* Takes @fd, also on failure. */
static int reader_new(struct console *c, int fd, bool stays,
		      struct reader **ret)
{
	struct reader *y = calloc(1, sizeof(*y));
	int r;

	if (!y) {
		close(fd);
		return -ENOMEM;
	}
	y->console = c;
	y->fd = fd;
	y->stays = stays;
	y->flags = fcntl(fd, F_GETFL);
	fcntl(fd, F_SETFL, y->flags | O_NONBLOCK);
	LIST_INSERT_HEAD(&c->readers, y, link);
	r = stays ? 0 : loop_io_add(c->loop, fd, 0, on_reader, y, &y->io);
	if (r < 0) {
		reader_free(y);
		return r;
	}
	*ret = y;
	return 0;
}

/* The console is over; the copy is waited for. */
static void reader_end(struct reader *y)
{
	struct pollfd p = { .fd = y->fd, .events = POLLOUT };
	int64_t end = loop_now_ms() + (y->stays ? END_MS : 0), left = 1;

	while (write_some(y) == -EAGAIN && left > 0) {
		left = end - loop_now_ms();
		poll(&p, 1, left > 0 ? (int)left : 0);
	}
	reader_free(y);
}

/* -- the writer ------------------------------------------------------------ */

static void writer_end(struct console *c)
{
	struct writer *w = &c->writer;

	loop_io_free(w->io);
	w->io = NULL;
	if (w->fd >= 0)
		close(w->fd);
	w->fd = -1;
}

/* To the guest, as far as it takes it. */
static void type(struct console *c)
{
	struct writer *w = &c->writer;

	while (w->len && c->io) {
		ssize_t n = send(c->fd, w->data + w->at, w->len,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0 && errno != EINTR)
			n = (ssize_t)w->len; /* its end will be seen */
		if (n > 0) {
			w->at += (size_t)n;
			w->len -= (size_t)n;
		}
	}
	loop_io_set(c->io, EPOLLIN | (w->len ? (uint32_t)EPOLLOUT : 0));
	loop_io_set(w->io, w->len ? 0 : EPOLLIN);
}

static void on_typed(uint32_t events, void *arg)
{
	struct console *c = arg;
	struct writer *w = &c->writer;
	ssize_t n = w->len ? 0 : read(w->fd, w->data, sizeof(w->data));

	if (w->len && (events & (EPOLLHUP | EPOLLERR)))
		n = -1; /* what it has typed still goes */
	else if (w->len || (n < 0 && (errno == EAGAIN || errno == EINTR)))
		return;
	if (n <= 0) {
		writer_end(c);
		return;
	}
	w->at = 0;
	w->len = (size_t)n;
	type(c);
}

/* -- reading --------------------------------------------------------------- */

static void keep(struct console *c, const char *buf, size_t len)
{
	struct reader *y;

	for (size_t i = 0; i < len; i++)
		c->keep[c->total++ % CONSOLE_KEEP] = buf[i];
	LIST_FOREACH(y, &c->readers, link)
	if (c->total - y->done > CONSOLE_KEEP) {
		y->lost += c->total - CONSOLE_KEEP - y->done;
		y->done = c->total - CONSOLE_KEEP;
	}
	pass_on_all(c);
}

/* Returns false at the end of the stream or when nothing is there. */
static bool read_some(struct console *c, bool *ended)
{
	char buf[4096];
	ssize_t n = read(c->fd, buf, sizeof(buf));

	*ended = n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
	if (n > 0)
		keep(c, buf, (size_t)n);
	return n > 0;
}

static void on_console(uint32_t events, void *arg)
{
	struct console *c = arg;
	bool ended;

	if (events & EPOLLOUT)
		type(c);
	if (!(events & ~(uint32_t)EPOLLOUT))
		return;
	read_some(c, &ended);
	if (!ended)
		return;
	loop_io_free(c->io);
	c->io = NULL;
	writer_end(c);
	pass_on_all(c);
}

int console_new(struct loop *l, int fd, int copy_fd, struct console **ret,
		struct errmsg *err)
{
	struct console *c = calloc(1, sizeof(*c));
	struct reader *copy;
	int r;

	if (!c) {
		close(fd);
		if (copy_fd >= 0)
			close(copy_fd);
		return errmsg_set(err, -ENOMEM, "console");
	}
	c->loop = l;
	c->fd = fd;
	c->writer.fd = -1;
	LIST_INIT(&c->readers);
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	r = copy_fd >= 0 ? reader_new(c, copy_fd, true, &copy) : 0;
	if (r == 0)
		r = loop_io_add(l, fd, EPOLLIN, on_console, c, &c->io);
	if (r < 0) {
		console_free(c);
		return errmsg_set(err, r, "console");
	}
	*ret = c;
	return 0;
}

void console_free(struct console *c)
{
	if (!c)
		return;
	writer_end(c);
	while (LIST_FIRST(&c->readers))
		reader_end(LIST_FIRST(&c->readers));
	loop_io_free(c->io);
	close(c->fd);
	free(c);
}

static size_t oldest(const struct console *c)
{
	return c->total > CONSOLE_KEEP ? c->total - CONSOLE_KEEP : 0;
}

/* Takes both. */
int console_attach(struct console *c, int fd, int in_fd, bool kept)
{
	struct writer *w = &c->writer;
	struct reader *y;
	int r = in_fd >= 0 && w->fd >= 0 ? -EBUSY : 0;

	if (r == 0 && in_fd >= 0 && c->io) {
		fcntl(in_fd, F_SETFL, fcntl(in_fd, F_GETFL) | O_NONBLOCK);
		r = loop_io_add(c->loop, in_fd, w->len ? 0 : EPOLLIN, on_typed,
				c, &w->io);
	}
	if (r < 0 || (in_fd >= 0 && !c->io)) {
		if (in_fd >= 0)
			close(in_fd);
	} else if (in_fd >= 0) {
		w->fd = in_fd;
	}
	if (r < 0) {
		close(fd);
		return r;
	}
	r = reader_new(c, fd, false, &y);
	if (r < 0) {
		writer_end(c);
		return r;
	}
	y->done = kept ? oldest(c) : c->total;
	pass_on(y);
	return 0;
}

char *console_kept(const struct console *c, size_t *ret_len,
		   uint64_t *ret_dropped)
{
	size_t from = oldest(c), n = c->total - from;
	char *data = malloc(n + 1);

	for (size_t i = 0; data && i < n; i++)
		data[i] = c->keep[(from + i) % CONSOLE_KEEP];
	*ret_len = n;
	*ret_dropped = from;
	return data;
}

void console_drain(struct console *c)
{
	bool ended;

	for (int i = 0; i < 1024 && read_some(c, &ended); i++)
		;
}

/* A serial console is full of carriage returns and escape sequences; people
 * want the words. */
static size_t without_escapes(const struct console *c, char *out)
{
	size_t n = 0, from = oldest(c);
	bool escape = false;

	for (size_t i = from; i < c->total; i++) {
		unsigned char b = (unsigned char)c->keep[i % CONSOLE_KEEP];

		if (escape) /* ESC [ ... letter */
			escape = !((b >= '@' && b <= '~') && b != '[');
		else if (b == 0x1b)
			escape = true;
		else
			out[n++] = (char)b;
	}
	return n;
}

static size_t without_controls(char *text, size_t len)
{
	size_t n = 0, char_len;

	for (size_t i = 0; i < len; i += char_len) {
		bool control;

		char_len = plain_next(text + i, len - i, &control);
		if (control && text[i] != '\n')
			continue;
		memmove(text + n, text + i, char_len);
		n += char_len;
	}
	return n;
}

char *console_tail(const struct console *c, unsigned int lines)
{
	_cleanup_free_ char *text = malloc(CONSOLE_KEEP + 1);
	char *start;
	size_t n;

	if (!text)
		return NULL;
	n = without_controls(text, without_escapes(c, text));
	while (n && text[n - 1] == '\n')
		n--;
	text[n] = '\0';
	for (start = text + n; start > text; start--)
		if (start[-1] == '\n' && --lines == 0)
			break;
	return *start ? strdup(start) : NULL;
}
