#include <config.h>

#include "qmp.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "sendfds.h"

#define LINE_MAX_BYTES (1 << 20)

struct pending {
	struct pending *next;
	qmp_reply_fn fn;
	void *arg;
};

struct qmp {
	int fd;
	struct loop_io *io;
	struct qmp_ops ops;
	void *arg;
	bool greeted, gone;
	char *buf; /* what was read and is no whole line yet */
	size_t len, size;
	struct pending *head, **tail;
};

static void lost(struct qmp *q, const char *why)
{
	struct pending *p;

	if (q->gone)
		return;
	q->gone = true;
	loop_io_free(q->io);
	q->io = NULL;
	while ((p = q->head)) {
		q->head = p->next;
		if (p->fn)
			p->fn(NULL, why, p->arg);
		free(p);
	}
	q->tail = &q->head;
	q->ops.gone(why, q->arg);
}

static void on_reply(struct qmp *q, json_t *msg)
{
	json_t *result = json_object_get(msg, "return");
	struct pending *p = q->head;
	const char *error = NULL;

	if (!p)
		return;
	q->head = p->next;
	if (!q->head)
		q->tail = &q->head;
	if (!result)
		error = json_string_value(
			json_object_get(json_object_get(msg, "error"), "desc"));
	if (!result && !error)
		error = "QEMU gave no reason";
	if (p->fn)
		p->fn(result, error, p->arg);
	free(p);
}

static void on_capabilities(json_t *result, const char *error, void *arg)
{
	struct qmp *q = arg;

	if (result)
		q->ops.ready(q->arg);
}

static void on_greeting(struct qmp *q)
{
	if (q->greeted) {
		lost(q, "QEMU's monitor greeted twice");
		return;
	}
	q->greeted = true;
	qmp_send(q, "qmp_capabilities", NULL, on_capabilities, q);
}

static void on_message(struct qmp *q, json_t *msg)
{
	const char *event = json_string_value(json_object_get(msg, "event"));

	if (json_object_get(msg, "QMP"))
		on_greeting(q);
	else if (event)
		q->ops.event(event, json_object_get(msg, "data"), q->arg);
	else
		on_reply(q, msg);
}

static void on_line(struct qmp *q, const char *line, size_t len)
{
	json_t *msg = json_loadb(line, len, 0, NULL);

	if (!json_is_object(msg))
		lost(q, "QEMU's monitor sent what is no JSON object");
	else
		on_message(q, msg);
	json_decref(msg);
}

static bool make_room(struct qmp *q)
{
	size_t size = q->size ? q->size * 2 : 4096;
	char *buf;

	if (q->len < q->size)
		return true;
	if (size > LINE_MAX_BYTES)
		return false;
	buf = realloc(q->buf, size);
	if (!buf)
		return false;
	q->buf = buf;
	q->size = size;
	return true;
}

static void on_readable(uint32_t events, void *arg)
{
	struct qmp *q = arg;
	char *nl;
	ssize_t n;

	if (!make_room(q)) {
		lost(q, "QEMU's monitor sent too long a line");
		return;
	}
	n = recv(q->fd, q->buf + q->len, q->size - q->len, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		lost(q, "QEMU's monitor closed");
		return;
	}
	q->len += (size_t)n;
	while (!q->gone && (nl = memchr(q->buf, '\n', q->len))) {
		size_t used = (size_t)(nl - q->buf) + 1;

		on_line(q, q->buf, used);
		q->len -= used;
		memmove(q->buf, q->buf + used, q->len);
	}
}

/* Commands are short, QEMU reads them at once. */
static int send_text(struct qmp *q, const char *text, size_t len, int fd)
{
	ssize_t n = send_with_fds(q->fd, text, len, &fd, fd >= 0, 0);

	return n == (ssize_t)len ? 0 : -EIO;
}

int qmp_send_fd(struct qmp *q, const char *command, json_t *args, int fd,
		qmp_reply_fn fn, void *arg)
{
	_cleanup_free_ struct pending *p = calloc(1, sizeof(*p));
	_cleanup_free_ char *text = NULL;
	json_t *msg = args ? json_pack("{s:s, s:o}", "execute", command,
				       "arguments", args)
			   : json_pack("{s:s}", "execute", command);
	size_t len;
	int r;

	if (msg)
		text = json_dumps(msg, JSON_COMPACT);
	json_decref(msg);
	if (!p || !text)
		return -ENOMEM;
	if (q->gone)
		return -ENOTCONN;
	len = strlen(text);
	text[len] = '\n'; /* the NUL's place: QEMU takes lines */
	r = send_text(q, text, len + 1, fd);
	if (r < 0)
		return r;
	p->fn = fn;
	p->arg = arg;
	*q->tail = p;
	q->tail = &p->next;
	TAKE_PTR(p);
	return 0;
}

int qmp_send(struct qmp *q, const char *command, json_t *args, qmp_reply_fn fn,
	     void *arg)
{
	return qmp_send_fd(q, command, args, -1, fn, arg);
}

int qmp_new(struct loop *l, int fd, const struct qmp_ops *ops, void *arg,
	    struct qmp **ret, struct errmsg *err)
{
	struct qmp *q = calloc(1, sizeof(*q));
	int r;

	if (!q) {
		close(fd);
		return errmsg_set(err, -ENOMEM, "QEMU's monitor");
	}
	q->fd = fd;
	q->ops = *ops;
	q->arg = arg;
	q->tail = &q->head;
	r = loop_io_add(l, fd, EPOLLIN, on_readable, q, &q->io);
	if (r < 0) {
		qmp_free(q);
		return errmsg_set(err, r, "QEMU's monitor");
	}
	*ret = q;
	return 0;
}

void qmp_free(struct qmp *q)
{
	struct pending *p;

	if (!q)
		return;
	while ((p = q->head)) {
		q->head = p->next;
		free(p);
	}
	loop_io_free(q->io);
	close(q->fd);
	free(q->buf);
	free(q);
}
