/* memwire.h - fabric-attached memory of another node: what helpers say of it
 *
 * A request is carried out by the helper that keeps the memory, and answered
 * once. Both are messages between tasks (opmsg.h) whose first byte is no
 * JSON's; doc/net.md draws them. Numbers are big endian.
 *
 * Pure; the parsers trust nothing.
 */
#ifndef VMSTEP_MEMWIRE_H
#define VMSTEP_MEMWIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "errmsg.h"

#define MEMWIRE_MAGIC	'M'
#define MEMWIRE_DATA	(256 * 1024) /* of the memory, in one message */
#define MEMWIRE_COUNT	8192	     /* elements of one message */
#define MEMWIRE_REQUEST 64	     /* bytes before indices and data */
#define MEMWIRE_ANSWER	16
#define MEMWIRE_MAX	(MEMWIRE_REQUEST + MEMWIRE_COUNT * 8 + MEMWIRE_DATA)

enum memwire_kind {
	MEMWIRE_PUT = 1,
	MEMWIRE_GET,
	MEMWIRE_ATOMIC, /* entries of memword.h */
	MEMWIRE_KINDS,
};

enum {
	MEMWIRE_INDEXED = 1, /* count indices (8 bytes each) come first */
	MEMWIRE_FETCH = 2,   /* what words were is wanted */
	MEMWIRE_USER = 4,    /* the step's user asks, who may do all */
};

struct memwire_request {
	uint8_t kind, flags;
	uint32_t by; /* the rank that asks */
	uint64_t tag;
	uint64_t region, item;
	/* @count elements of @elem bytes each: the first at @offset in the
	 * item, each next one @stride bytes further; or, with indices, at
	 * @offset and an index times @elem. */
	uint64_t offset, stride;
	uint32_t elem, count;
	const uint8_t *index; /* borrowed; NULL: none */
	const uint8_t *data;  /* borrowed: what is put, or entries */
};

struct memwire_answer {
	uint64_t tag;
	int16_t error; /* enum rpc_error; 0: all is done */
	uint32_t done; /* entries that were applied */
	/* What was got; what words were; words about an error. */
	const uint8_t *data;
	size_t len;
};

/* How many bytes the request's elements have. */
static inline size_t memwire_bytes(const struct memwire_request *q)
{
	return (size_t)q->elem * q->count;
}
/* Where element @i begins, in the item; UINT64_MAX: nowhere. */
uint64_t memwire_at(const struct memwire_request *q, uint32_t i);

/* Is this one of ours? */
static inline bool memwire_is(const char *msg, size_t len)
{
	return len > 0 && msg[0] == MEMWIRE_MAGIC;
}
static inline bool memwire_is_answer(const char *msg, size_t len)
{
	return len > 1 && msg[1] == 0;
}

/* Write the head of @q to @at (MEMWIRE_REQUEST bytes); indices and data are the
 * caller's to write behind it. */
void memwire_put_request(uint8_t *at, const struct memwire_request *q);
void memwire_put_answer(uint8_t *at, const struct memwire_answer *a);
/* -EPROTO with words. What is borrowed points into @msg. */
int memwire_take_request(const char *msg, size_t len,
			 struct memwire_request *ret, struct errmsg *err);
int memwire_take_answer(const char *msg, size_t len, struct memwire_answer *ret,
			struct errmsg *err);

#endif
