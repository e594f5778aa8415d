#include <config.h>

#include "console.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "cleanup.h"

struct console {
	int fd, copy_fd;
	struct loop_io *io;
	char keep[CONSOLE_KEEP]; /* a ring */
	size_t total;		 /* bytes ever put into it */
};

static void keep(struct console *c, const char *buf, size_t len)
{
	for (size_t i = 0; i < len; i++)
		c->keep[c->total++ % CONSOLE_KEEP] = buf[i];
	while (c->copy_fd >= 0 && len) {
		ssize_t n = write(c->copy_fd, buf, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return; /* a full disk may not end the VM */
		buf += n;
		len -= (size_t)n;
	}
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
	c->fd = fd;
	c->copy_fd = copy_fd;
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
	if (c->copy_fd >= 0)
		close(c->copy_fd);
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
static size_t clean(const struct console *c, char *out)
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
		else if (b == '\n' || b == '\t' || (b >= ' ' && b != 0x7f))
			out[n++] = (char)b;
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
	n = clean(c, text);
	while (n && text[n - 1] == '\n')
		n--;
	text[n] = '\0';
	for (start = text + n; start > text; start--)
		if (start[-1] == '\n' && --lines == 0)
			break;
	return *start ? strdup(start) : NULL;
}
