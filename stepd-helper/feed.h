/* feed.h - the last things that happened, by number, for who asks
 *
 * A ring of JSON objects. Each reader has a place of its own in it, the number
 * that it wants next, and holds nothing up: what the ring has overtaken is
 * counted for it.
 *
 * Owns:   the entries. Thread: the loop's.
 */
#ifndef VMSTEP_FEED_H
#define VMSTEP_FEED_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct feed;

struct feed *feed_new(size_t depth); /* NULL: no memory */
void feed_free(struct feed *f);	     /* NULL is fine */

/* @entry (stolen; NULL: no memory, and it is left out) gets its "seq", which
 * begins with 1. Watchers are told. */
void feed_add(struct feed *f, json_t *entry);
uint64_t feed_next(const struct feed *f); /* of the entry that is to come */

/* The entry *at, or the oldest that is there still (borrowed): *at is then the
 * number behind it, and *ret_lost how many were passed over. NULL: it is to
 * come. */
const json_t *feed_read(const struct feed *f, uint64_t *at, uint64_t *ret_lost);

/* Called for each entry; it may read, and end watches. */
struct feed_watch {
	LIST_ENTRY(feed_watch) link;
	void (*fn)(void *arg);
	void *arg;
};
void feed_watch(struct feed *f, struct feed_watch *w); /* borrowed */
void feed_unwatch(struct feed *f, struct feed_watch *w);

#endif
