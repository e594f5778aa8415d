#include <config.h>

#include "feed.h"

#include <stdlib.h>

struct feed {
	json_t **ring; /* @depth; NULL: none yet */
	size_t depth;
	uint64_t next;
	LIST_HEAD(, feed_watch) watches;
	struct feed_watch *told; /* the next to be told */
};

struct feed *feed_new(size_t depth)
{
	struct feed *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->ring = calloc(depth, sizeof(json_t *));
	if (!f->ring) {
		free(f);
		return NULL;
	}
	f->depth = depth;
	f->next = 1;
	LIST_INIT(&f->watches);
	return f;
}

void feed_free(struct feed *f)
{
	if (!f)
		return;
	for (size_t i = 0; i < f->depth; i++)
		json_decref(f->ring[i]);
	free(f->ring);
	free(f);
}

/* One that is told may end its watch, or the one behind it. */
static void tell(struct feed *f)
{
	struct feed_watch *w = LIST_FIRST(&f->watches);

	while (w) {
		f->told = LIST_NEXT(w, link);
		w->fn(w->arg);
		w = f->told;
	}
	f->told = NULL;
}

void feed_add(struct feed *f, json_t *entry)
{
	json_t **place = &f->ring[f->next % f->depth];

	if (!entry)
		return;
	json_object_set_new(entry, "seq", json_integer((json_int_t)f->next));
	json_decref(*place);
	*place = entry;
	f->next++;
	tell(f);
}

uint64_t feed_next(const struct feed *f)
{
	return f->next;
}

const json_t *feed_read(const struct feed *f, uint64_t *at, uint64_t *ret_lost)
{
	uint64_t oldest = f->next > f->depth ? f->next - f->depth : 1;

	*ret_lost = *at < oldest ? oldest - *at : 0;
	if (*at < oldest)
		*at = oldest;
	if (*at >= f->next)
		return NULL;
	return f->ring[(*at)++ % f->depth];
}

void feed_watch(struct feed *f, struct feed_watch *w)
{
	LIST_INSERT_HEAD(&f->watches, w, link);
}

void feed_unwatch(struct feed *f, struct feed_watch *w)
{
	if (f->told == w)
		f->told = LIST_NEXT(w, link);
	LIST_REMOVE(w, link);
}
