#include <config.h>

#include "opq.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"

#define PIECE_MIN 4096 /* but for the last of a message */

struct opq_entry {
	TAILQ_ENTRY(opq_entry) link;
	struct opmsg *m; /* NULL: it has left */
	uint32_t src;
	uint64_t id;
	size_t len, at;
	bool begun;
	bool counts;
	struct rankset to, ended;
	uint64_t left; /* of to, that have not ended */
};

void opq_init(struct opq *q, const struct opq_limits *limits)
{
	*q = (struct opq){ .limits = *limits };
	TAILQ_INIT(&q->list);
}

/* -- what counts ----------------------------------------------------------- */

/* Senders are few: those that something waits of. */
static struct opq_share *share_of(const struct opq *q, uint32_t src)
{
	for (size_t i = 0; i < q->n_shares; i++)
		if (q->shares[i].src == src)
			return &q->shares[i];
	return NULL;
}

static struct opq_share *share_new(struct opq *q, uint32_t src)
{
	if (q->n_shares == q->shares_size) {
		size_t size = q->shares_size ? 2 * q->shares_size : 8;
		struct opq_share *more =
			realloc(q->shares, size * sizeof(*more));

		if (!more)
			return NULL;
		q->shares = more;
		q->shares_size = size;
	}
	q->shares[q->n_shares] = (struct opq_share){ .src = src };
	return &q->shares[q->n_shares++];
}

/* Of all whom it has not ended for. */
static void count_receivers(struct opq *q, const struct opq_entry *e, bool less)
{
	for (uint32_t r = rankset_next(&e->to, 0);
	     q->receivers && r != UINT32_MAX; r = rankset_next(&e->to, r + 1)) {
		if (rankset_has(&e->ended, r))
			continue;
		q->receivers[r].msgs += less ? -(size_t)1 : 1;
		q->receivers[r].bytes += less ? -e->len : e->len;
	}
}

static int count(struct opq *q, struct opq_entry *e)
{
	struct opq_share *s = share_of(q, e->src);

	if (!s)
		s = share_new(q, e->src);
	if (!s)
		return -ENOMEM;
	s->msgs++;
	s->bytes += e->len;
	q->msgs++;
	q->bytes += e->len;
	e->counts = true;
	count_receivers(q, e, false);
	return 0;
}

static void uncount(struct opq *q, struct opq_entry *e)
{
	struct opq_share *s = share_of(q, e->src);

	if (!e->counts)
		return;
	e->counts = false;
	count_receivers(q, e, true);
	q->msgs--;
	q->bytes -= e->len;
	s->bytes -= e->len;
	if (--s->msgs == 0)
		*s = q->shares[--q->n_shares];
}

static void entry_free(struct opq *q, struct opq_entry *e)
{
	if (q->next == e)
		q->next = TAILQ_NEXT(e, link);
	TAILQ_REMOVE(&q->list, e, link);
	uncount(q, e);
	q->n_sent -= !e->m;
	opmsg_unref(e->m);
	rankset_done(&e->to);
	rankset_done(&e->ended);
	free(e);
}

void opq_done(struct opq *q)
{
	struct opq_entry *e;

	while ((e = TAILQ_FIRST(&q->list)))
		entry_free(q, e);
	free(q->receivers);
	q->receivers = NULL;
	free(q->shares);
	q->shares = NULL;
	q->n_shares = q->shares_size = 0;
	free(q->ends);
	q->ends = NULL;
	q->n_ends = q->ends_at = q->ends_size = 0;
}

/* -- what is let in -------------------------------------------------------- */

static bool is_too_much(const struct opq *q, size_t msgs, size_t bytes,
			size_t part)
{
	return msgs > q->limits.msgs / part || bytes > q->limits.bytes / part;
}

static bool has_room(const struct opq *q, const struct opmsg *m)
{
	const struct opq_share *s;

	if (q->n_sent >= OPQ_SENT_MAX || q->msgs >= q->limits.msgs)
		return false;
	if (!q->msgs)
		return true;
	if (is_too_much(q, q->msgs + 1, q->bytes + m->len, 1))
		return false;
	if (!is_too_much(q, q->msgs + 1, q->bytes + m->len, 2))
		return true;
	s = share_of(q, m->src);
	return !s ||
	       !is_too_much(q, s->msgs + 1, s->bytes + m->len, q->limits.parts);
}

int opq_count_receivers(struct opq *q, uint32_t nranks)
{
	q->receivers = calloc(nranks, sizeof(*q->receivers));
	return q->receivers ? 0 : -ENOMEM;
}

struct opq_receiver opq_receiver(const struct opq *q, uint32_t rank)
{
	return q->receivers[rank];
}

static int check_text(const struct rankset *to)
{
	_cleanup_free_ char *text = NULL;

	if (to->n <= OPMSG_SET_MAX / 20) /* two numbers of 8, and some */
		return 0;
	text = rankset_text(to);
	if (!text)
		return -ENOMEM;
	return strlen(text) > OPMSG_SET_MAX ? -E2BIG : 0;
}

int opq_push(struct opq *q, struct opmsg *m, const struct rankset *to)
{
	struct opq_entry *e;
	int r = check_text(to);

	if (r < 0)
		return r;
	if (!has_room(q, m))
		return -ENOBUFS;
	e = calloc(1, sizeof(*e));
	if (!e || rankset_merge(&e->to, to) < 0) {
		free(e);
		return -ENOMEM;
	}
	e->src = m->src;
	e->id = m->id;
	e->len = m->len;
	e->left = rankset_count(to);
	if (count(q, e) < 0) {
		rankset_done(&e->to);
		free(e);
		return -ENOMEM;
	}
	e->m = opmsg_ref(m);
	TAILQ_INSERT_TAIL(&q->list, e, link);
	if (!q->next)
		q->next = e;
	return 0;
}

int opq_push_end(struct opq *q, const struct opmsg_ended *e)
{
	if (q->n_ends >= OPQ_ENDS_MAX)
		return -ENOBUFS;
	if (q->ends_at + q->n_ends == q->ends_size && q->ends_at) {
		memmove(q->ends, q->ends + q->ends_at, q->n_ends * sizeof(*e));
		q->ends_at = 0;
	}
	if (q->n_ends == q->ends_size) {
		size_t size = q->ends_size ? q->ends_size * 2 : 16;
		struct opmsg_ended *ends = realloc(q->ends, size * sizeof(*e));

		if (!ends)
			return -ENOMEM;
		q->ends = ends;
		q->ends_size = size;
	}
	q->ends[q->ends_at + q->n_ends++] = *e;
	return 0;
}

/* -- what leaves ----------------------------------------------------------- */

bool opq_has(const struct opq *q)
{
	return q->n_ends || q->next;
}

static size_t fill_ends(struct opq *q, uint8_t *at, size_t size)
{
	size_t n = 0;

	while (q->n_ends && size - n >= OPMSG_HEADER) {
		n += opmsg_put_ended(at + n, &q->ends[q->ends_at++]);
		q->n_ends--;
	}
	if (!q->n_ends)
		q->ends_at = 0;
	return n;
}

static void has_left(struct opq *q, struct opq_entry *e)
{
	q->next = TAILQ_NEXT(e, link);
	opmsg_unref(e->m);
	e->m = NULL;
	q->n_sent++;
	if (!q->limits.until_ended)
		uncount(q, e);
}

/* The next piece of the next message, its receivers before the first. 0: it
 * does not fit. */
static size_t fill_piece(struct opq *q, uint8_t *at, size_t size)
{
	struct opq_entry *e = q->next;
	_cleanup_free_ char *text = e->begun ? NULL : rankset_text(&e->to);
	size_t to_len = text ? strlen(text) : 0, len = e->len - e->at, n;

	if (!e->begun && !text)
		return 0; /* without memory it waits */
	if (size < OPMSG_HEADER + to_len)
		return 0;
	size -= OPMSG_HEADER + to_len;
	if (len > size && size < PIECE_MIN)
		return 0; /* with the next batch */
	if (len > size)
		len = size;
	n = opmsg_put_piece(at, e->m, e->at, len, text, to_len);
	e->begun = true;
	e->at += len;
	if (e->at == e->len)
		has_left(q, e);
	return n;
}

size_t opq_fill(struct opq *q, uint8_t *batch, size_t size)
{
	size_t n, more = 1;

	if (size > OPMSG_BATCH)
		size = OPMSG_BATCH;
	n = fill_ends(q, batch, size);
	while (q->next && more) {
		more = fill_piece(q, batch + n, size - n);
		n += more;
	}
	return n;
}

/* -- how it ended ---------------------------------------------------------- */

bool opq_ended(struct opq *q, const struct opmsg_ended *end)
{
	struct opq_entry *e;

	TAILQ_FOREACH(e, &q->list, link)
	if (e->src == end->src && e->id == end->id && !e->m &&
	    rankset_has(&e->to, end->rank))
		break;
	if (!e || rankset_has(&e->ended, end->rank))
		return false;
	if (--e->left == 0) {
		entry_free(q, e);
	} else if (rankset_add(&e->ended, end->rank, end->rank) < 0) {
		e->left++; /* without memory it ends another time */
	} else if (e->counts && q->receivers) {
		q->receivers[end->rank].msgs--;
		q->receivers[end->rank].bytes -= e->len;
	}
	return true;
}

static void fail_entry(const struct opq_entry *e, enum opmsg_end how,
		       opq_ended_fn fn, void *arg)
{
	struct opmsg_ended end = { e->src, e->id, 0, how };

	for (uint32_t r = rankset_next(&e->to, 0); r != UINT32_MAX;
	     r = rankset_next(&e->to, r + 1)) {
		end.rank = r;
		if (!rankset_has(&e->ended, r))
			fn(&end, arg);
	}
}

void opq_fail(struct opq *q, enum opq_which which, enum opmsg_end how,
	      opq_ended_fn fn, void *arg)
{
	struct opq_entry *e, *next;

	for (e = TAILQ_FIRST(&q->list); e; e = next) {
		next = TAILQ_NEXT(e, link);
		if ((which == OPQ_BEGUN && !e->begun) ||
		    (which == OPQ_NOT_BEGUN && e->begun))
			continue;
		fail_entry(e, how, fn, arg);
		entry_free(q, e);
	}
	if (which != OPQ_NOT_BEGUN)
		q->n_ends = q->ends_at = 0;
}
