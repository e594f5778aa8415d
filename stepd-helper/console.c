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
#include <sys/uio.h>
#include <unistd.h>

#include "cleanup.h"
#include "plain.h"

#define END_MS 1000 /* for a slow reader to take what is left */

/* The copy is written from the ring, by a descriptor that does not block: a
 * reader that does not keep up loses what the ring overtakes, and is told. */
struct copy {
	int fd;		    /* owned; -1: none */
	int flags;	    /* of the descriptor, to be put back */
	struct loop_io *io; /* while it is full */
	size_t done;	    /* bytes of the ring that are written or lost */
	size_t lost;	    /* not told yet */
	char note[80];	    /* that tells it */
	size_t note_len, note_off;
};

struct console {
	struct loop *loop;
	int fd;
	struct loop_io *io;
	struct copy copy;
	char keep[CONSOLE_KEEP]; /* a ring */
	size_t total;		 /* bytes ever put into it */
};

/* -- the copy -------------------------------------------------------------- */

static void make_note(struct copy *y)
{
	y->note_len = (size_t)snprintf(
		y->note, sizeof(y->note),
		"\r\n[vmstep: %zu bytes of the console are missing here]\r\n",
		y->lost);
	y->note_off = 0;
	y->lost = 0;
}

/* What is to be written next; 0 bytes when all is. */
static struct iovec next_piece(struct console *c)
{
	struct copy *y = &c->copy;
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

static void wrote(struct copy *y, size_t n)
{
	if (y->note_off < y->note_len)
		y->note_off += n;
	else
		y->done += n;
}

/* Returns 0, or -EAGAIN when the reader has to go on first. */
static int write_copy(struct console *c)
{
	struct iovec piece;
	ssize_t n;

	while ((piece = next_piece(c)).iov_len) {
		n = write(c->copy.fd, piece.iov_base, piece.iov_len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return -EAGAIN;
		if (n <= 0) { /* a full disk may not end the VM */
			c->copy.lost += c->total - c->copy.done;
			c->copy.done = c->total;
			return 0;
		}
		wrote(&c->copy, (size_t)n);
	}
	return 0;
}

static void on_writable(uint32_t events, void *arg);

static void pass_on(struct console *c)
{
	struct copy *y = &c->copy;

	if (y->fd < 0 || y->io)
		return;
	if (write_copy(c) == -EAGAIN)
		loop_io_add(c->loop, y->fd, EPOLLOUT, on_writable, c, &y->io);
}

static void on_writable(uint32_t events, void *arg)
{
	struct console *c = arg;

	if (write_copy(c) == 0) {
		loop_io_free(c->copy.io);
		c->copy.io = NULL;
	}
}

static void open_copy(struct copy *y, int fd)
{
	*y = (struct copy){ .fd = fd };
	if (fd < 0)
		return;
	y->flags = fcntl(fd, F_GETFL);
	fcntl(fd, F_SETFL, y->flags | O_NONBLOCK);
}

static void close_copy(struct console *c)
{
	struct copy *y = &c->copy;
	struct pollfd p = { .fd = y->fd, .events = POLLOUT };
	int64_t end = loop_now_ms() + END_MS, left = END_MS;

	if (y->fd < 0)
		return;
	while (write_copy(c) == -EAGAIN && left > 0) {
		poll(&p, 1, (int)left);
		left = end - loop_now_ms();
	}
	loop_io_free(y->io);
	fcntl(y->fd, F_SETFL, y->flags);
	close(y->fd);
}

/* -- reading --------------------------------------------------------------- */

static void keep(struct console *c, const char *buf, size_t len)
{
	struct copy *y = &c->copy;

	for (size_t i = 0; i < len; i++)
		c->keep[c->total++ % CONSOLE_KEEP] = buf[i];
	if (c->total - y->done > CONSOLE_KEEP) {
		y->lost += c->total - CONSOLE_KEEP - y->done;
		y->done = c->total - CONSOLE_KEEP;
	}
	pass_on(c);
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

static void on_readable(uint32_t events, void *arg)
{
	struct console *c = arg;
	bool ended;

	read_some(c, &ended);
	if (ended) {
		loop_io_free(c->io);
		c->io = NULL;
	}
}

int console_new(struct loop *l, int fd, int copy_fd, struct console **ret,
		struct errmsg *err)
{
	struct console *c = calloc(1, sizeof(*c));
	int r;

	if (!c) {
		close(fd);
		if (copy_fd >= 0)
			close(copy_fd);
		return errmsg_set(err, -ENOMEM, "console");
	}
	c->loop = l;
	c->fd = fd;
	open_copy(&c->copy, copy_fd);
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	r = loop_io_add(l, fd, EPOLLIN, on_readable, c, &c->io);
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
	loop_io_free(c->io);
	close(c->fd);
	close_copy(c);
	free(c);
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
	size_t from = c->total > CONSOLE_KEEP ? c->total - CONSOLE_KEEP : 0;
	size_t n = 0;
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
