#include <config.h>

#include "test_frontend.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop.h"

int fe_wait(struct fe *fe, int fd, int ms)
{
	struct pollfd p = { fd, POLLIN, 0 };
	int64_t until = loop_now_ms() + ms;
	int n;

	do {
		if (fe->pump)
			fe->pump(fe->arg);
		n = poll(&p, 1, fe->pump ? 0 : (int)(until - loop_now_ms()));
	} while (n == 0 && loop_now_ms() < until);
	return n < 0 ? -errno : n;
}

int fe_send(struct fe *fe, const void *bytes, size_t len, const int *fds,
	    size_t n_fds)
{
	union {
		char bytes[CMSG_SPACE(64 * sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { (void *)(uintptr_t)bytes, len };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c;
	ssize_t n;

	if (n_fds) {
		m.msg_control = &control;
		m.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		if (m.msg_controllen > sizeof(control))
			return -E2BIG;
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
	}
	n = sendmsg(fe->fd, &m, MSG_NOSIGNAL);
	if (n < 0)
		return errno == EPIPE || errno == ECONNRESET ? -ENOTCONN
							     : -errno;
	return (size_t)n == len ? 0 : -EAGAIN;
}

static int recv_all(struct fe *fe, void *to, size_t len)
{
	ssize_t n;
	int r;

	for (size_t at = 0; at < len; at += (size_t)n) {
		r = fe_wait(fe, fe->fd, FE_WAIT_MS);
		if (r <= 0)
			return r < 0 ? r : -ETIMEDOUT;
		n = recv(fe->fd, (uint8_t *)to + at, len - at, 0);
		if (n == 0 || (n < 0 && errno == ECONNRESET))
			return -ENOTCONN;
		if (n < 0)
			return -errno;
	}
	return 0;
}

int fe_recv(struct fe *fe, struct fe_msg *ret)
{
	int r = recv_all(fe, ret, FE_HEADER);

	if (r < 0)
		return r;
	if ((ret->flags & 3) != FE_VERSION || ret->size > sizeof(ret->bytes))
		return -EPROTO;
	return recv_all(fe, ret->bytes, ret->size);
}

bool fe_hung_up(struct fe *fe)
{
	struct fe_msg msg;
	int r;

	do
		r = fe_recv(fe, &msg);
	while (r == 0);
	return r == -ENOTCONN;
}

/* The answer to @request; it is of @size bytes. */
static int recv_answer(struct fe *fe, struct fe_msg *msg, uint32_t request,
		       size_t size)
{
	int r = fe_recv(fe, msg);

	if (r < 0)
		return r;
	if (msg->request != request || !(msg->flags & FE_REPLY) ||
	    msg->size != size)
		return -EPROTO;
	return 0;
}

int fe_tell(struct fe *fe, struct fe_msg *msg, uint32_t request, size_t size,
	    const int *fds, size_t n_fds)
{
	struct fe_msg answer;
	int r;

	msg->request = request;
	msg->flags = FE_VERSION | (fe->ack ? FE_NEED_REPLY : 0);
	msg->size = (uint32_t)size;
	r = fe_send(fe, msg, FE_HEADER + size, fds, n_fds);
	if (r < 0 || !fe->ack)
		return r;
	r = recv_answer(fe, &answer, request, sizeof(answer.u64));
	if (r < 0)
		return r;
	return answer.u64 ? -EREMOTEIO : 0;
}

int fe_tell_u64(struct fe *fe, uint32_t request, uint64_t value)
{
	struct fe_msg msg = { .u64 = value };

	return fe_tell(fe, &msg, request, sizeof(msg.u64), NULL, 0);
}

int fe_tell_state(struct fe *fe, uint32_t request, uint32_t ring,
		  uint32_t value)
{
	struct fe_msg msg = { .state = { ring, value } };

	return fe_tell(fe, &msg, request, sizeof(msg.state), NULL, 0);
}

int fe_tell_fd(struct fe *fe, uint32_t request, uint32_t ring, int fd)
{
	struct fe_msg msg = { .u64 = ring | (fd < 0 ? FE_NO_FD : 0) };

	return fe_tell(fe, &msg, request, sizeof(msg.u64), &fd, fd >= 0);
}

int fe_ask(struct fe *fe, struct fe_msg *msg, uint32_t request, size_t size)
{
	int r;

	msg->request = request;
	msg->flags = FE_VERSION;
	msg->size = (uint32_t)size;
	r = fe_send(fe, msg, FE_HEADER + size, NULL, 0);
	if (r < 0)
		return r;
	return recv_answer(fe, msg, request, size ? size : sizeof(msg->u64));
}

int fe_ask_u64(struct fe *fe, uint32_t request, uint64_t *ret)
{
	struct fe_msg msg;
	int r = fe_ask(fe, &msg, request, 0);

	if (r == 0)
		*ret = msg.u64;
	return r;
}
