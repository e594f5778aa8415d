#include <config.h>

#include "memwire.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "memword.h"
#include "opmsg.h"

static_assert(MEMWIRE_MAX <= OPMSG_BYTES_MAX, "it is a message");
static_assert(MEMWIRE_DATA / MEMWORD_ENTRY == MEMWIRE_COUNT,
	      "a batch is one message");

struct request {
	uint8_t magic, kind, flags, zero;
	uint32_t by;
	uint64_t tag, region, item, offset, stride;
	uint32_t elem, count;
	uint64_t zero2;
} __attribute__((packed));
static_assert(sizeof(struct request) == MEMWIRE_REQUEST, "as in doc/net.md");

struct answer {
	uint8_t magic, kind; /* 0 */
	uint16_t error;
	uint32_t done;
	uint64_t tag;
} __attribute__((packed));
static_assert(sizeof(struct answer) == MEMWIRE_ANSWER, "as in doc/net.md");

uint64_t memwire_at(const struct memwire_request *q, uint32_t i)
{
	uint64_t n = i, step = q->stride, at;

	if (q->index) {
		memcpy(&n, q->index + (size_t)i * 8, sizeof(n));
		n = be64toh(n);
		step = q->elem;
	}
	if (__builtin_mul_overflow(n, step, &at) ||
	    __builtin_add_overflow(at, q->offset, &at))
		return UINT64_MAX;
	return at;
}

void memwire_put_request(uint8_t *at, const struct memwire_request *q)
{
	const struct request w = {
		.magic = MEMWIRE_MAGIC,
		.kind = q->kind,
		.flags = q->flags,
		.by = htobe32(q->by),
		.tag = htobe64(q->tag),
		.region = htobe64(q->region),
		.item = htobe64(q->item),
		.offset = htobe64(q->offset),
		.stride = htobe64(q->stride),
		.elem = htobe32(q->elem),
		.count = htobe32(q->count),
	};

	memcpy(at, &w, sizeof(w));
}

static int check(const struct memwire_request *q, size_t rest,
		 struct errmsg *err)
{
	size_t index = q->flags & MEMWIRE_INDEXED ? (size_t)q->count * 8 : 0;
	size_t data;

	if (!q->kind || q->kind >= MEMWIRE_KINDS ||
	    (q->flags & ~(MEMWIRE_INDEXED | MEMWIRE_FETCH | MEMWIRE_USER)))
		return errmsg_say(err, -EPROTO, "kind %u, flags %u of memory",
				  q->kind, q->flags);
	if (!q->elem || !q->count || q->count > MEMWIRE_COUNT ||
	    q->elem > MEMWIRE_DATA || memwire_bytes(q) > MEMWIRE_DATA ||
	    (q->kind == MEMWIRE_ATOMIC && (q->elem != MEMWORD_ENTRY || index)))
		return errmsg_say(err, -EPROTO,
				  "%u elements of %u bytes of memory", q->count,
				  q->elem);
	data = q->kind == MEMWIRE_GET ? 0 : memwire_bytes(q);
	if (rest != index + data)
		return errmsg_say(err, -EPROTO,
				  "%zu bytes behind a request of memory", rest);
	return 0;
}

int memwire_take_request(const char *msg, size_t len,
			 struct memwire_request *ret, struct errmsg *err)
{
	const uint8_t *rest = (const uint8_t *)msg + MEMWIRE_REQUEST;
	struct request w;
	int r;

	if (len < sizeof(w))
		return errmsg_say(err, -EPROTO, "%zu bytes about memory", len);
	memcpy(&w, msg, sizeof(w));
	*ret = (struct memwire_request){
		.kind = w.kind,
		.flags = w.flags,
		.by = be32toh(w.by),
		.tag = be64toh(w.tag),
		.region = be64toh(w.region),
		.item = be64toh(w.item),
		.offset = be64toh(w.offset),
		.stride = be64toh(w.stride),
		.elem = be32toh(w.elem),
		.count = be32toh(w.count),
	};
	r = check(ret, len - sizeof(w), err);
	if (r < 0)
		return r;
	if (ret->flags & MEMWIRE_INDEXED) {
		ret->index = rest;
		rest += (size_t)ret->count * 8;
	}
	ret->data = rest;
	return 0;
}

void memwire_put_answer(uint8_t *at, const struct memwire_answer *a)
{
	const struct answer w = {
		.magic = MEMWIRE_MAGIC,
		.error = htobe16((uint16_t)a->error),
		.done = htobe32(a->done),
		.tag = htobe64(a->tag),
	};

	memcpy(at, &w, sizeof(w));
}

int memwire_take_answer(const char *msg, size_t len, struct memwire_answer *ret,
			struct errmsg *err)
{
	struct answer w;

	if (len < sizeof(w) || len > sizeof(w) + MEMWIRE_DATA)
		return errmsg_say(err, -EPROTO, "%zu bytes of memory", len);
	memcpy(&w, msg, sizeof(w));
	*ret = (struct memwire_answer){
		.tag = be64toh(w.tag),
		.error = (int16_t)be16toh(w.error),
		.done = be32toh(w.done),
		.data = (const uint8_t *)msg + sizeof(w),
		.len = len - sizeof(w),
	};
	return 0;
}
