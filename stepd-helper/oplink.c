#include <config.h>

#include "oplink.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "log.h"
#include "opq.h"

/* What is sent in a round of the loop leaves at its end, in few batches. That a
 * message has been taken nobody waits for: it goes along with what goes anyway,
 * which is most often the answer, or a little later, or before the sender's
 * bounds could be reached by it. Each batch by itself costs who is in a hurry a
 * few wake-ups on both nodes.
 */

#define READS	    16 /* a round */
#define LAST_MS	    500
#define TAKEN_MS    2
#define TAKEN_MSGS  32
#define TAKEN_BYTES (64 * 1024)

struct oplink {
	struct loop *loop;
	uint32_t rank, nranks;
	struct oplink_ops ops;
	void *arg;
	uint64_t last_id;
	struct opq q;
	bool over;
	bool used; /* something was to be sent */

	int fd; /* -1: there is no vmstep-net now */
	struct loop_io *io;
	struct loop_timer *flush, *taken;
	size_t taken_bytes; /* of messages that were taken since the last batch
			     */
	bool taken_waits;
	struct opmsg_in in;
	size_t held_len; /* of held, which the socket did not take; 0: none */
	uint8_t held[OPMSG_BATCH], batch[OPMSG_BATCH]; /* out, in */
};

static const struct opq_limits limits = { OPLINK_MSGS, OPLINK_BYTES, true, 1 };

/* -- out ------------------------------------------------------------------- */

static void on_failed(const struct opmsg_ended *e, void *arg)
{
	struct oplink *o = arg;

	o->ops.ended(e->id, e->rank, e->how, o->arg);
}

void oplink_lost(struct oplink *o)
{
	if (o->fd < 0)
		return;
	loop_io_free(o->io);
	close(o->fd);
	o->fd = -1;
	o->held_len = 0;
	loop_timer_set(o->flush, -1);
	loop_timer_set(o->taken, -1);
	o->taken_waits = false;
	o->taken_bytes = 0;
	opmsg_in_reset(&o->in);
	opq_fail(&o->q, OPQ_BEGUN, OPMSG_LOST, on_failed, o);
}

void oplink_over(struct oplink *o)
{
	oplink_lost(o);
	o->over = true;
	opq_fail(&o->q, OPQ_ALL, OPMSG_UNREACHABLE, on_failed, o);
}

/* Other errors than a full socket show in recv(). */
static bool send_batch(struct oplink *o, const uint8_t *batch, size_t len)
{
	return send(o->fd, batch, len, MSG_DONTWAIT | MSG_NOSIGNAL) ==
	       (ssize_t)len;
}

static void send_all(struct oplink *o)
{
	loop_timer_set(o->taken, -1);
	o->taken_waits = false;
	o->taken_bytes = 0;
	if (o->held_len && send_batch(o, o->held, o->held_len))
		o->held_len = 0;
	while (!o->held_len && opq_has(&o->q)) {
		o->held_len = opq_fill(&o->q, o->held, OPMSG_BATCH);
		if (!o->held_len) /* without memory it waits */
			return;
		if (send_batch(o, o->held, o->held_len))
			o->held_len = 0;
	}
}

/* A socket with something to read in it takes what was written with it when it
 * is closed, so vmstep-net closes first. It does not take long, unless it is
 * stopped. */
static void send_last(struct oplink *o)
{
	int64_t until = loop_now_ms() + LAST_MS, left;
	struct pollfd p = { .fd = o->fd };
	bool all = false, over = false;
	ssize_t n;
	char byte;

	if (!o->used)
		return;
	while (!over && (left = until - loop_now_ms()) > 0) {
		send_all(o);
		if (!all && !o->held_len && !opq_has(&o->q))
			all = shutdown(o->fd, SHUT_WR) == 0;
		p.events = all ? POLLIN : POLLIN | POLLOUT;
		if (poll(&p, 1, (int)left) <= 0 || !(p.revents & ~POLLOUT))
			continue;
		n = recv(o->fd, &byte, 1, MSG_DONTWAIT);
		over = n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
	}
}

static void flush(struct oplink *o)
{
	if (o->fd < 0)
		return;
	send_all(o);
	loop_io_set(o->io, o->held_len ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

/* Is there nothing but word of what was taken? Then that may wait. */
static bool may_wait(struct oplink *o)
{
	if (o->held_len || opq_has_message(&o->q) ||
	    o->q.n_ends >= TAKEN_MSGS || o->taken_bytes >= TAKEN_BYTES)
		return false;
	if (o->q.n_ends && !o->taken_waits)
		loop_timer_set(o->taken, TAKEN_MS);
	o->taken_waits = o->q.n_ends > 0;
	return true;
}

static void on_flush(void *arg)
{
	flush(arg);
}

static void flush_soon(struct oplink *o)
{
	if (o->fd >= 0 && !o->held_len)
		loop_timer_set(o->flush, 0);
}

bool oplink_has_room(const struct oplink *o, uint32_t rank, size_t len)
{
	const struct opq_receiver to = opq_receiver(&o->q, rank);

	return (!to.msgs || (to.msgs < OPLINK_RANK_MSGS &&
			     to.bytes + len <= OPLINK_RANK_BYTES)) &&
	       (!o->q.msgs ||
		(o->q.msgs < OPLINK_MSGS && o->q.bytes + len <= OPLINK_BYTES));
}

static int check(const struct oplink *o, const struct rankset *to, size_t len)
{
	if (!to->n || to->ranges[to->n - 1].last >= o->nranks)
		return -EINVAL;
	if (len > OPMSG_BYTES_MAX)
		return -EMSGSIZE;
	if (o->over)
		return -ENOTCONN;
	for (uint32_t r = rankset_next(to, 0); r != UINT32_MAX;
	     r = rankset_next(to, r + 1))
		if (!oplink_has_room(o, r, len))
			return -ENOBUFS;
	return 0;
}

int oplink_send(struct oplink *o, const struct rankset *to, const char *data,
		size_t len, uint64_t *id)
{
	struct opmsg *m;
	int r = check(o, to, len);

	if (r < 0)
		return r;
	m = opmsg_new(o->rank, o->last_id + 1, len);
	if (!m)
		return -ENOMEM;
	if (len)
		memcpy(m->data, data, len);
	r = opq_push(&o->q, m, to);
	if (r == 0)
		*id = ++o->last_id;
	loop_stay_awake(o->loop, OPMSG_AWAKE_US);
	o->used = true;
	opmsg_unref(m);
	flush_soon(o);
	return r;
}

/* -- in -------------------------------------------------------------------- */

static int on_message(struct opmsg *m, const struct rankset *to,
		      struct errmsg *err, void *arg)
{
	struct oplink *o = arg;
	const struct opmsg_ended e = { m->src, m->id, o->rank, OPMSG_TAKEN };

	o->used = true;
	o->taken_bytes += m->len;
	o->ops.message(m->src, (const char *)m->data, m->len, o->arg);
	loop_stay_awake(o->loop, OPMSG_AWAKE_US);
	if (opq_push_end(&o->q, &e) < 0)
		return errmsg_set(err, -ENOMEM, "answers to vmstep-net");
	return 0;
}

static int on_ended(const struct opmsg_ended *e, struct errmsg *err, void *arg)
{
	struct oplink *o = arg;

	if (e->src == o->rank && opq_ended(&o->q, e))
		o->ops.ended(e->id, e->rank, e->how, o->arg);
	return 0;
}

static const struct opmsg_in_ops in_ops = { on_message, on_ended };

static void read_some(struct oplink *o)
{
	struct errmsg err = { "it closed the socket" };
	ssize_t n = 1;

	for (int i = 0; i < READS && n > 0 && o->fd >= 0; i++) {
		n = recv(o->fd, o->batch, OPMSG_BATCH, MSG_DONTWAIT);
		if (n > 0 && opmsg_take(&o->in, o->batch, (size_t)n, &in_ops, o,
					&err) < 0)
			n = 0;
	}
	if (o->fd < 0 || n > 0 ||
	    (n < 0 && (errno == EAGAIN || errno == EINTR)))
		return;
	log_debug("messages to other tasks: vmstep-net: %s", err.text);
	oplink_lost(o);
}

static void on_io(uint32_t events, void *arg)
{
	struct oplink *o = arg;

	if (events & ~(uint32_t)EPOLLOUT)
		read_some(o);
	if (!may_wait(o))
		flush(o);
}

/* -- life ------------------------------------------------------------------ */

int oplink_connect(struct oplink *o)
{
	int sv[2], r;

	oplink_lost(o);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
		return -errno;
	r = loop_io_add(o->loop, sv[0], EPOLLIN, on_io, o, &o->io);
	if (r < 0) {
		close(sv[0]);
		close(sv[1]);
		return r;
	}
	o->fd = sv[0];
	flush_soon(o);
	return sv[1];
}

int oplink_new(struct loop *l, uint32_t rank, uint32_t nranks,
	       const struct oplink_ops *ops, void *arg, struct oplink **ret,
	       struct errmsg *err)
{
	struct oplink *o = calloc(1, sizeof(*o));

	if (!o)
		return errmsg_set(err, -ENOMEM, "messages to other tasks");
	o->fd = -1;
	opq_init(&o->q, &limits);
	if (loop_timer_add(l, -1, on_flush, o, &o->flush) < 0 ||
	    loop_timer_add(l, -1, on_flush, o, &o->taken) < 0 ||
	    opq_count_receivers(&o->q, nranks) < 0) {
		oplink_free(o);
		return errmsg_set(err, -ENOMEM, "messages to other tasks");
	}
	o->loop = l;
	o->rank = rank;
	o->nranks = nranks;
	o->ops = *ops;
	o->arg = arg;
	*ret = o;
	return 0;
}

void oplink_free(struct oplink *o)
{
	if (!o)
		return;
	if (o->fd >= 0) {
		loop_io_free(o->io);
		send_last(o); /* such as how the task has ended */
		close(o->fd);
	}
	loop_timer_free(o->flush);
	loop_timer_free(o->taken);
	opmsg_in_reset(&o->in);
	opq_done(&o->q);
	free(o);
}
