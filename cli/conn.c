#include <config.h>

#include "conn.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "localsock.h"
#include "sendfds.h"
#include "value.h"

#define LINE_BYTES (32u << 20) /* of an answer: more than API_REPLY_MAX */

/* A request, or what of it has not gone out. */
struct piece {
	STAILQ_ENTRY(piece) next;
	size_t at, len;
	int fds[CONN_FDS]; /* owned */
	size_t n_fds;
	char text[];
};

struct conn {
	int fd;
	struct loop_io *io;
	struct rpc *rpc;
	void (*gone)(void *arg);
	void *arg;
	char *buf;
	size_t len, room;
	json_int_t tasks; /* of the step, from its greeting */
	const int *fds;	  /* of the request that is being sent */
	size_t n_fds;
	STAILQ_HEAD(, piece) out;
};

/* "task.12.sock" */
static bool parse_name(const char *name, unsigned long *ret)
{
	char digits[16];
	size_t len = strcspn(name + 5, ".");

	if (strncmp(name, "task.", 5) != 0 || len == 0 ||
	    len >= sizeof(digits) || strcmp(name + 5 + len, ".sock") != 0)
		return false;
	memcpy(digits, name + 5, len);
	digits[len] = '\0';
	return value_uint(digits, 0, RANK_MAX, ret, NULL) == 0;
}

int conn_ranks(const char *dir, struct rankset *ret, struct errmsg *err)
{
	DIR *d = opendir(dir);
	unsigned long rank;
	struct dirent *e;
	int r = 0;

	if (!d)
		return errmsg_set(err, -errno, "%s", dir);
	while (r == 0 && (e = readdir(d)))
		if (strlen(e->d_name) > 5 && parse_name(e->d_name, &rank))
			r = rankset_add(ret, (uint32_t)rank, (uint32_t)rank);
	closedir(d);
	return r < 0 ? errmsg_set(err, r, "%s", dir) : 0;
}

static void end(struct conn *c, const char *why)
{
	loop_io_free(c->io);
	c->io = NULL;
	rpc_forget(c->rpc, why);
	if (c->gone)
		c->gone(c->arg);
}

static bool make_room(struct conn *c)
{
	size_t room = c->room ? 2 * c->room : 65536;
	char *more;

	if (c->len < c->room)
		return true;
	more = room <= LINE_BYTES ? realloc(c->buf, room) : NULL;
	if (!more)
		return false;
	c->buf = more;
	c->room = room;
	return true;
}

static void take_lines(struct conn *c, size_t from)
{
	char *at = c->buf, *nl;
	size_t seen = from;

	while ((nl = memchr(at + seen, '\n', c->len - seen))) {
		rpc_receive(c->rpc, at, (size_t)(nl - at));
		c->len -= (size_t)(nl - at) + 1;
		at = nl + 1;
		seen = 0;
	}
	memmove(c->buf, at, c->len);
}

static void read_some(struct conn *c)
{
	size_t from = c->len;
	ssize_t n = -1;

	if (make_room(c))
		n = recv(c->fd, c->buf + c->len, c->room - c->len,
			 MSG_DONTWAIT);
	else
		errno = EMSGSIZE;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		end(c, n == 0 ? "the task has ended" : strerror(errno));
		return;
	}
	c->len += (size_t)n;
	take_lines(c, from);
}

/* -- out: a task that answers something else may not take a request yet ---- */

static void piece_free(struct piece *p)
{
	if (!p)
		return;
	while (p->n_fds)
		close(p->fds[--p->n_fds]);
	free(p);
}

/* A line of @text, with copies of @fds. */
static struct piece *piece_new(const char *text, size_t len, const int *fds,
			       size_t n_fds)
{
	struct piece *p = malloc(sizeof(*p) + len + 1);

	if (!p)
		return NULL;
	*p = (struct piece){ .len = len + 1 };
	memcpy(p->text, text, len);
	p->text[len] = '\n';
	for (size_t i = 0; i < n_fds; i++) {
		int fd = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);

		if (fd < 0) {
			piece_free(p);
			return NULL;
		}
		p->fds[p->n_fds++] = fd;
	}
	return p;
}

static int flush(struct conn *c)
{
	struct piece *p;

	while ((p = STAILQ_FIRST(&c->out))) {
		ssize_t n = send_with_fds(c->fd, p->text + p->at,
					  p->len - p->at, p->fds,
					  p->at ? 0 : p->n_fds, MSG_DONTWAIT);

		if (n == -EAGAIN)
			break;
		if (n < 0 && n != -EINTR)
			return (int)n;
		p->at += n > 0 ? (size_t)n : 0;
		if (p->at < p->len)
			continue;
		STAILQ_REMOVE_HEAD(&c->out, next);
		piece_free(p);
	}
	loop_io_set(c->io, p ? EPOLLIN | EPOLLOUT : EPOLLIN);
	return 0;
}

static int send_line(const char *text, size_t len, void *arg)
{
	struct conn *c = arg;
	struct piece *p = piece_new(text, len, c->fds, c->n_fds);

	if (!p)
		return -ENOMEM;
	STAILQ_INSERT_TAIL(&c->out, p, next);
	return flush(c);
}

/* -------------------------------------------------------------------------- */

static void on_socket(uint32_t events, void *arg)
{
	struct conn *c = arg;
	int r = 0;

	if (events & EPOLLOUT)
		r = flush(c);
	if (r < 0)
		end(c, strerror(-r));
	else if (events & ~(uint32_t)EPOLLOUT)
		read_some(c);
}

static void on_hello(struct rpc_call *call, const json_t *params, void *arg)
{
	struct conn *c = arg;

	c->tasks = json_integer_value(json_object_get(params, "tasks"));
	rpc_result(call, NULL);
}

static const struct rpc_method methods[] = { { "hello", on_hello }, { 0 } };

int conn_open(struct loop *l, const char *dir_path, uint32_t rank,
	      void (*gone)(void *arg), void *arg, struct conn **ret,
	      struct errmsg *err)
{
	_cleanup_close_ int dir =
		open(dir_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct conn *c;
	char name[32];
	int r;

	if (dir < 0)
		return errmsg_set(err, -errno, "%s", dir_path);
	c = calloc(1, sizeof(*c));
	if (!c)
		return errmsg_set(err, -ENOMEM, "task %" PRIu32, rank);
	STAILQ_INIT(&c->out);
	c->gone = gone;
	c->arg = arg;
	snprintf(name, sizeof(name), "task.%" PRIu32 ".sock", rank);
	c->fd = localsock_connect(dir, name, SOCK_STREAM);
	r = c->fd == -ECONNREFUSED ? -ENOENT : c->fd;
	c->rpc = rpc_new(methods, c, send_line, c);
	if (r >= 0)
		r = c->rpc ? loop_io_add(l, c->fd, EPOLLIN, on_socket, c,
					 &c->io)
			   : -ENOMEM;
	if (r < 0) {
		conn_free(c);
		return errmsg_set(err, r, "task %" PRIu32, rank);
	}
	*ret = c;
	return 0;
}

void conn_free(struct conn *c)
{
	struct piece *p;

	if (!c)
		return;
	rpc_free(c->rpc);
	loop_io_free(c->io);
	while ((p = STAILQ_FIRST(&c->out))) {
		STAILQ_REMOVE_HEAD(&c->out, next);
		piece_free(p);
	}
	if (c->fd >= 0)
		close(c->fd);
	free(c->buf);
	free(c);
}

json_int_t conn_tasks(const struct conn *c)
{
	return c->tasks;
}

void conn_set_handler(struct conn *c, rpc_handler_fn fn, void *arg)
{
	rpc_set_handler(c->rpc, fn, arg);
}

int conn_ask(struct conn *c, const char *method, json_t *params, const int *fds,
	     size_t n_fds, rpc_reply_fn fn, void *arg)
{
	int r;

	if (!c->io) {
		json_decref(params);
		return -ENOTCONN;
	}
	c->fds = fds;
	c->n_fds = n_fds;
	r = rpc_request(c->rpc, method, params ? params : json_object(), fn,
			arg);
	c->n_fds = 0;
	return r;
}
