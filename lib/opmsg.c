#include <config.h>

#include "opmsg.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum record_type { PIECE = 1, ENDED };
#define FIRST 1 /* a piece's flag: the receivers come before its bytes */

/* Numbers are big endian. */
struct record {
	uint8_t type, flags; /* of an ended one: how */
	uint16_t to_len;
	uint32_t src;
	uint64_t id;
	uint32_t total; /* of the message; of an ended one: the receiver */
	uint32_t len;	/* of the piece */
} __attribute__((packed));
static_assert(sizeof(struct record) == OPMSG_HEADER, "as in doc/net.md");
static_assert(OPMSG_SET_MAX <= UINT16_MAX, "its length fits");

const char *opmsg_end_text(enum opmsg_end end)
{
	static const char *const texts[] = {
		[OPMSG_TAKEN] = "taken",
		[OPMSG_NO_HELPER] = "its task has ended",
		[OPMSG_FULL] = "too much waits for it",
		[OPMSG_UNREACHABLE] = "its node cannot be reached",
		[OPMSG_LOST] =
			"a link or vmstep-net was lost on the way; it may have arrived",
	};
	static_assert(sizeof(texts) / sizeof(texts[0]) == OPMSG_ENDS,
		      "a text each");

	return texts[end];
}

struct opmsg *opmsg_new(uint32_t src, uint64_t id, size_t len)
{
	struct opmsg *m = malloc(sizeof(*m) + len);

	if (!m)
		return NULL;
	m->refs = 1;
	m->src = src;
	m->id = id;
	m->len = len;
	return m;
}

struct opmsg *opmsg_ref(struct opmsg *m)
{
	m->refs++;
	return m;
}

void opmsg_unref(struct opmsg *m)
{
	if (m && --m->refs == 0)
		free(m);
}

/* -- out ------------------------------------------------------------------- */

size_t opmsg_put_ended(uint8_t *at, const struct opmsg_ended *e)
{
	const struct record r = {
		.type = ENDED,
		.flags = (uint8_t)e->how,
		.src = htobe32(e->src),
		.id = htobe64(e->id),
		.total = htobe32(e->rank),
	};

	memcpy(at, &r, sizeof(r));
	return sizeof(r);
}

size_t opmsg_put_piece(uint8_t *at, const struct opmsg *m, size_t from,
		       size_t len, const char *to, size_t to_len)
{
	const struct record r = {
		.type = PIECE,
		.flags = to ? FIRST : 0,
		.to_len = htobe16((uint16_t)to_len),
		.src = htobe32(m->src),
		.id = htobe64(m->id),
		.total = htobe32((uint32_t)m->len),
		.len = htobe32((uint32_t)len),
	};

	memcpy(at, &r, sizeof(r));
	if (to_len)
		memcpy(at + sizeof(r), to, to_len);
	memcpy(at + sizeof(r) + to_len, m->data + from, len);
	return sizeof(r) + to_len + len;
}

/* -- in -------------------------------------------------------------------- */

struct taker {
	struct opmsg_in *in;
	const struct opmsg_in_ops *ops;
	void *arg;
	struct errmsg *err;
};

static int bad(const struct taker *t, const char *what)
{
	return errmsg_say(t->err, -EPROTO, "it sent a bad record: %s", what);
}

void opmsg_in_reset(struct opmsg_in *in)
{
	opmsg_unref(in->m);
	in->m = NULL;
	rankset_done(&in->to);
}

static int begin(const struct taker *t, const struct record *r,
		 const uint8_t *to, size_t to_len)
{
	uint32_t total = be32toh(r->total);

	if (t->in->m)
		return bad(t, "a message within another");
	if (total > OPMSG_BYTES_MAX)
		return bad(t, "a message that is too long");
	if (!to_len || to_len > OPMSG_SET_MAX ||
	    rankset_parse(&t->in->to, (const char *)to, to_len, NULL) < 0)
		return bad(t, "no receivers");
	t->in->m = opmsg_new(be32toh(r->src), be64toh(r->id), total);
	t->in->have = 0;
	if (t->in->m)
		return 0;
	rankset_done(&t->in->to);
	return errmsg_set(t->err, -ENOMEM, "message of another task");
}

static int take_piece(const struct taker *t, const struct record *r,
		      const uint8_t *rest, size_t len, size_t to_len)
{
	struct opmsg_in *in = t->in;
	int e = 0;

	if (r->flags & FIRST)
		e = begin(t, r, rest, to_len);
	else if (to_len)
		e = bad(t, "receivers in mid-message");
	if (e < 0)
		return e;
	if (!in->m || in->m->src != be32toh(r->src) ||
	    in->m->id != be64toh(r->id))
		return bad(t, "the middle of another message");
	if (len > in->m->len - in->have || (!len && in->m->len))
		return bad(t, "a piece that does not fit");
	memcpy(in->m->data + in->have, rest + to_len, len);
	in->have += len;
	if (in->have < in->m->len)
		return 0;
	e = t->ops->message(in->m, &in->to, t->err, t->arg);
	opmsg_in_reset(in);
	return e;
}

static int take_ended(const struct taker *t, const struct record *r, size_t len,
		      size_t to_len)
{
	const struct opmsg_ended e = {
		.src = be32toh(r->src),
		.id = be64toh(r->id),
		.rank = be32toh(r->total),
		.how = (enum opmsg_end)r->flags,
	};

	if (len || to_len || r->flags >= OPMSG_ENDS)
		return bad(t, "no end that there is");
	return t->ops->ended(&e, t->err, t->arg);
}

int opmsg_take(struct opmsg_in *in, const uint8_t *batch, size_t len,
	       const struct opmsg_in_ops *ops, void *arg, struct errmsg *err)
{
	const struct taker t = { in, ops, arg, err };
	int e = 0;

	while (len && e == 0) {
		struct record r;
		size_t to_len, piece;

		if (len < sizeof(r))
			return bad(&t, "it is cut");
		memcpy(&r, batch, sizeof(r));
		batch += sizeof(r);
		len -= sizeof(r);
		to_len = be16toh(r.to_len);
		piece = be32toh(r.len);
		if (to_len > len || piece > len - to_len)
			return bad(&t, "it is cut");
		if (r.type == PIECE)
			e = take_piece(&t, &r, batch, piece, to_len);
		else if (r.type == ENDED)
			e = take_ended(&t, &r, piece, to_len);
		else
			e = bad(&t, "no such type");
		batch += to_len + piece;
		len -= to_len + piece;
	}
	return e;
}
