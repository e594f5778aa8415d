#include <config.h>

#include "ctl.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "localsock.h"
#include "sendfds.h"

#define NEWS_MAX  3 /* ALL ready, ALL done, LOST */
#define DEAF_MS	  1000
#define DRAIN_MAX 64

struct conn {
	struct ctl *ctl;
	struct conn *next, **pprev;
	int fd;
	struct loop_io *io;
	bool greeted; /* rank is known */
	bool over;    /* it said done or failed */
	bool ending;  /* it asked for a report */
	uint32_t rank;
};

struct ctl {
	struct ctl_conf conf;
	struct ctl_ops ops;
	void *arg;
	struct loop_io *io;
	struct loop_timer *deaf_timer; /* no descriptors left to accept with */
	struct conn *conns;
	size_t n_conns, n_greeted;
	struct conn *reporter; /* who waits for a report; NULL: nobody */
	struct netctl table;
	int table_fd; /* -1: no table yet */
	struct netctl news[NEWS_MAX];
	size_t n_news;
};

/* -- sending -------------------------------------------------------------- */

union fd_control {
	char bytes[CMSG_SPACE(NETCTL_FDS_MAX * sizeof(int))];
	struct cmsghdr align;
};

/* Few messages go this way, so one that does not fit means that the helper
 * does not read; its end then shows in recv(). */
static void send_fds(struct conn *c, const struct netctl *msg, const int *fds,
		     size_t n)
{
	if (send_with_fds(c->fd, msg, sizeof(*msg), fds, n, MSG_DONTWAIT) < 0)
		shutdown(c->fd, SHUT_RDWR);
}

static void send_msg(struct conn *c, const struct netctl *msg)
{
	send_fds(c, msg, NULL, 0);
}

static void tell_everyone(struct ctl *ctl, const struct netctl *msg)
{
	if (ctl->n_news == NEWS_MAX)
		return;
	ctl->news[ctl->n_news++] = *msg;
	for (struct conn *c = ctl->conns; c; c = c->next)
		if (c->greeted)
			send_msg(c, msg);
}

void ctl_tell_all(struct ctl *ctl, enum netctl_state state)
{
	const struct netctl msg = {
		.version = NETCTL_VERSION,
		.type = NETCTL_ALL,
		.all = { state },
	};

	tell_everyone(ctl, &msg);
}

static struct netctl lost_msg(uint32_t rank, const char *text)
{
	struct netctl msg = {
		.version = NETCTL_VERSION,
		.type = NETCTL_LOST,
		.lost = { .rank = rank },
	};

	snprintf(msg.lost.text, sizeof(msg.lost.text), "%s", text);
	return msg;
}

void ctl_tell_lost(struct ctl *ctl, uint32_t rank, const char *text)
{
	const struct netctl msg = lost_msg(rank, text);

	tell_everyone(ctl, &msg);
}

int ctl_tell_table(struct ctl *ctl, const struct netctl *msg, int fd)
{
	ctl->table_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (ctl->table_fd < 0)
		return -errno;
	ctl->table = *msg;
	for (struct conn *c = ctl->conns; c; c = c->next)
		if (c->greeted)
			send_fds(c, msg, &fd, 1);
	return 0;
}

/* -- connections ---------------------------------------------------------- */

static void conn_free(struct conn *c)
{
	*c->pprev = c->next;
	if (c->next)
		c->next->pprev = c->pprev;
	c->ctl->n_conns--;
	if (c->ctl->reporter == c)
		c->ctl->reporter = NULL;
	loop_io_free(c->io);
	close(c->fd);
	free(c);
}

static void conn_end(struct conn *c)
{
	struct ctl *ctl = c->ctl;
	bool greeted = c->greeted, over = c->over;
	uint32_t rank = c->rank;

	conn_free(c);
	if (!greeted)
		return;
	ctl->n_greeted--;
	ctl->ops.closed(rank, over, ctl->arg);
	if (!ctl->n_greeted)
		ctl->ops.all_closed(ctl->arg);
}

/* What is unread when we close would hide our words behind ECONNRESET. */
static void drain(int fd)
{
	char byte;

	for (int i = 0; i < DRAIN_MAX; i++)
		if (recv(fd, &byte, 1, MSG_DONTWAIT) <= 0)
			return;
}

static void refuse(struct conn *c, const char *why)
{
	const struct netctl msg = lost_msg(UINT32_MAX, why);

	c->ctl->ops.refused(why, c->ctl->arg);
	send_msg(c, &msg);
	drain(c->fd);
	conn_end(c);
}

static bool is_connected(const struct ctl *ctl, uint32_t rank)
{
	for (const struct conn *c = ctl->conns; c; c = c->next)
		if (c->greeted && c->rank == rank)
			return true;
	return false;
}

/* -- what they say: 0, or < 0 with the words of the refusal --------------- */

static int check_rank(const struct ctl *ctl, const struct netctl *msg,
		      struct errmsg *err)
{
	if (msg->hello.nranks != ctl->conf.nranks)
		return errmsg_say(err, -EINVAL,
				  "vmstep-net: a helper of a step with %" PRIu32
				  " tasks, this one has %" PRIu32,
				  msg->hello.nranks, ctl->conf.nranks);
	if (!rankset_has(ctl->conf.local, msg->hello.rank))
		return errmsg_say(err, -EINVAL,
				  "vmstep-net: rank %" PRIu32
				  " is not of this node",
				  msg->hello.rank);
	if (is_connected(ctl, msg->hello.rank))
		return errmsg_say(err, -EEXIST,
				  "vmstep-net: rank %" PRIu32
				  " has a helper already",
				  msg->hello.rank);
	return 0;
}

static void welcome(struct conn *c)
{
	struct ctl *ctl = c->ctl;
	const int fds[NETCTL_FDS_MAX] = { ctl->conf.fd, ctl->conf.link_fd };
	struct netctl msg = {
		.version = NETCTL_VERSION,
		.type = NETCTL_WELCOME,
	};

	snprintf(msg.welcome.link, sizeof(msg.welcome.link), "%s",
		 ctl->conf.link);
	send_fds(c, &msg, fds, ctl->conf.link_fd < 0 ? 1 : 2);
	if (ctl->table_fd >= 0)
		send_fds(c, &ctl->table, &ctl->table_fd, 1);
	for (size_t i = 0; i < ctl->n_news; i++)
		send_msg(c, &ctl->news[i]);
}

static int take_hello(struct conn *c, const struct netctl *msg,
		      struct errmsg *err)
{
	struct ctl *ctl = c->ctl;
	char cpus[NETCTL_CPUS_LEN + 1];
	int r;

	if (c->greeted)
		return errmsg_say(err, -EPROTO, "vmstep-net: HELLO twice");
	snprintf(cpus, sizeof(cpus), "%.*s", NETCTL_CPUS_LEN, msg->hello.cpus);
	r = check_rank(ctl, msg, err);
	if (r == 0)
		r = ctl->ops.hello(msg->hello.rank, cpus, err, ctl->arg);
	if (r < 0)
		return r;
	c->greeted = true;
	c->rank = msg->hello.rank;
	ctl->n_greeted++;
	welcome(c);
	return 0;
}

static int take_port(struct conn *c, const struct netctl *msg, int *fd,
		     struct errmsg *err)
{
	if (msg->port.kind < NETCTL_STREAM ||
	    msg->port.kind > NETCTL_VHOST_USER)
		return errmsg_say(err, -EINVAL,
				  "vmstep-net: no such kind of port: %" PRIu32,
				  msg->port.kind);
	if (*fd < 0)
		return errmsg_say(err, -EINVAL,
				  "vmstep-net: a port without its descriptor");
	return c->ctl->ops.port(c->rank, (enum netctl_port)msg->port.kind,
				TAKE_FD(*fd), err, c->ctl->arg);
}

static int take_capture(struct conn *c, int *fd, struct errmsg *err)
{
	if (*fd < 0)
		return errmsg_say(err, -EINVAL,
				  "vmstep-net: a capture without its pipe");
	return c->ctl->ops.capture(c->rank, TAKE_FD(*fd), err, c->ctl->arg);
}

static int take_ops(struct conn *c, int *fd, struct errmsg *err)
{
	if (*fd < 0)
		return errmsg_say(err, -EINVAL,
				  "vmstep-net: messages without a socket");
	return c->ctl->ops.ops(c->rank, TAKE_FD(*fd), err, c->ctl->arg);
}

static int take_state(struct conn *c, const struct netctl *msg,
		      struct errmsg *err)
{
	switch (msg->state.state) {
	case NETCTL_DONE:
	case NETCTL_FAILED:
		c->over = true;
		/* fall through */
	case NETCTL_READY:
		c->ctl->ops.state(c->rank, msg->state.state, c->ctl->arg);
		return 0;
	default:
		return errmsg_say(err, -EPROTO,
				  "vmstep-net: no such state: %" PRIu32,
				  msg->state.state);
	}
}

static int take_stats(struct conn *c, const struct netctl *msg)
{
	_cleanup_close_ int fd =
		c->ctl->ops.stats(msg->stats.rank, c->ctl->arg);

	send_fds(c, msg, &fd, fd >= 0);
	return 0;
}

static bool is_last(const struct conn *c)
{
	for (const struct conn *o = c->ctl->conns; o; o = o->next)
		if (o != c && o->greeted && !o->ending)
			return false;
	return true;
}

static const struct netctl report_msg = {
	.version = NETCTL_VERSION,
	.type = NETCTL_REPORT,
};

/* Others will end after it: one of them gets the report. */
static int take_report(struct conn *c)
{
	struct ctl *ctl = c->ctl;

	c->ending = true;
	if (!is_last(c)) {
		send_msg(c, &report_msg);
		return 0;
	}
	ctl->reporter = c;
	ctl->ops.report(ctl->arg);
	return 0;
}

void ctl_report(struct ctl *ctl, int fd)
{
	struct conn *c = ctl->reporter;

	ctl->reporter = NULL;
	if (c)
		send_fds(c, &report_msg, &fd, fd >= 0);
}

static int take_msg(struct conn *c, const struct netctl *msg, int *fd,
		    struct errmsg *err)
{
	struct ctl *ctl = c->ctl;

	if (msg->version != NETCTL_VERSION)
		return errmsg_say(
			err, -EPROTO,
			"vmstep-net speaks version %d of the control protocol, the helper %" PRIu32
			": install one vmstep",
			NETCTL_VERSION, msg->version);
	if (msg->type == NETCTL_HELLO)
		return take_hello(c, msg, err);
	if (!c->greeted)
		return errmsg_say(err, -EPROTO,
				  "vmstep-net: message %" PRIu32
				  " before HELLO",
				  msg->type);
	if (msg->type == NETCTL_PORT)
		return take_port(c, msg, fd, err);
	if (msg->type == NETCTL_CAPTURE)
		return take_capture(c, fd, err);
	if (msg->type == NETCTL_OPS)
		return take_ops(c, fd, err);
	if (msg->type == NETCTL_TABLE)
		return ctl->ops.table(msg, *fd, err, ctl->arg);
	if (msg->type == NETCTL_STATE)
		return take_state(c, msg, err);
	if (msg->type == NETCTL_STATS)
		return take_stats(c, msg);
	if (msg->type == NETCTL_REPORT)
		return take_report(c);
	return errmsg_say(err, -EPROTO, "vmstep-net: unknown message %" PRIu32,
			  msg->type);
}

/* -- receiving ------------------------------------------------------------ */

/* The one descriptor that came with @msg; -1: none. */
static int take_fd(struct msghdr *msg)
{
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg);
	int fd = -1;

	if (cmsg && cmsg->cmsg_level == SOL_SOCKET &&
	    cmsg->cmsg_type == SCM_RIGHTS &&
	    cmsg->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(&fd, CMSG_DATA(cmsg), sizeof(fd));
	return fd;
}

/* > 0 with a message, 0 at the end, -EAGAIN, or another -errno. */
static ssize_t receive(struct conn *c, struct netctl *ret, int *ret_fd)
{
	union fd_control control = { 0 };
	struct iovec iov = { ret, sizeof(*ret) };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		/* for one; the kernel drops what has no room */
		.msg_controllen = CMSG_LEN(sizeof(int)),
	};
	ssize_t n;

	n = recvmsg(c->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0)
		return -errno;
	*ret_fd = take_fd(&msg);
	if (n > 0 && (n != sizeof(*ret) || (msg.msg_flags & MSG_TRUNC)))
		return -EMSGSIZE;
	return n;
}

static void on_conn(uint32_t events, void *arg)
{
	struct conn *c = arg;
	struct errmsg err = { "" };
	struct netctl msg;
	_cleanup_close_ int fd = -1;
	ssize_t n;

	n = receive(c, &msg, &fd);
	if (n == -EAGAIN || n == -EINTR)
		return;
	if (n == -EMSGSIZE)
		refuse(c,
		       "vmstep-net: a message of the wrong size: install one vmstep");
	else if (n <= 0)
		conn_end(c);
	else if (take_msg(c, &msg, &fd, &err) < 0)
		refuse(c, err.text);
}

/* Takes @fd, also on failure. */
static void conn_new(struct ctl *ctl, int fd)
{
	_cleanup_close_ int own_fd = fd;
	struct conn *c;

	if (!localsock_is_trusted(fd)) {
		ctl->ops.refused("another user's process at the control socket",
				 ctl->arg);
		return;
	}
	if (ctl->n_conns >= rankset_count(ctl->conf.local) + CTL_SPARE)
		return;
	c = calloc(1, sizeof(*c));
	if (!c ||
	    loop_io_add(ctl->conf.loop, fd, EPOLLIN, on_conn, c, &c->io) < 0) {
		free(c);
		return;
	}
	c->ctl = ctl;
	c->fd = TAKE_FD(own_fd);
	c->next = ctl->conns;
	c->pprev = &ctl->conns;
	if (c->next)
		c->next->pprev = &c->next;
	ctl->conns = c;
	ctl->n_conns++;
}

static void on_listener(uint32_t events, void *arg)
{
	struct ctl *ctl = arg;
	int fd = accept4(ctl->conf.fd, NULL, NULL, SOCK_CLOEXEC);

	if (fd >= 0) {
		conn_new(ctl, fd);
	} else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM) {
		loop_io_set(ctl->io, 0); /* it would wake us for ever */
		loop_timer_set(ctl->deaf_timer, DEAF_MS);
	}
}

static void on_deaf_timer(void *arg)
{
	struct ctl *ctl = arg;

	loop_io_set(ctl->io, EPOLLIN);
}

/* -- life ----------------------------------------------------------------- */

static int check_listener(int fd, struct errmsg *err)
{
	int type = 0, listens = 0;
	socklen_t len = sizeof(int);

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) < 0)
		return errmsg_set(err, -errno, "control socket, descriptor %d",
				  fd);
	if (type != SOCK_SEQPACKET || !listens)
		return errmsg_say(
			err, -EINVAL,
			"descriptor %d is not a listening SOCK_SEQPACKET socket",
			fd);
	return 0;
}

int ctl_new(const struct ctl_conf *conf, const struct ctl_ops *ops, void *arg,
	    struct ctl **ret, struct errmsg *err)
{
	struct ctl *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return errmsg_set(err, -ENOMEM, "control socket");
	c->conf = *conf;
	c->table_fd = -1;
	c->ops = *ops;
	c->arg = arg;
	r = check_listener(conf->fd, err);
	if (r == 0)
		r = loop_io_add(conf->loop, conf->fd, EPOLLIN, on_listener, c,
				&c->io);
	if (r == 0)
		r = loop_timer_add(conf->loop, -1, on_deaf_timer, c,
				   &c->deaf_timer);
	if (r < 0) {
		c->conf.fd = -1;
		ctl_free(c);
		return r;
	}
	*ret = c;
	return 0;
}

void ctl_free(struct ctl *c)
{
	if (!c)
		return;
	while (c->conns)
		conn_free(c->conns);
	loop_timer_free(c->deaf_timer);
	loop_io_free(c->io);
	if (c->conf.fd >= 0)
		close(c->conf.fd);
	if (c->table_fd >= 0)
		close(c->table_fd);
	explicit_bzero(&c->table, sizeof(c->table));
	free(c);
}

size_t ctl_helpers(const struct ctl *c)
{
	return c->n_greeted;
}

static bool readable(int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, ms) == 1;
}

void ctl_turn_away(int fd, const char *why)
{
	const struct netctl msg = lost_msg(UINT32_MAX, why);

	while (readable(fd, CTL_TURN_AWAY_MS)) {
		_cleanup_close_ int conn =
			accept4(fd, NULL, NULL, SOCK_CLOEXEC);

		if (conn < 0)
			return;
		if (!localsock_is_trusted(conn) ||
		    !readable(conn, CTL_TURN_AWAY_MS))
			continue;
		if (send(conn, &msg, sizeof(msg),
			 MSG_DONTWAIT | MSG_NOSIGNAL) == sizeof(msg))
			drain(conn);
	}
}
