#include <config.h>

#include "memlink.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "cleanup.h"
#include "log.h"
#include "memword.h"
#include "oplink.h"
#include "rpc.h"

#define AGAIN_MS 20

struct transfer {
	TAILQ_ENTRY(transfer) link;
	uint64_t id;
	struct memlink_want want;
	bool whole;	/* one element, in pieces of bytes */
	uint64_t units; /* bytes, or elements */
	uint64_t next;	/* the first that has not been sent */
	size_t out;	/* pieces that are not answered */
	uint32_t done;
	int code;
	struct errmsg err;
	memlink_fn fn; /* NULL: nobody wants to know */
	void *arg;
};

struct piece {
	TAILQ_ENTRY(piece) link;
	struct transfer *of;
	uint64_t tag;
	uint64_t msg; /* 0: to be sent again */
	uint64_t first;
	uint32_t n; /* units */
	int64_t made_ms;
};

struct memlink {
	struct loop *loop;
	struct peers *peers;
	struct memkeep *keep;
	struct loop_timer *again, *ended;
	TAILQ_HEAD(, transfer) transfers;
	TAILQ_HEAD(, piece) pieces;
	size_t n_transfers, n_pieces;
	uint64_t last_id, last_tag;
	void (*watch)(void *arg); /* NULL: nobody */
	void *watch_arg;
	bool waits;   /* for AGAIN_MS */
	uint8_t *msg; /* MEMWIRE_MAX, for one */
};

/* -- a transfer ------------------------------------------------------------ */

static void want_done(struct memlink_want *w)
{
	free(w->index);
	free(w->data);
}

static void transfer_free(struct memlink *m, struct transfer *t)
{
	TAILQ_REMOVE(&m->transfers, t, link);
	m->n_transfers--;
	want_done(&t->want);
	free(t);
}

static void transfer_fail(struct transfer *t, int code, const char *text)
{
	if (!t->code) {
		t->code = code;
		errmsg_say(&t->err, 0, "%s", text);
	}
	t->next = t->units; /* no more of it */
}

/* In a round of its own: who is told may begin others, and end us. */
static void on_ended(void *arg)
{
	struct memlink *m = arg;
	struct transfer *t, *next;

	for (t = TAILQ_FIRST(&m->transfers); t; t = next) {
		next = TAILQ_NEXT(t, link);
		if (t->out || t->next < t->units)
			continue;
		TAILQ_REMOVE(&m->transfers, t, link);
		m->n_transfers--;
		if (t->fn)
			t->fn(&t->want, t->code, t->err.text, t->done, t->arg);
		want_done(&t->want);
		free(t);
		if (m->watch)
			m->watch(m->watch_arg);
		next = TAILQ_FIRST(&m->transfers);
	}
}

static void piece_free(struct memlink *m, struct piece *p)
{
	TAILQ_REMOVE(&m->pieces, p, link);
	m->n_pieces--;
	p->of->out--;
	if (!p->of->out && p->of->next >= p->of->units)
		loop_timer_set(m->ended, 0);
	free(p);
}

static uint32_t home_of(const struct transfer *t)
{
	return memdir_home(t->want.region);
}

/* -- a piece --------------------------------------------------------------- */

/* Where it lies at our end. */
static uint64_t place(const struct piece *p)
{
	const struct transfer *t = p->of;

	return t->whole ? p->first : p->first * t->want.elem;
}

static uint32_t bytes_of(const struct piece *p)
{
	const struct transfer *t = p->of;

	return t->whole ? p->n : p->n * (uint32_t)t->want.elem;
}

static void copy_in(struct memlink *m, const struct piece *p, uint8_t *to)
{
	const struct memlink_want *w = &p->of->want;
	struct errmsg err;

	if (w->data)
		memcpy(to, w->data + place(p), bytes_of(p));
	else
		window_read(memkeep_window(m->keep, NULL, &err),
			    w->at + place(p), to, bytes_of(p));
}

static size_t put_indices(const struct piece *p, uint8_t *to)
{
	const struct memlink_want *w = &p->of->want;
	uint64_t index;

	if (!w->index)
		return 0;
	for (uint32_t i = 0; i < p->n; i++) {
		index = htobe64(w->index[p->first + i]);
		memcpy(to + (size_t)i * 8, &index, 8);
	}
	return (size_t)p->n * 8;
}

static struct memwire_request request_of(const struct piece *p)
{
	const struct transfer *t = p->of;
	const struct memlink_want *w = &t->want;

	return (struct memwire_request){
		.kind = w->kind,
		.flags = (uint8_t)((w->index ? MEMWIRE_INDEXED : 0) |
				   (w->fetch ? MEMWIRE_FETCH : 0) |
				   (w->who.user ? MEMWIRE_USER : 0)),
		.by = w->who.rank,
		.tag = p->tag,
		.region = w->region,
		.item = w->item,
		.offset = w->offset + (t->whole	  ? p->first
				       : w->index ? 0
						  : p->first * w->stride),
		.stride = w->stride,
		.elem = t->whole ? p->n : (uint32_t)w->elem,
		.count = t->whole ? 1 : p->n,
	};
}

/* 0; -ENOBUFS: it has to wait for room. */
static int send_piece(struct memlink *m, struct piece *p)
{
	const struct memwire_request q = request_of(p);
	struct rank_range range = { home_of(p->of), home_of(p->of) };
	const struct rankset to = { &range, 1 };
	size_t len = MEMWIRE_REQUEST;
	int r;

	memwire_put_request(m->msg, &q);
	len += put_indices(p, m->msg + len);
	if (q.kind != MEMWIRE_GET) {
		copy_in(m, p, m->msg + len);
		len += bytes_of(p);
	}
	if (!oplink_has_room(peers_link(m->peers), range.first, len))
		return -ENOBUFS;
	r = oplink_send(peers_link(m->peers), &to, (char *)m->msg, len,
			&p->msg);
	if (r == 0)
		peers_watch(m->peers);
	return r;
}

static void piece_fail(struct memlink *m, struct piece *p, int code,
		       const char *why)
{
	struct errmsg text;

	errmsg_say(&text, 0, "vm[%" PRIu32 "], which keeps it: %s",
		   home_of(p->of), why);
	transfer_fail(p->of, code, text.text);
	piece_free(m, p);
}

/* How a piece that was to leave did; false: no more of this transfer now. */
static bool sent(struct memlink *m, struct piece *p, int r)
{
	if (r == -ENOBUFS || r == -ENOMEM) {
		p->msg = 0;
		return false;
	}
	if (r == -EINVAL)
		piece_fail(m, p, RPC_E_NOENT, "there is no such task");
	else if (r < 0)
		piece_fail(m, p, RPC_E_UNREACHABLE,
			   "this node's vmstep-net is gone");
	return r == 0;
}

static struct piece *next_piece(struct memlink *m, struct transfer *t)
{
	uint64_t left = t->units - t->next, most = MEMWIRE_DATA;
	struct piece *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	if (!t->whole)
		most = MEMWIRE_DATA / t->want.elem;
	if (!t->whole && most > MEMWIRE_COUNT)
		most = MEMWIRE_COUNT;
	p->of = t;
	p->tag = ++m->last_tag;
	p->first = t->next;
	p->n = (uint32_t)(left < most ? left : most);
	p->made_ms = loop_now_ms();
	t->next += p->n;
	t->out++;
	TAILQ_INSERT_TAIL(&m->pieces, p, link);
	m->n_pieces++;
	return p;
}

static void send_later(struct memlink *m)
{
	if (!m->waits)
		loop_timer_set(m->again, AGAIN_MS);
	m->waits = true;
}

/* What was refused, first. False: some still are. Not of a transfer that was
 * forgotten: its place in the window may be another's by now. */
static bool send_again(struct memlink *m)
{
	struct piece *p, *next;
	bool all = true;

	for (p = TAILQ_FIRST(&m->pieces); p; p = next) {
		next = TAILQ_NEXT(p, link);
		if (!p->msg && !p->of->fn)
			piece_fail(m, p, RPC_E_CANCELLED, "nobody waits");
		else if (!p->msg && !sent(m, p, send_piece(m, p)))
			all = false;
	}
	return all;
}

static void pump(struct memlink *m)
{
	struct transfer *t;
	struct piece *p;

	TAILQ_FOREACH(t, &m->transfers, link)
	while (t->next < t->units && t->out < MEMLINK_EACH &&
	       m->n_pieces < MEMLINK_PIECES) {
		if (!oplink_has_room(peers_link(m->peers), home_of(t),
				     MEMWIRE_REQUEST + MEMWIRE_DATA))
			break;
		p = next_piece(m, t);
		if (!p || !sent(m, p, send_piece(m, p))) {
			send_later(m);
			break;
		}
	}
}

static void on_again(void *arg)
{
	struct memlink *m = arg;

	m->waits = false;
	if (!send_again(m))
		send_later(m);
	pump(m);
}

/* -- what comes back ------------------------------------------------------- */

static void take_words(struct memlink *m, struct piece *p, const uint8_t *data,
		       uint32_t n)
{
	const struct memlink_want *w = &p->of->want;
	struct window *window;
	struct errmsg err;

	for (uint32_t i = 0; i < n; i++) {
		uint64_t at = place(p) + (uint64_t)i * MEMWORD_ENTRY +
			      offsetof(struct memword_entry, value);

		window = w->data ? NULL : memkeep_window(m->keep, NULL, &err);
		if (w->data)
			memcpy(w->data + at, data + (size_t)i * 8, 8);
		else
			window_write(window, w->at + at, data + (size_t)i * 8,
				     8);
	}
}

/* False: it is not what was asked for. */
static bool take_data(struct memlink *m, struct piece *p,
		      const struct memwire_answer *a)
{
	const struct memlink_want *w = &p->of->want;
	size_t words = w->fetch ? (size_t)p->n * 8 : 0;
	struct errmsg err;

	if (w->kind == MEMWIRE_PUT)
		return a->len == 0;
	if (a->len != (w->kind == MEMWIRE_GET ? bytes_of(p) : words))
		return false;
	if (!p->of->fn)
		return true; /* its place may be another's by now */
	if (w->kind == MEMWIRE_ATOMIC)
		take_words(m, p, a->data, (uint32_t)(a->len / 8));
	else if (w->data)
		memcpy(w->data + place(p), a->data, a->len);
	else
		window_write(memkeep_window(m->keep, NULL, &err),
			     w->at + place(p), a->data, a->len);
	return true;
}

static void take_answer(struct memlink *m, struct piece *p,
			const struct memwire_answer *a)
{
	char words[160];

	if (a->error == RPC_E_BUSY) { /* nothing of it was done */
		p->msg = 0;
		send_later(m);
		return;
	}
	p->of->done += a->done;
	if (a->error) {
		snprintf(words, sizeof(words), "%.*s", (int)a->len,
			 (const char *)a->data);
		transfer_fail(p->of, a->error, words);
	} else if (!take_data(m, p, a)) {
		transfer_fail(p->of, RPC_E_PROTO,
			      "an answer that does not fit its request");
	}
	piece_free(m, p);
}

static void on_answer(struct memlink *m, uint32_t from, const char *msg,
		      size_t len)
{
	struct memwire_answer a;
	struct errmsg err;
	struct piece *p;

	if (memwire_take_answer(msg, len, &a, &err) < 0) {
		log_limited(LOG_LEVEL_WARN, "vm[%" PRIu32 "]: %s", from,
			    err.text);
		return;
	}
	TAILQ_FOREACH(p, &m->pieces, link)
	if (p->tag == a.tag && home_of(p->of) == from)
		break;
	if (p) /* else it came twice */
		take_answer(m, p, &a);
	pump(m);
}

static void on_message(uint32_t from, const char *msg, size_t len, void *arg)
{
	struct memlink *m = arg;

	if (!memwire_is(msg, len))
		log_limited(LOG_LEVEL_WARN,
			    "vm[%" PRIu32 "]: a message of another kind", from);
	else if (memwire_is_answer(msg, len))
		on_answer(m, from, msg, len);
	else
		memkeep_request(m->keep, from, msg, len);
}

static bool on_msg_ended(uint64_t id, uint32_t rank, enum opmsg_end how,
			 void *arg)
{
	struct memlink *m = arg;
	struct piece *p;

	TAILQ_FOREACH(p, &m->pieces, link)
	if (p->msg == id)
		break;
	if (!p || how == OPMSG_TAKEN)
		return p != NULL;
	if (how == OPMSG_FULL) { /* it was not delivered */
		p->msg = 0;
		send_later(m);
	} else {
		piece_fail(m, p,
			   how == OPMSG_LOST ? RPC_E_LOST : RPC_E_UNREACHABLE,
			   opmsg_end_text(how));
	}
	return true;
}

static void on_room(void *arg)
{
	struct memlink *m = arg;

	memkeep_go_on(m->keep);
	pump(m);
}

static void on_awaited(int64_t before_ms, struct rankset *ret, void *arg)
{
	const struct memlink *m = arg;
	const struct piece *p;

	TAILQ_FOREACH(p, &m->pieces, link)
	if (p->made_ms <= before_ms &&
	    rankset_add(ret, home_of(p->of), home_of(p->of)) < 0)
		return;
}

static void on_lost(uint32_t rank, const char *why, void *arg)
{
	struct memlink *m = arg;
	struct piece *p, *next;

	for (p = TAILQ_FIRST(&m->pieces); p; p = next) {
		next = TAILQ_NEXT(p, link);
		if (home_of(p->of) == rank)
			piece_fail(m, p, RPC_E_UNREACHABLE, why);
	}
}

static size_t on_given_up(const char *data, size_t len, char *ret, void *arg)
{
	return memkeep_given_up(data, len, ret);
}

/* -- begin and end --------------------------------------------------------- */

void memlink_watch(struct memlink *m, void (*fn)(void *arg), void *arg)
{
	m->watch = fn;
	m->watch_arg = arg;
}

uint64_t memlink_bytes(const struct memlink_want *want)
{
	uint64_t bytes;

	return __builtin_mul_overflow(want->elem, want->count, &bytes)
		       ? UINT64_MAX
		       : bytes;
}

int memlink_begin(struct memlink *m, const struct memlink_want *want,
		  memlink_fn fn, void *arg)
{
	struct transfer *t;

	if (m->n_transfers >= MEMLINK_TRANSFERS)
		return -EBUSY;
	if ((want->count > 1 || want->index) && want->elem > MEMWIRE_DATA)
		return -E2BIG;
	if (want->kind == MEMWIRE_ATOMIC && want->count > MEMWIRE_COUNT)
		return -E2BIG;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->id = ++m->last_id;
	t->want = *want;
	t->whole = want->count == 1 && !want->index &&
		   want->kind != MEMWIRE_ATOMIC;
	t->units = t->whole ? want->elem : want->count;
	t->fn = fn;
	t->arg = arg;
	TAILQ_INSERT_TAIL(&m->transfers, t, link);
	m->n_transfers++;
	if (t->units)
		pump(m);
	else
		loop_timer_set(m->ended, 0);
	return 0;
}

void memlink_forget(struct memlink *m, const void *arg)
{
	struct transfer *t;

	TAILQ_FOREACH(t, &m->transfers, link)
	if (t->fn && t->arg == arg) {
		t->fn = NULL;
		t->next = t->units;
		if (!t->out)
			loop_timer_set(m->ended, 0);
	}
}

bool memlink_uses(const struct memlink *m, uint64_t at, uint64_t len)
{
	const struct transfer *t;

	TAILQ_FOREACH(t, &m->transfers, link)
	if (!t->want.data && t->fn &&
	    at < t->want.at + memlink_bytes(&t->want) && t->want.at < at + len)
		return true;
	return false;
}

size_t memlink_pending(const struct memlink *m)
{
	return m->n_transfers;
}

uint64_t memlink_last(const struct memlink *m)
{
	return m->last_id;
}

bool memlink_has(const struct memlink *m, uint64_t upto)
{
	const struct transfer *t = TAILQ_FIRST(&m->transfers);

	return t && t->id <= upto;
}

int memlink_new(struct loop *l, struct peers *p, struct memkeep *k,
		struct memlink **ret)
{
	static const struct peers_other other = {
		.message = on_message,
		.ended = on_msg_ended,
		.room = on_room,
		.awaited = on_awaited,
		.lost = on_lost,
		.given_up = on_given_up,
	};
	struct memlink *m = calloc(1, sizeof(*m));

	if (!m)
		return -ENOMEM;
	m->loop = l;
	m->peers = p;
	m->keep = k;
	TAILQ_INIT(&m->transfers);
	TAILQ_INIT(&m->pieces);
	m->msg = malloc(MEMWIRE_MAX);
	if (!m->msg || loop_timer_add(l, -1, on_again, m, &m->again) < 0 ||
	    loop_timer_add(l, -1, on_ended, m, &m->ended) < 0) {
		memlink_free(m);
		return -ENOMEM;
	}
	peers_set_other(p, &other, m);
	*ret = m;
	return 0;
}

void memlink_free(struct memlink *m)
{
	struct transfer *t;

	if (!m)
		return;
	peers_set_other(m->peers, NULL, NULL);
	while (!TAILQ_EMPTY(&m->pieces))
		piece_fail(m, TAILQ_FIRST(&m->pieces), RPC_E_GONE,
			   "our task has ended");
	while ((t = TAILQ_FIRST(&m->transfers))) {
		if (t->fn)
			t->fn(&t->want, t->code ? t->code : RPC_E_GONE,
			      t->code ? t->err.text : "the task has ended",
			      t->done, t->arg);
		transfer_free(m, t);
	}
	loop_timer_free(m->again);
	loop_timer_free(m->ended);
	free(m->msg);
	free(m);
}
