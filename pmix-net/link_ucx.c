#include <config.h>

#include "link_ucx.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <openssl/crypto.h>

#include "cleanup.h"
#include "link_tcp_conn.h"
#include "rdma.h"
#include "ucx_worker.h"

/* A path is what a link has of UCX: made for our OPEN, joined to the peer's
 * when theirs came. Messages that come before the link is up, which can be as
 * UCX is another way than the connection, wait in "early" as they are; those
 * behind one that the owner did not take, in "held", opened. Together they are
 * UCX_WINDOW at most, for a peer that sends more breaks the rules.
 */

#define SECRET	   16
#define GONE	   64
#define KIND_WHOLE 1
#define KIND_TAKEN 2
#define HEADER	   sizeof(struct wire_header)

struct ucx_header {
	uint8_t secret[SECRET];
	uint32_t index, number, taken, kind;
};
static_assert(sizeof(struct ucx_header) == UCX_HEADER_LEN, "as in link_ucx.h");

struct offer {
	uint8_t secret[SECRET];
	uint32_t index;
	uint8_t address[];
};

struct path;

/* Something on its way. Behind the message in its buffer, or the path's own. */
struct parcel {
	struct ucx_header header;
	struct path *path;
	struct buf *b; /* NULL: no message */
};
static_assert(HEADER + WIRE_PAYLOAD_MAX + WIRE_TAG + 16 +
			      sizeof(struct parcel) <=
		      BUF_BYTES,
	      "a buffer takes any message and what goes with it");

struct path {
	struct ucx *ucx;
	struct tcp *t; /* NULL: it is over, but UCX has something to send */
	uint32_t index;
	uint8_t ours[SECRET], theirs[SECRET];
	uint32_t their_index;
	struct ucx_ep *ep;	    /* NULL: not joined */
	uint32_t sent, sent_taken;  /* by the peer's owner */
	uint32_t sending;	    /* of these, UCX has not sent yet */
	uint32_t came, taken, told; /* what we took, and said so */
	struct parcel tells;	    /* that */
	bool telling;		    /* UCX has not sent it yet */
	struct bufq early, held;
	bool paused;  /* the first of held was not taken */
	bool giving;  /* the owner has one, and may resume us from there */
	bool refused; /* owe writable() */
};

struct ucx {
	struct link_env env;
	struct ucx_worker *worker;
	struct path **paths; /* by index; NULL: none */
	uint32_t n_paths;
	uint8_t gone[GONE][SECRET]; /* of links that are over: a ring */
	uint32_t n_gone;
};

static struct ucx *of_tcp(const struct tcp *t)
{
	return t->host->carrier_arg;
}

/* -- sending -------------------------------------------------------------- */

static void fill(struct path *p, struct parcel *parcel, uint32_t kind)
{
	struct ucx_header *h = &parcel->header;

	memcpy(h->secret, p->theirs, SECRET);
	h->index = htobe32(p->their_index);
	h->number = htobe32(p->sent);
	h->taken = htobe32(p->taken);
	h->kind = htobe32(kind);
	p->told = p->taken;
}

static struct parcel *parcel_of(struct buf *b)
{
	size_t at = (b->end + 15) & ~(size_t)15;

	return (struct parcel *)(void *)(b->data + at);
}

/* A peer may say that it took what has not left yet: that is a lie, which is
 * not to cost us memory. */
static bool is_full(const struct path *p)
{
	return p->sent - p->sent_taken >= UCX_WINDOW ||
	       p->sending >= UCX_WINDOW;
}

static int ucx_link_send(struct tcp *t, struct buf *b)
{
	struct path *p = t->carried;
	struct parcel *parcel;

	if (is_full(p)) {
		p->refused = true;
		return -EAGAIN;
	}
	if (!tcp_seal(t, b)) {
		buf_return(p->ucx->env.pool, b);
		return 0;
	}
	parcel = parcel_of(b);
	parcel->path = p;
	parcel->b = b;
	fill(p, parcel, KIND_WHOLE);
	p->sent++;
	p->sending++;
	ucx_send(p->ep, (uint8_t *)&parcel->header, b->data + b->start,
		 buf_len(b), parcel);
	return 0;
}

/* Where nothing else goes that way it would not hear it. */
static void tell_taken(struct path *p)
{
	if (!p->ep || p->telling || p->taken - p->told < UCX_WINDOW / 2)
		return;
	p->telling = true;
	p->tells.path = p;
	fill(p, &p->tells, KIND_TAKEN);
	ucx_send(p->ep, (uint8_t *)&p->tells.header, NULL, 0, &p->tells);
}

static void let_go_on(struct path *p)
{
	const struct link_env *env = &p->ucx->env;

	if (!p->refused || is_full(p) || p->t->state != TCP_UP)
		return;
	p->refused = false;
	env->events->writable(&p->t->link, env->arg);
}

static void path_free(struct path *p)
{
	if (!p->t && !p->sending && !p->telling)
		free(p);
}

static void on_sent(void *what, void *arg)
{
	struct parcel *parcel = what;
	struct path *p = parcel->path;
	struct ucx *u = arg;
	struct tcp *t = p->t;
	bool outer;

	if (parcel->b) {
		p->sending--;
		buf_return(u->env.pool, parcel->b);
	} else {
		p->telling = false;
	}
	if (!t) {
		path_free(p);
		return;
	}
	outer = tcp_enter(t);
	tell_taken(p);
	let_go_on(p);
	tcp_leave(t, outer);
}

/* -- receiving ------------------------------------------------------------ */

static int bad(struct path *p, struct errmsg *err)
{
	return errmsg_say(err, p->t->seal ? -EBADMSG : -EPROTO,
			  "it sent a message that is none");
}

/* The whole message of @len bytes at @data: its payload. */
static int check_len(struct path *p, const uint8_t *data, size_t len,
		     size_t *ret, struct errmsg *err)
{
	size_t around = HEADER + (p->t->seal ? WIRE_TAG : 0);

	if (len < around || len - around > WIRE_PAYLOAD_MAX ||
	    wire_get32(data + 4) != len - around)
		return bad(p, err);
	*ret = len - around;
	return 0;
}

/* To the owner. -EAGAIN: not taken. @p's link may be over. */
static int give(struct path *p, const uint8_t *data, size_t len,
		struct errmsg *err)
{
	const struct link_env *env = &p->ucx->env;
	uint32_t type = wire_get32(data);
	int r;

	if (type == WIRE_OPEN)
		return bad(p, err);
	p->giving = true;
	r = env->events->message(&p->t->link, type, data + HEADER, len, err,
				 env->arg);
	p->giving = false;
	if (r == 0)
		p->taken++;
	return r;
}

static struct buf *copy_of(struct path *p, const uint8_t *data, size_t len)
{
	struct buf *b = buf_lend_always(p->ucx->env.pool);

	if (!b)
		return NULL;
	memcpy(b->data, data, len);
	b->end = len;
	return b;
}

/* Opened on its way to a buffer of ours, in GCM's one pass. */
static int open_to(struct path *p, const uint8_t *data, size_t len,
		   struct buf **ret, struct errmsg *err)
{
	struct buf *b = copy_of(p, data, HEADER);

	if (!b)
		return errmsg_set(err, -ENOMEM, "receive buffer");
	if (seal_open(p->t->seal, data, data + HEADER, len, b->data + HEADER) <
	    0) {
		buf_return(p->ucx->env.pool, b);
		return errmsg_say(
			err, -EBADMSG,
			"what came is not as it was sent (its tag is wrong)");
	}
	b->end += len;
	*ret = b;
	return 0;
}

static int take_plain(struct path *p, const uint8_t *data, size_t len,
		      struct errmsg *err)
{
	int r = p->held.head ? -EAGAIN : give(p, data, len, err);
	struct buf *b;

	if (r != -EAGAIN)
		return r;
	b = copy_of(p, data, HEADER + len);
	if (!b)
		return errmsg_set(err, -ENOMEM, "receive buffer");
	bufq_push(&p->held, b);
	p->paused = true;
	return 0;
}

static int take_sealed(struct path *p, const uint8_t *data, size_t len,
		       struct errmsg *err)
{
	struct buf_pool *pool = p->ucx->env.pool;
	struct buf *b = NULL;
	int r = open_to(p, data, len, &b, err);

	if (r < 0)
		return r;
	r = p->held.head ? -EAGAIN : give(p, b->data, len, err);
	if (r == -EAGAIN) {
		bufq_push(&p->held, b);
		p->paused = true;
		return 0;
	}
	buf_return(pool, b);
	return r;
}

/* One message, as it came. The link may be over then. */
static void take(struct path *p, const uint8_t *data, size_t len)
{
	struct errmsg err = { "it broke the protocol" };
	struct tcp *t = p->t;
	size_t payload = 0;
	int r;

	r = check_len(p, data, len, &payload, &err);
	if (r == 0)
		r = t->seal ? take_sealed(p, data, payload, &err)
			    : take_plain(p, data, payload, &err);
	if (r < 0)
		tcp_end(t, r, err.text);
}

static void take_or_keep(struct path *p, const uint8_t *data, size_t len)
{
	struct tcp *t = p->t;
	struct buf *b;

	p->came++;
	if (len > HEADER + WIRE_PAYLOAD_MAX + WIRE_TAG) {
		tcp_end(t, -EPROTO, "it sent a message that is too long");
	} else if (t->state == TCP_UP && !p->early.head) {
		take(p, data, len);
	} else if ((b = copy_of(p, data, len))) {
		bufq_push(&p->early, b);
	} else {
		tcp_end(t, -ENOMEM, "out of memory");
	}
}

/* It has taken up to @taken of ours. */
static void on_taken(struct path *p, uint32_t taken)
{
	if (taken - p->sent_taken > p->sent - p->sent_taken) {
		tcp_end(p->t, -EPROTO, "it took more than was sent");
		return;
	}
	p->sent_taken = taken;
	let_go_on(p);
}

static void on_message_of(struct path *p, const struct ucx_header *h,
			  const uint8_t *data, size_t len)
{
	struct tcp *t = p->t;

	on_taken(p, be32toh(h->taken));
	if (t->state == TCP_DEAD || be32toh(h->kind) == KIND_TAKEN)
		return;
	if (be32toh(h->kind) != KIND_WHOLE || be32toh(h->number) != p->came ||
	    p->came - p->taken >= UCX_WINDOW)
		tcp_end(t, -EPROTO,
			"it sent a message out of order, or too many");
	else
		take_or_keep(p, data, len);
}

static void on_stray(void *arg)
{
	struct ucx *u = arg;

	u->env.events->stranger("a peer over UCX", -EACCES,
				"it does not know a link's secret", u->env.arg);
}

/* A link that is over may have had some on their way. */
static bool is_of_gone(const struct ucx *u, const uint8_t secret[SECRET])
{
	for (uint32_t i = 0; i < GONE && i < u->n_gone; i++)
		if (CRYPTO_memcmp(u->gone[i], secret, SECRET) == 0)
			return true;
	return false;
}

static void on_message(const uint8_t *header, const uint8_t *data, size_t len,
		       void *arg)
{
	struct ucx_header h;
	struct ucx *u = arg;
	struct path *p;
	struct tcp *t;
	bool outer;

	memcpy(&h, header, sizeof(h));
	p = be32toh(h.index) < u->n_paths ? u->paths[be32toh(h.index)] : NULL;
	if (!p || CRYPTO_memcmp(h.secret, p->ours, SECRET) != 0) {
		if (!is_of_gone(u, h.secret))
			on_stray(u);
		return;
	}
	t = p->t;
	if (t->state == TCP_DEAD)
		return;
	outer = tcp_enter(t);
	on_message_of(p, &h, data, len);
	if (!t->doomed && t->state != TCP_DEAD)
		tell_taken(p);
	tcp_leave(t, outer);
}

/* What waits, in order: held is older than early. */
static void ucx_resume(struct tcp *t)
{
	struct path *p = t->carried;
	struct buf_pool *pool = p->ucx->env.pool;
	struct errmsg err = { "it broke the protocol" };
	struct buf *b;
	int r = 0;

	if (p->giving)
		return; /* who gives goes on by itself */
	p->paused = false;
	while (r == 0 && t->state == TCP_UP && !t->doomed &&
	       (b = p->held.head)) {
		r = give(p, b->data, b->end - HEADER, &err);
		if (r == 0 && !t->doomed && t->state == TCP_UP)
			buf_return(pool, bufq_pop(&p->held));
	}
	p->paused = r == -EAGAIN;
	if (r < 0 && r != -EAGAIN)
		tcp_end(t, r, err.text);
	while (!p->paused && t->state == TCP_UP && !t->doomed &&
	       (b = bufq_pop(&p->early))) {
		take(p, b->data, b->end);
		buf_return(pool, b);
	}
	if (t->state != TCP_UP || t->doomed)
		return;
	tell_taken(p);
	if (!p->paused)
		tcp_closed(t);
}

static bool ucx_drain(struct tcp *t)
{
	struct path *p = t->carried;

	if (!p)
		return true;
	ucx_worker_poll(p->ucx->worker);
	return t->state == TCP_DEAD || !p->paused;
}

/* -- paths ---------------------------------------------------------------- */

static int place(struct ucx *u, struct path *p)
{
	uint32_t n = 0, more;
	struct path **paths;

	while (n < u->n_paths && u->paths[n])
		n++;
	if (n == u->n_paths) {
		more = n ? 2 * n : 16;
		paths = realloc(u->paths, more * sizeof(struct path *));
		if (!paths)
			return -ENOMEM;
		memset(paths + n, 0, (more - n) * sizeof(struct path *));
		u->paths = paths;
		u->n_paths = more;
	}
	p->index = n;
	u->paths[n] = p;
	return 0;
}

static struct path *path_new(struct tcp *t)
{
	struct path *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->ucx = of_tcp(t);
	p->t = t;
	if (getrandom(p->ours, SECRET, 0) != SECRET || place(p->ucx, p) < 0) {
		free(p);
		return NULL;
	}
	t->carried = p;
	return p;
}

static struct path *path_of(struct tcp *t)
{
	return t->carried ? t->carried : path_new(t);
}

static int ucx_offer(struct tcp *t, uint8_t *ret, struct errmsg *err)
{
	struct path *p = path_of(t);
	struct offer o = { 0 };
	const uint8_t *address;
	size_t len;

	if (!p)
		return errmsg_set(err, -ENOMEM, "link");
	address = ucx_worker_address(p->ucx->worker, &len);
	if (sizeof(o) + len > TCP_OFFER_MAX)
		return errmsg_say(err, -E2BIG,
				  "UCX has an address of %zu bytes", len);
	memcpy(o.secret, p->ours, SECRET);
	o.index = htobe32(p->index);
	memcpy(ret, &o, sizeof(o));
	memcpy(ret + sizeof(o), address, len);
	return (int)(sizeof(o) + len);
}

static int ucx_join(struct tcp *t, const uint8_t *offer, size_t len,
		    struct errmsg *err)
{
	struct path *p = path_of(t);
	uint64_t address[TCP_OFFER_MAX / 8] = { 0 }; /* aligned, for UCX */
	struct offer o;

	if (!p)
		return errmsg_set(err, -ENOMEM, "link");
	if (len <= sizeof(o) || len > TCP_OFFER_MAX || p->ep)
		return errmsg_say(err, -EPROTO, "it sent an OPEN that is none");
	memcpy(&o, offer, sizeof(o));
	memcpy(address, offer + sizeof(o), len - sizeof(o));
	memcpy(p->theirs, o.secret, SECRET);
	p->their_index = be32toh(o.index);
	return ucx_ep_new(p->ucx->worker, (const uint8_t *)address, p, &p->ep,
			  err);
}

static bool ucx_part(struct tcp *t, bool in_order)
{
	struct path *p = t->carried;
	struct ucx *u = p->ucx;
	bool keeps = p->ep && in_order;

	u->paths[p->index] = NULL;
	memcpy(u->gone[u->n_gone++ % GONE], p->ours, SECRET);
	bufq_done(&p->early, u->env.pool);
	bufq_done(&p->held, u->env.pool);
	p->t = NULL;
	if (p->ep)
		ucx_ep_close(p->ep, in_order, keeps ? t->fd : -1);
	path_free(p);
	return keeps;
}

static void on_failed(void *owner, const char *why, void *arg)
{
	struct path *p = owner;
	struct tcp *t = p->t;
	bool outer = tcp_enter(t);

	tcp_end(t, -ECONNRESET, why);
	tcp_leave(t, outer);
}

static void ucx_done(struct tcp_host *h)
{
	struct ucx *u = h->carrier_arg;

	ucx_worker_free(u->worker);
	free(u->paths);
	free(u);
	h->carrier = NULL;
}

static const struct tcp_carrier carrier = {
	.offer = ucx_offer,
	.join = ucx_join,
	.send = ucx_link_send,
	.resume = ucx_resume,
	.drain = ucx_drain,
	.part = ucx_part,
	.done = ucx_done,
};

static const struct ucx_worker_events events = {
	.message = on_message,
	.stray = on_stray,
	.sent = on_sent,
	.failed = on_failed,
};

int link_ucx_over(struct link_host *host, const struct link_env *env, bool rdma,
		  struct errmsg *err)
{
	struct tcp_host *h = tcp_host_of(host);
	struct ucx *u = calloc(1, sizeof(*u));
	char device[64];
	bool known = rdma_device(h->fd, rdma, device, sizeof(device));
	int r;

	if (!u)
		return errmsg_set(err, -ENOMEM, "UCX");
	u->env = *env;
	r = ucx_worker_new(env->loop, rdma, known ? device : NULL, &events, u,
			   &u->worker, err);
	if (r < 0) {
		free(u);
		return r;
	}
	h->carrier = &carrier;
	h->carrier_arg = u;
	return 0;
}
