/* memlink.h - what this task wants of items of fabric-attached memory
 *
 * To be put, got or changed, by the helper that keeps them (memkeep.h), here or
 * on another node: in pieces, several on their way, as there is room. The other
 * end of it is this node's window, or bytes that came with the request. One
 * that found no room is sent again; one that may have been lost fails, since
 * who knows whether it was done.
 *
 * Owns:    what is under way: MEMLINK_TRANSFERS.
 * Borrows: the loop, the peers, the keeper's window.
 * Thread:  the loop's.
 */
#ifndef VMSTEP_HELPER_MEMLINK_H
#define VMSTEP_HELPER_MEMLINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "loop.h"
#include "memdir.h"
#include "memkeep.h"
#include "memwire.h"
#include "peers.h"

#define MEMLINK_TRANSFERS 1024
#define MEMLINK_PIECES	  256 /* under way */
#define MEMLINK_EACH	  16  /* of one transfer */

struct memlink;

struct memlink_want {
	uint8_t kind; /* enum memwire_kind */
	bool fetch;
	struct mem_who who;
	uint64_t region, item, offset;
	/* As in struct memwire_request; one element of any length, or many of
	 * MEMWIRE_DATA at most. */
	uint64_t elem, count, stride;
	uint64_t *index; /* owned; NULL: none */
	/* This node's end: bytes (owned, memlink_bytes()), or a place in the
	 * window, which is checked. */
	char *data;
	uint64_t at;
};

/* @code is 0, or an enum rpc_error with @text. @done entries were applied.
 * @want is borrowed, with what was got, or words were, in its data. */
typedef void (*memlink_fn)(const struct memlink_want *want, int code,
			   const char *text, uint32_t done, void *arg);

/* -ENOMEM. */
int memlink_new(struct loop *l, struct peers *p, struct memkeep *k,
		struct memlink **ret);
/* NULL is fine; @fn of what is under way is called. */
void memlink_free(struct memlink *m);

/* @fn is called after a transfer has ended, also one that was forgotten. */
void memlink_watch(struct memlink *m, void (*fn)(void *arg), void *arg);

/* At this node's end: entries, or elements. */
uint64_t memlink_bytes(const struct memlink_want *want);
/* 0, and @fn is called once, later; what @want owns is taken over, then only.
 * -EBUSY: MEMLINK_TRANSFERS; -E2BIG: elements that are too large, or too many
 * entries; -ENOMEM. */
int memlink_begin(struct memlink *m, const struct memlink_want *want,
		  memlink_fn fn, void *arg);
/* @arg does not want to know any more, and what is on its way to the window
 * does not get there. */
void memlink_forget(struct memlink *m, const void *arg);

/* Does something under way use this piece of the window? */
bool memlink_uses(const struct memlink *m, uint64_t at, uint64_t len);
size_t memlink_pending(const struct memlink *m);
/* Of the last that was begun; and is one that old, or older, under way? */
uint64_t memlink_last(const struct memlink *m);
bool memlink_has(const struct memlink *m, uint64_t upto);

#endif
