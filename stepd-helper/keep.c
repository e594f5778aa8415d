#include <config.h>

#include "keep.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "cleanup.h"

#define PIECE 65536 /* read at once */

struct keep {
	struct loop *loop;
	size_t limit;
	keep_fn over;
	void *arg;
	int in;	    /* -1: it has ended, or there is none */
	bool ended; /* nothing comes any more */
	struct loop_io *in_io;
	char *data;
	size_t at, len, room; /* of @data, @len bytes from @at */
	uint64_t dropped;
	int out; /* -1: nobody is attached */
	struct loop_io *out_io;
	bool told;
	bool tail; /* the last bytes are kept, not the first */
};

static void detach(struct keep *k)
{
	loop_io_free(k->out_io);
	k->out_io = NULL;
	if (k->out >= 0)
		close(TAKE_FD(k->out));
}

static void settle(struct keep *k)
{
	if (!k->ended || (k->out >= 0 && k->len))
		return;
	detach(k);
	if (!k->told) {
		k->told = true;
		k->over(k->arg);
	}
}

/* 0: all is written; 1: it has to wait; < 0: nobody reads. */
static int write_out(struct keep *k)
{
	while (k->len) {
		ssize_t n = write(k->out, k->data + k->at, k->len);

		if (n < 0 && errno == EAGAIN)
			return 1;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			k->at += (size_t)n;
			k->len -= (size_t)n;
		}
	}
	k->at = 0;
	return 0;
}

/* What is attached decides whether more is read. */
static void flush(struct keep *k)
{
	int r = k->out >= 0 ? write_out(k) : 0;

	if (r < 0)
		detach(k);
	loop_io_set(k->out_io, r > 0 ? EPOLLOUT : 0);
	loop_io_set(k->in_io, r > 0 ? 0 : EPOLLIN);
	settle(k);
}

static void on_out(uint32_t events, void *arg)
{
	struct keep *k = arg;

	if (events & EPOLLERR) {
		detach(k);
		loop_io_set(k->in_io, EPOLLIN);
		settle(k);
		return;
	}
	flush(k);
}

/* Room for a piece behind what is there. */
static bool make_room(struct keep *k)
{
	char *more;

	if (k->at && k->len)
		memmove(k->data, k->data + k->at, k->len);
	k->at = 0;
	if (k->room - k->len >= PIECE)
		return true;
	more = realloc(k->data, k->len + PIECE);
	if (!more)
		return false;
	k->data = more;
	k->room = k->len + PIECE;
	return true;
}

static void cut(struct keep *k)
{
	size_t more = k->len - k->limit;

	if (k->tail) /* @at is 0: see make_room() */
		memmove(k->data, k->data + more, k->limit);
	k->dropped += more;
	k->len = k->limit;
}

static void on_in(uint32_t events, void *arg)
{
	struct keep *k = arg;
	ssize_t n;

	if (!make_room(k))
		n = -1;
	else
		n = read(k->in, k->data + k->len, PIECE);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		loop_io_free(k->in_io);
		k->in_io = NULL;
		close(TAKE_FD(k->in));
		k->ended = true;
	} else {
		k->len += (size_t)n;
		if (k->out < 0 && k->len > k->limit)
			cut(k);
	}
	flush(k);
}

int keep_new(struct loop *l, size_t limit, keep_fn over, void *arg,
	     struct keep **ret, int *ret_fd)
{
	struct keep *k = calloc(1, sizeof(*k));
	int fd[2], r;

	if (!k)
		return -ENOMEM;
	*k = (struct keep){ .loop = l,
			    .limit = limit,
			    .over = over,
			    .arg = arg,
			    .in = -1,
			    .out = -1 };
	if (!ret_fd) {
		*ret = k;
		return 0;
	}
	if (pipe2(fd, O_CLOEXEC | O_NONBLOCK) < 0) {
		free(k);
		return -errno;
	}
	k->in = fd[0];
	r = loop_io_add(l, k->in, EPOLLIN, on_in, k, &k->in_io);
	if (r < 0) {
		close(fd[1]);
		keep_free(k);
		return r;
	}
	*ret = k;
	*ret_fd = fd[1];
	return 0;
}

void keep_free(struct keep *k)
{
	if (!k)
		return;
	detach(k);
	loop_io_free(k->in_io);
	if (k->in >= 0)
		close(k->in);
	free(k->data);
	free(k);
}

void keep_set_tail(struct keep *k)
{
	k->tail = true;
}

int keep_attach(struct keep *k, int fd)
{
	_cleanup_close_ int own = fd;
	int r;

	if (k->out >= 0)
		return -EBUSY;
	r = loop_io_add(k->loop, fd, 0, on_out, k, &k->out_io);
	if (r < 0 && r != -EPERM) /* that is a file, which never waits */
		return r;
	if (r == 0)
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	k->out = TAKE_FD(own);
	flush(k);
	return 0;
}

void keep_end(struct keep *k, const char *data, size_t len, uint64_t dropped)
{
	size_t most = k->out >= 0 || len < k->limit ? len : k->limit;

	k->data = most ? malloc(most) : NULL;
	k->len = k->data ? most : 0;
	if (k->data)
		memcpy(k->data, data, most);
	k->dropped = dropped + len - k->len;
	k->ended = true;
	flush(k);
}

bool keep_is_attached(const struct keep *k)
{
	return k->out >= 0;
}

const char *keep_data(const struct keep *k, size_t *ret_len)
{
	*ret_len = k->len;
	return k->data ? k->data + k->at : "";
}

uint64_t keep_dropped(const struct keep *k)
{
	return k->dropped;
}

bool keep_is_over(const struct keep *k)
{
	return k->told;
}
