#include <config.h>

#include "api.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "localsock.h"
#include "pump.h"
#include "stream.h"

#define DEAF_MS 1000	    /* without descriptors to accept with */
#define IN_ROOM (64 * 1024) /* of a client whose lines are short */
/* Errors and the like, which have to get through when API_OUT_SUM is reached;
 * a client's are within its API_REPLY_MAX. */
#define OUT_SHORT 4096

/* A client: read line by line while what it was answered has gone out. After
 * its end of file it still gets what it has asked for. */
struct client {
	struct api *api;
	struct client *next;
	int fd;
	struct loop_io *io;
	struct rpc *rpc;
	bool ended; /* it sends no more */
	bool full;  /* and waits: its next line is taken when a call ends */
	bool dead;
	char *in; /* in_room bytes: more while a line is long */
	size_t in_len, in_room;
	char *out; /* NULL: nothing */
	size_t out_at, out_len, out_room;
	struct ops_origin origin;
	struct streams *streams;
	bool hold;	   /* no lines are taken: it waits to become raw */
	int raw;	   /* what the connection is to become; -1: nothing */
	struct pump *pump; /* it has */
	int fds[API_FDS];  /* that nobody has taken, the first first */
	size_t n_fds;
	LIST_HEAD(, api_listener) listeners;
};

struct api {
	struct loop *loop;
	struct ops *ops;
	json_t *hello;
	int dir, fd;
	char name[64];
	struct loop_io *io;
	struct loop_timer *timer; /* sweeps, and accepts again */
	struct client *clients;
	unsigned int n_clients;
	size_t out_sum; /* what the clients' out have room for */
};

/* -- a client -------------------------------------------------------------- */

static void drop_fds(struct client *c)
{
	while (c->n_fds)
		close(c->fds[--c->n_fds]);
}

static void tell_gone(struct client *c)
{
	struct api_listener *l;

	while ((l = LIST_FIRST(&c->listeners))) {
		api_unlisten(l);
		l->gone(l->arg);
	}
}

static void drop_out(struct client *c)
{
	free(c->out);
	c->out = NULL;
	c->api->out_sum -= c->out_room;
	c->out_at = c->out_len = c->out_room = 0;
}

static void client_free(struct client *c)
{
	tell_gone(c);
	rpc_free(c->rpc);
	streams_free(c->streams);
	drop_fds(c);
	loop_io_free(c->io);
	pump_free(c->pump);
	if (c->raw >= 0)
		close(c->raw);
	if (c->fd >= 0)
		close(c->fd);
	free(c->in);
	drop_out(c);
	free(c);
}

/* It has ended, and has all its answers. */
static bool is_over(const struct client *c)
{
	return c->ended && !c->full && !c->pump && c->raw < 0 && !c->out &&
	       !rpc_open_calls(c->rpc) && LIST_EMPTY(&c->listeners);
}

static void sweep(struct api *a)
{
	for (struct client **pp = &a->clients; *pp;) {
		struct client *c = *pp;

		if (!c->dead && !is_over(c)) {
			pp = &c->next;
			continue;
		}
		*pp = c->next;
		a->n_clients--;
		client_free(c);
	}
}

/* Not at once: it may be within a call of its own. */
static void client_end(struct client *c)
{
	c->dead = true;
	loop_io_set(c->io, 0);
	loop_timer_set(c->api->timer, 0);
}

static void on_raw_over(void *arg)
{
	client_end(arg);
}

/* All lines are out; what has come behind the last one are bytes. */
static void become_raw(struct client *c)
{
	loop_io_free(c->io);
	c->io = NULL;
	if (pump_new(c->api->loop, TAKE_FD(c->fd), TAKE_FD(c->raw), c->in,
		     c->in_len, on_raw_over, c, &c->pump) < 0)
		client_end(c);
}

static void watch(struct client *c)
{
	uint32_t events = c->out ? EPOLLOUT : 0;

	if (c->dead || c->pump)
		return;
	if (c->raw >= 0 && !c->out) {
		become_raw(c);
		return;
	}
	if (c->ended && !c->out) /* is_over() may be true in a moment */
		loop_timer_set(c->api->timer, 0);
	/* who writes a lot before reading must not wait for us for ever */
	if (!c->ended && !c->hold && !c->full &&
	    c->out_len - c->out_at < API_BACKLOG)
		events |= EPOLLIN;
	if (c->full)
		events |= EPOLLPRI; /* never comes; but that it has left does */
	loop_io_set(c->io, events);
}

static void flush(struct client *c)
{
	while (c->out_at < c->out_len) {
		ssize_t n =
			send(c->fd, c->out + c->out_at, c->out_len - c->out_at,
			     MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0 && errno != EINTR) {
			client_end(c);
			return;
		}
		if (n > 0)
			c->out_at += (size_t)n;
	}
	drop_out(c);
}

/* Behind what waits already, for @more bytes. */
static int make_out_room(struct client *c, size_t more)
{
	size_t left = c->out_len - c->out_at, room = 2 * left + more;
	size_t others = c->api->out_sum - c->out_room;
	char *out;

	if (more > API_REPLY_MAX || left > API_REPLY_MAX - more)
		return -EMSGSIZE;
	if (more <= c->out_room - c->out_len)
		return 0;
	if (room > API_REPLY_MAX || others + room > API_OUT_SUM)
		room = left + more;
	if (others + room > API_OUT_SUM && more > OUT_SHORT)
		return -ENOBUFS;
	out = malloc(room);
	if (!out)
		return -ENOMEM;
	if (left)
		memcpy(out, c->out + c->out_at, left);
	drop_out(c);
	c->out = out;
	c->out_len = left;
	c->out_room = room;
	c->api->out_sum += room;
	return 0;
}

static int send_line(const char *text, size_t len, void *arg)
{
	struct client *c = arg;
	int r;

	if (c->dead || c->pump)
		return 0;
	r = make_out_room(c, len + 1);
	if (r < 0)
		return r;
	memcpy(c->out + c->out_len, text, len);
	c->out_len += len;
	c->out[c->out_len++] = '\n';
	flush(c);
	watch(c);
	return 0;
}

/* -- notifications ----------------------------------------------------------
 */

void api_listen(struct client *c, struct api_listener *l)
{
	l->client = c;
	LIST_INSERT_HEAD(&c->listeners, l, link);
}

void api_unlisten(struct api_listener *l)
{
	if (!l->client)
		return;
	LIST_REMOVE(l, link);
	watch(l->client); /* it may be over now */
	l->client = NULL;
}

int api_notify(struct client *c, const char *method, json_t *params)
{
	if (c->out && c->out_len - c->out_at >= API_BACKLOG) {
		json_decref(params);
		return -EAGAIN;
	}
	return rpc_notify(c->rpc, method, params);
}

static void tell_room(struct client *c)
{
	struct api_listener *l, *next;

	for (l = LIST_FIRST(&c->listeners); l && !c->out && !c->dead;
	     l = next) {
		next = LIST_NEXT(l, link);
		l->room(l->arg);
	}
}

/* -- lines ------------------------------------------------------------------
 */

int api_take_lines(struct rpc *rpc, char *data, size_t seen, size_t *len,
		   const bool *hold)
{
	char *at = data, *end;

	while (!*hold && rpc_has_room(rpc) &&
	       (end = memchr(at + seen, '\n', *len - seen))) {
		size_t line = (size_t)(end - at);

		if (line)
			rpc_receive(rpc, at, line);
		at = end + 1;
		*len -= line + 1;
		seen = 0;
	}
	memmove(data, at, *len);
	return *hold || !rpc_has_room(rpc) || *len < API_LINE_MAX ? 0
								  : -EMSGSIZE;
}

static void keep_fd(struct client *c, int fd)
{
	if (c->n_fds < API_FDS)
		c->fds[c->n_fds++] = fd;
	else
		close(fd);
}

/* As recv(), with the descriptors that come along. */
static ssize_t receive(struct client *c, void *data, size_t size)
{
	union {
		char buf[CMSG_SPACE(API_FDS * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { data, size };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.buf,
			      .msg_controllen = sizeof(control.buf) };
	ssize_t n = recvmsg(c->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *h;

	for (h = n < 0 ? NULL : CMSG_FIRSTHDR(&msg); h;
	     h = CMSG_NXTHDR(&msg, h)) {
		size_t len = h->cmsg_len - CMSG_LEN(0);
		int fd;

		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t at = 0; at + sizeof(fd) <= len; at += sizeof(fd)) {
			memcpy(&fd, CMSG_DATA(h) + at, sizeof(fd));
			keep_fd(c, fd);
		}
	}
	return n;
}

struct streams *api_streams(struct client *c)
{
	return c->streams;
}

void api_hold(struct client *c)
{
	c->hold = true;
}

void api_go_raw(struct client *c, int fd)
{
	c->raw = fd;
	if (fd < 0)
		c->ended = true;
	watch(c);
}

int api_take_fd(struct client *c)
{
	int fd = c->n_fds ? c->fds[0] : -ENOENT;

	if (c->n_fds)
		memmove(c->fds, c->fds + 1, --c->n_fds * sizeof(c->fds[0]));
	return fd;
}

static int set_in_room(struct client *c, size_t room)
{
	char *in = realloc(c->in, room);

	if (!in)
		return -ENOMEM;
	c->in = in;
	c->in_room = room;
	return 0;
}

/* Once a long line is dealt with its room goes back. */
static int fit_in_room(struct client *c)
{
	if (c->in_len == c->in_room && c->in_room < API_LINE_MAX)
		return set_in_room(c, c->in_room < API_LINE_MAX / 2
					      ? 2 * c->in_room
					      : API_LINE_MAX);
	if (c->in_len < IN_ROOM && c->in_room > IN_ROOM)
		set_in_room(c, IN_ROOM); /* it may stay as it is */
	return 0;
}

static void take(struct client *c, size_t seen)
{
	size_t before = c->in_len;

	if (api_take_lines(c->rpc, c->in, seen, &c->in_len, &c->hold) < 0) {
		rpc_refuse(c->rpc, RPC_E_TOOBIG, "a line of more than 1 MiB");
		c->ended = true;
	}
	c->full = !rpc_has_room(c->rpc);
	if (c->in_len < before && !c->full) /* a request has had its chance */
		drop_fds(c);
	if (fit_in_room(c) < 0)
		client_end(c);
}

static void read_some(struct client *c)
{
	size_t seen = c->in_len;
	ssize_t n = receive(c, c->in + seen, c->in_room - seen);

	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		client_end(c);
	} else if (n == 0) {
		c->ended = true;
	} else if (n > 0) {
		c->in_len += (size_t)n;
		take(c, seen);
	}
	watch(c);
}

static void take_more(struct client *c)
{
	if (!c->full || c->dead || !rpc_has_room(c->rpc))
		return;
	take(c, 0);
	watch(c);
}

/* Not at once: who answers it may be in the middle of something. */
static void on_room(void *arg)
{
	struct client *c = arg;

	loop_timer_set(c->api->timer, 0);
}

static void on_client(uint32_t events, void *arg)
{
	struct client *c = arg;

	if (c->dead)
		return;
	if (events & (EPOLLHUP | EPOLLERR)) {
		client_end(c);
		return;
	}
	if (events & EPOLLOUT) {
		flush(c);
		tell_room(c);
		watch(c);
	}
	if (!c->dead && !c->pump && !c->hold && !c->full && (events & EPOLLIN))
		read_some(c);
}

/* Takes @fd, also on failure. */
static struct client *client_new(struct api *a, int fd)
{
	_cleanup_close_ int own_fd = fd;
	struct client *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->api = a;
	c->in = malloc(IN_ROOM);
	c->in_room = IN_ROOM;
	c->raw = -1;
	c->streams = streams_new(a->loop);
	if (c->streams)
		c->rpc = rpc_new(streams_methods, c->streams, send_line, c);
	c->origin = (struct ops_origin){ a->ops, OPS_USER, c };
	if (!c->in || !c->rpc ||
	    loop_io_add(a->loop, fd, EPOLLIN, on_client, c, &c->io) < 0) {
		free(c->in);
		rpc_free(c->rpc);
		streams_free(c->streams);
		free(c);
		return NULL;
	}
	streams_set_rpc(c->streams, c->rpc);
	rpc_set_limit(c->rpc, API_CALLS);
	rpc_on_room(c->rpc, on_room, c);
	rpc_set_handler(c->rpc, ops_handle, &c->origin);
	c->fd = TAKE_FD(own_fd);
	return c;
}

/* -- the socket ------------------------------------------------------------ */

static void on_listener(uint32_t events, void *arg)
{
	struct api *a = arg;
	_cleanup_close_ int fd =
		accept4(a->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct client *c;

	if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM)) {
		loop_io_set(a->io, 0); /* it would wake us for ever */
		loop_timer_set(a->timer, DEAF_MS);
	}
	if (fd < 0 || !localsock_is_trusted(fd) || a->n_clients >= API_CLIENTS)
		return;
	c = client_new(a, TAKE_FD(fd));
	if (!c)
		return;
	c->next = a->clients;
	a->clients = c;
	a->n_clients++;
	rpc_notify(c->rpc, "hello", json_incref(a->hello));
}

static void on_timer(void *arg)
{
	struct api *a = arg;

	for (struct client *c = a->clients; c; c = c->next)
		take_more(c);
	sweep(a);
	loop_io_set(a->io, EPOLLIN);
}

static int open_socket(struct api *a, struct errmsg *err)
{
	int r = a->dir;

	if (r >= 0)
		r = a->fd = localsock_listen(a->dir, a->name, SOCK_STREAM);
	if (r >= 0)
		r = loop_io_add(a->loop, a->fd, EPOLLIN, on_listener, a,
				&a->io);
	if (r >= 0)
		r = loop_timer_add(a->loop, -1, on_timer, a, &a->timer);
	return r < 0 ? errmsg_set(err, r, "socket %s", a->name) : 0;
}

int api_new(struct loop *l, int dir, const char *name, struct ops *ops,
	    json_t *hello, struct api **ret, struct errmsg *err)
{
	struct api *a = calloc(1, sizeof(*a));
	int r;

	if (!a || !hello) {
		json_decref(hello);
		free(a);
		return errmsg_set(err, -ENOMEM, "socket %s", name);
	}
	a->loop = l;
	a->ops = ops;
	a->hello = hello;
	a->fd = -1;
	a->dir = fcntl(dir, F_DUPFD_CLOEXEC, 3);
	snprintf(a->name, sizeof(a->name), "%s", name);
	r = open_socket(a, err);
	if (r < 0) {
		api_free(a);
		return r;
	}
	*ret = a;
	return 0;
}

void api_free(struct api *a)
{
	if (!a)
		return;
	while (a->clients) {
		struct client *c = a->clients;

		a->clients = c->next;
		client_free(c);
	}
	loop_timer_free(a->timer);
	loop_io_free(a->io);
	if (a->fd >= 0) {
		unlinkat(a->dir, a->name, 0);
		close(a->fd);
	}
	if (a->dir >= 0)
		close(a->dir);
	json_decref(a->hello);
	free(a);
}
