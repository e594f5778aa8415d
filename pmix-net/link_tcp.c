#include <config.h>

#include "link_tcp.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "link_kind.h"
#include "link_tcp_conn.h"

static_assert(TCP_ADDRESS_MAX <= LINK_ADDRESS_MAX, "a text fits the other");

#define ACCEPTS 16 /* a round */
#define DEAF_MS 1000

/* -- connections that are not up yet -------------------------------------- */

static void sooner(int64_t *due, int64_t than)
{
	if (*due < 0 || than < *due)
		*due = than;
}

static void arm_timer(struct tcp_host *h)
{
	int64_t due = -1, now = loop_now_ms();

	if (h->deaf_until_ms)
		due = h->deaf_until_ms;
	for (struct tcp *t = h->pending; t; t = t->next)
		sooner(&due, t->deadline_ms);
	if (due >= 0)
		due = due > now ? due - now : 0;
	loop_timer_set(h->timer, due);
}

void tcp_pending_set(struct tcp *t, int64_t ms)
{
	struct tcp_host *h = t->host;

	t->deadline_ms = loop_now_ms() + ms;
	if (t->pprev) {
		arm_timer(h);
		return;
	}
	t->next = h->pending;
	t->pprev = &h->pending;
	if (t->next)
		t->next->pprev = &t->next;
	h->pending = t;
	arm_timer(h);
}

void tcp_pending_remove(struct tcp *t)
{
	if (!t->pprev)
		return;
	*t->pprev = t->next;
	if (t->next)
		t->next->pprev = t->pprev;
	t->pprev = NULL;
	arm_timer(t->host);
}

static void on_timer(void *arg)
{
	struct tcp_host *h = arg;
	struct tcp *t = h->pending;
	int64_t now = loop_now_ms();

	while (t && t->deadline_ms > now)
		t = t->next;
	if (t) /* its end may be the end of others, too: one at a time */
		tcp_end(t, -ETIMEDOUT,
			t->state == TCP_DIALLING
				? "it does not answer"
				: "no proof of the step's key in time");
	if (h->deaf_until_ms && h->deaf_until_ms <= now) {
		h->deaf_until_ms = 0;
		loop_io_set(h->io, EPOLLIN);
	}
	arm_timer(h);
}

/* -- dialling and accepting ----------------------------------------------- */

static int tcp_dial(struct link_host *host, const char *address, uint32_t node,
		    struct link **ret, struct errmsg *err)
{
	struct tcp *t;
	int fd, r;

	fd = tcp_connect(link_kind_plain(address), err);
	if (fd < 0)
		return fd;
	r = tcp_new(tcp_host_of(host), fd, true, LINK_CONNECT_MS, &t);
	if (r < 0)
		return errmsg_set(err, r, "link");
	t->link.node = node;
	*ret = &t->link;
	return 0;
}

static void make_room(struct tcp_host *h)
{
	struct tcp *oldest = NULL;

	for (struct tcp *t = h->pending; t; t = t->next)
		if (tcp_is_stranger(t))
			oldest = t;
	if (oldest)
		tcp_end(oldest, -EBUSY, "too many connections without a proof");
}

static void go_deaf(struct tcp_host *h)
{
	h->deaf_until_ms = loop_now_ms() + DEAF_MS;
	loop_io_set(h->io, 0);
	arm_timer(h);
}

static void on_listener(uint32_t events, void *arg)
{
	struct tcp_host *h = arg;
	struct tcp *t;
	int fd;

	for (int i = 0; i < ACCEPTS; i++) {
		fd = accept4(h->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0 && (errno == EMFILE || errno == ENFILE ||
			       errno == ENOBUFS || errno == ENOMEM))
			go_deaf(h); /* the queue would wake us for ever */
		if (fd < 0)
			return;
		if (h->n_strangers >= LINK_PENDING_MAX)
			make_room(h);
		if (tcp_new(h, fd, false, LINK_PENDING_MS, &t) < 0)
			return;
	}
}

static void tcp_start(struct link_host *host)
{
	struct tcp_host *h = tcp_host_of(host);

	loop_io_set(h->io, EPOLLIN);
}

static void tcp_stop(struct link_host *host)
{
	struct tcp_host *h = tcp_host_of(host);
	struct tcp *t;

	loop_io_free(h->io);
	h->io = NULL;
	if (h->fd >= 0)
		close(h->fd);
	h->fd = -1;
	h->deaf_until_ms = 0;
	/* To who has seen our proof the link is up: it shall hear a BYE. */
	for (t = h->pending; t; t = t ? t->next : h->pending)
		if (t->state != TCP_OPEN) {
			tcp_end(t, -ESHUTDOWN, "this node is leaving");
			t = NULL;
		}
}

static void tcp_host_free(struct link_host *host)
{
	struct tcp_host *h = tcp_host_of(host);

	while (h->pending)
		tcp_free(h->pending);
	tcp_stop(host);
	if (h->carrier)
		h->carrier->done(h);
	loop_timer_free(h->timer);
	free(h);
}

static const struct link_host_ops host_ops = {
	.dial = tcp_dial,
	.start = tcp_start,
	.stop = tcp_stop,
	.free = tcp_host_free,
};

/* Takes @fd, also on failure. */
static int host_new(const struct link_env *env, int fd, const char *address,
		    struct link_host **ret, struct errmsg *err)
{
	struct tcp_host *h = calloc(1, sizeof(*h));
	int r;

	if (!h) {
		close(fd);
		return errmsg_set(err, -ENOMEM, "links");
	}
	h->host.ops = &host_ops;
	h->host.fd = h->fd = fd;
	snprintf(h->host.address, sizeof(h->host.address), "%s", address);
	h->env = *env;
	r = loop_io_add(env->loop, h->fd, 0, on_listener, h, &h->io);
	if (r == 0)
		r = loop_timer_add(env->loop, -1, on_timer, h, &h->timer);
	if (r < 0) {
		tcp_host_free(&h->host);
		return errmsg_set(err, r, "links");
	}
	*ret = &h->host;
	return 0;
}

int link_tcp_listen(const struct link_env *env,
		    const struct sockaddr_storage *address,
		    struct port_range ports, struct link_host **ret,
		    struct errmsg *err)
{
	char text[TCP_ADDRESS_MAX];
	int fd = tcp_listen(address, ports, text, err);

	return fd < 0 ? fd : host_new(env, fd, text, ret, err);
}

int link_tcp_adopt(const struct link_env *env, int fd, struct link_host **ret,
		   struct errmsg *err)
{
	char text[TCP_ADDRESS_MAX];
	int r = tcp_adopt(fd, text, err);

	if (r < 0) {
		close(fd);
		return r;
	}
	return host_new(env, fd, text, ret, err);
}
