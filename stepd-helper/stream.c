#include <config.h>

#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "param.h"

#define PIECE 24576 /* of one notification, before base64 */

struct stream {
	LIST_ENTRY(stream) next;
	struct streams *all;
	int id, fd;
	struct loop_io *io;
	bool to_guest;
	bool begun;
	size_t credit; /* bytes that may still go to the client, or come */
	json_int_t seq;
	char *data; /* to the guest: STREAM_WINDOW bytes */
	size_t at, len;
	bool eof; /* the client says no more */
};

struct streams {
	struct loop *loop;
	struct rpc *rpc; /* borrowed */
	LIST_HEAD(, stream) list;
	unsigned int n;
	int last_id;
};

static void stream_free(struct stream *s)
{
	LIST_REMOVE(s, next);
	s->all->n--;
	loop_io_free(s->io);
	close(s->fd);
	free(s->data);
	free(s);
}

static struct stream *find(const struct streams *all, json_int_t id)
{
	struct stream *s;

	for (s = LIST_FIRST(&all->list); s; s = LIST_NEXT(s, next))
		if (s->id == id)
			return s;
	return NULL;
}

/* -- from the guest -------------------------------------------------------- */

static void tell_eof(struct stream *s)
{
	rpc_notify(s->all->rpc, "stream.eof",
		   json_pack("{s:i}", "stream", s->id));
}

static void pass_on(struct stream *s)
{
	size_t most = s->credit < PIECE ? s->credit : PIECE;
	char data[PIECE];
	ssize_t n;

	n = recv(s->fd, data, most, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		tell_eof(s);
		stream_free(s);
		return;
	}
	s->credit -= (size_t)n;
	if (!s->credit)
		loop_io_set(s->io, 0);
	rpc_notify(s->all->rpc, "stream.data",
		   json_pack("{s:i, s:I, s:o}", "stream", s->id, "seq",
			     s->seq++, "data",
			     param_from_bytes(data, (size_t)n)));
}

/* -- to the guest ---------------------------------------------------------- */

static void give_credit(struct stream *s, size_t bytes)
{
	s->credit += bytes;
	rpc_notify(s->all->rpc, "stream.credit",
		   json_pack("{s:i, s:I}", "stream", s->id, "bytes",
			     (json_int_t)bytes));
}

/* Returns whether it is there still. */
static bool flush(struct stream *s)
{
	size_t from = s->at;

	while (s->at < s->len) {
		ssize_t n = send(s->fd, s->data + s->at, s->len - s->at,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0 && errno != EINTR) { /* nobody takes it */
			tell_eof(s);
			stream_free(s);
			return false;
		}
		s->at += n > 0 ? (size_t)n : 0;
	}
	if (s->at > from)
		give_credit(s, s->at - from);
	if (s->at == s->len)
		s->at = s->len = 0;
	if (s->eof && !s->len) {
		stream_free(s);
		return false;
	}
	loop_io_set(s->io, s->len ? EPOLLOUT : 0);
	return true;
}

static void on_fd(uint32_t events, void *arg)
{
	struct stream *s = arg;

	if (s->to_guest)
		flush(s);
	else
		pass_on(s);
}

/* -- what the client says -------------------------------------------------- */

/* A stream of the client's in this direction; a late word about one that has
 * ended is no error. */
static struct stream *named(struct streams *all, const json_t *params,
			    bool to_guest)
{
	struct stream *s = find(
		all, json_integer_value(json_object_get(params, "stream")));

	return s && s->to_guest == to_guest ? s : NULL;
}

/* Behind what waits already: there is room for the window. */
static void append(struct stream *s, const char *data, size_t len)
{
	memmove(s->data, s->data + s->at, s->len - s->at);
	s->len -= s->at;
	s->at = 0;
	memcpy(s->data + s->len, data, len);
	s->len += len;
	s->credit -= len;
}

static void stream_data(struct rpc_call *call, const json_t *params, void *arg)
{
	struct stream *s = named(arg, params, true);
	_cleanup_free_ char *data = NULL;
	struct errmsg err = { "data: missing" };
	size_t len = 0;
	int r = param_bytes(params, "data", &data, &len, &err);

	if (!s || s->eof) {
		rpc_fail(call, RPC_E_GONE, "no such stream to the guest");
	} else if (r < 0 || !data) {
		rpc_fail(call, RPC_INVALID_PARAMS, err.text);
	} else if (len > s->credit) {
		rpc_fail(call, RPC_E_FULL,
			 "more than the stream's credit: it ends");
		tell_eof(s);
		stream_free(s);
	} else {
		append(s, data, len);
		rpc_result(call, NULL);
		flush(s);
	}
}

static void stream_eof(struct rpc_call *call, const json_t *params, void *arg)
{
	struct stream *s = named(arg, params, true);

	if (s) {
		s->eof = true;
		flush(s);
	}
	rpc_result(call, NULL);
}

static void stream_credit(struct rpc_call *call, const json_t *params,
			  void *arg)
{
	struct stream *s = named(arg, params, false);
	int64_t bytes = 0;
	struct errmsg err;

	if (param_int(params, "bytes", 0, STREAM_WINDOW, &bytes, &err) < 0) {
		rpc_fail(call, RPC_INVALID_PARAMS, err.text);
		return;
	}
	if (s && s->begun) {
		s->credit += (size_t)bytes;
		if (s->credit > STREAM_WINDOW)
			s->credit = STREAM_WINDOW;
		if (s->credit)
			loop_io_set(s->io, EPOLLIN);
	}
	rpc_result(call, NULL);
}

const struct rpc_method streams_methods[] = {
	{ "stream.credit", stream_credit },
	{ "stream.data", stream_data },
	{ "stream.eof", stream_eof },
	{ 0 },
};

/* -------------------------------------------------------------------------- */

static struct stream *stream_new(struct streams *all, bool to_guest)
{
	struct stream *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->all = all;
	s->to_guest = to_guest;
	s->id = ++all->last_id;
	s->fd = -1;
	if (to_guest)
		s->data = malloc(STREAM_WINDOW);
	if (to_guest && !s->data) {
		free(s);
		return NULL;
	}
	LIST_INSERT_HEAD(&all->list, s, next);
	all->n++;
	return s;
}

int streams_add(struct streams *all, bool to_guest, int *ret_fd, int *ret_id)
{
	struct stream *s;
	int fd[2], r;

	if (all->n >= STREAMS_MAX)
		return -EMFILE;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
		       fd) < 0)
		return -errno;
	s = stream_new(all, to_guest);
	if (!s) {
		close(fd[0]);
		close(fd[1]);
		return -ENOMEM;
	}
	s->fd = fd[0];
	r = loop_io_add(all->loop, s->fd, 0, on_fd, s, &s->io);
	if (r < 0) {
		stream_free(s);
		close(fd[1]);
		return r;
	}
	shutdown(fd[0], to_guest ? SHUT_RD : SHUT_WR);
	*ret_fd = fd[1];
	*ret_id = s->id;
	return 0;
}

void streams_begin(struct streams *all, int id)
{
	struct stream *s = find(all, id);

	if (!s || s->begun)
		return;
	s->begun = true;
	if (s->to_guest) {
		give_credit(s, STREAM_WINDOW);
	} else {
		s->credit = STREAM_WINDOW;
		loop_io_set(s->io, EPOLLIN);
	}
}

void streams_drop(struct streams *all, int id)
{
	struct stream *s = find(all, id);

	if (s)
		stream_free(s);
}

struct streams *streams_new(struct loop *l)
{
	struct streams *all = calloc(1, sizeof(*all));

	if (!all)
		return NULL;
	all->loop = l;
	LIST_INIT(&all->list);
	return all;
}

void streams_set_rpc(struct streams *all, struct rpc *rpc)
{
	all->rpc = rpc;
}

void streams_free(struct streams *all)
{
	if (!all)
		return;
	while (LIST_FIRST(&all->list))
		stream_free(LIST_FIRST(&all->list));
	free(all);
}
