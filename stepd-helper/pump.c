#include <config.h>

#include "pump.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define PIECE 65536

/* What side i has said, and the other is to get. */
struct flow {
	char *data; /* @room bytes */
	size_t at, len, room;
	bool ended; /* it says no more */
	bool told;  /* and the other knows */
};

struct pump {
	int fd[2];
	struct loop_io *io[2];
	struct loop_timer *over_timer;
	struct flow from[2];
	void (*over)(void *arg);
	void *arg;
};

/* Not at once: its owner may free it. */
static void end(struct pump *p)
{
	for (int i = 0; i < 2; i++)
		loop_io_set(p->io[i], 0);
	loop_timer_set(p->over_timer, 0);
}

static void on_over(void *arg)
{
	struct pump *p = arg;

	p->over(p->arg);
}

/* Side @i gets what the other said; < 0: it takes nothing any more. */
static int give(struct pump *p, int i)
{
	struct flow *f = &p->from[!i];

	while (f->len) {
		ssize_t n = send(p->fd[i], f->data + f->at, f->len,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			f->at += (size_t)n;
			f->len -= (size_t)n;
		}
	}
	f->at = 0;
	if (f->ended && !f->told) {
		f->told = true;
		shutdown(p->fd[i], SHUT_WR);
	}
	return 0;
}

static int take(struct pump *p, int i)
{
	struct flow *f = &p->from[i];
	ssize_t n;

	if (f->len || f->ended)
		return 0;
	n = recv(p->fd[i], f->data, f->room, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n < 0)
		return -errno;
	f->at = 0;
	f->len = (size_t)n;
	f->ended = n == 0;
	return give(p, !i);
}

static void watch(struct pump *p)
{
	if (p->from[0].told && p->from[1].told) {
		end(p);
		return;
	}
	for (int i = 0; i < 2; i++) {
		const struct flow *in = &p->from[i], *out = &p->from[!i];

		loop_io_set(p->io[i],
			    (!in->len && !in->ended ? (uint32_t)EPOLLIN : 0) |
				    (out->len ? (uint32_t)EPOLLOUT : 0));
	}
}

static void on_side(struct pump *p, int i, uint32_t events)
{
	int r = 0;

	if (events & EPOLLOUT)
		r = give(p, i);
	if (r == 0 && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		r = take(p, i);
	if (r < 0)
		end(p);
	else
		watch(p);
}

static void on_a(uint32_t events, void *arg)
{
	on_side(arg, 0, events);
}

static void on_b(uint32_t events, void *arg)
{
	on_side(arg, 1, events);
}

static int prepare(struct pump *p, struct loop *l, const void *first,
		   size_t len)
{
	static const loop_io_fn fns[] = { on_a, on_b };
	int r = 0;

	for (int i = 0; i < 2 && r == 0; i++) {
		struct flow *f = &p->from[i];

		f->room = i == 0 && len > PIECE ? len : PIECE;
		f->data = malloc(f->room);
		if (!f->data)
			return -ENOMEM;
		fcntl(p->fd[i], F_SETFL, fcntl(p->fd[i], F_GETFL) | O_NONBLOCK);
		r = loop_io_add(l, p->fd[i], 0, fns[i], p, &p->io[i]);
	}
	if (r == 0)
		r = loop_timer_add(l, -1, on_over, p, &p->over_timer);
	if (r == 0 && len) {
		memcpy(p->from[0].data, first, len);
		p->from[0].len = len;
	}
	return r;
}

int pump_new(struct loop *l, int a, int b, const void *first, size_t len,
	     void (*over)(void *arg), void *arg, struct pump **ret)
{
	struct pump *p = calloc(1, sizeof(*p));
	int r;

	if (!p) {
		close(a);
		close(b);
		return -ENOMEM;
	}
	p->fd[0] = a;
	p->fd[1] = b;
	p->over = over;
	p->arg = arg;
	r = prepare(p, l, first, len);
	if (r < 0) {
		pump_free(p);
		return r;
	}
	watch(p);
	*ret = p;
	return 0;
}

void pump_free(struct pump *p)
{
	if (!p)
		return;
	for (int i = 0; i < 2; i++) {
		loop_io_free(p->io[i]);
		close(p->fd[i]);
		free(p->from[i].data);
	}
	loop_timer_free(p->over_timer);
	free(p);
}
