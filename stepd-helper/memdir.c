#include <config.h>

#include "memdir.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "value.h"

#define BUCKETS 1024

TAILQ_HEAD(region_list, region);
LIST_HEAD(bucket, item);

struct memdir {
	uint64_t bytes, used;
	uint64_t end; /* of regions: there scratch begins */
	uint64_t scratch_bytes;
	uint32_t rank, tasks, n_scratch;
	uint32_t *scratch; /* whose is each? tasks of them */
	uint32_t last_region;
	uint64_t last_item;
	size_t n_regions, n_items;
	struct region_list regions;
	struct bucket items[BUCKETS];
};

/* A quarter of the window is for it at the most. */
static uint64_t scratch_share(const struct memdir *d)
{
	uint64_t share = d->bytes / 4 / d->tasks;

	share = share < MEMDIR_SCRATCH ? share : MEMDIR_SCRATCH;
	return share / MEMDIR_PAGE * MEMDIR_PAGE;
}

struct memdir *memdir_new(uint64_t bytes, uint32_t rank, uint32_t tasks)
{
	struct memdir *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->bytes = bytes;
	d->rank = rank;
	d->tasks = tasks ? tasks : 1;
	d->scratch = calloc(d->tasks, sizeof(*d->scratch));
	if (!d->scratch) {
		free(d);
		return NULL;
	}
	d->scratch_bytes = scratch_share(d);
	d->end = bytes - d->scratch_bytes * d->tasks;
	TAILQ_INIT(&d->regions);
	return d;
}

void memdir_free(struct memdir *d)
{
	struct region *g;

	if (!d)
		return;
	while ((g = TAILQ_FIRST(&d->regions)))
		memdir_region_free(d, g);
	free(d->scratch);
	free(d);
}

uint64_t memdir_used(const struct memdir *d)
{
	return d->used;
}

uint32_t memdir_home(uint64_t region)
{
	return (uint32_t)(region >> 32);
}

/* -- regions --------------------------------------------------------------- */

struct region *memdir_next(const struct memdir *d, const struct region *after)
{
	return after ? TAILQ_NEXT(after, link) : TAILQ_FIRST(&d->regions);
}

struct region *memdir_region(const struct memdir *d, uint64_t id)
{
	struct region *g;

	TAILQ_FOREACH(g, &d->regions, link)
	if (g->id == id)
		return g;
	return NULL;
}

static int too_little(uint64_t bytes, const char *where, struct errmsg *err)
{
	char want[16];

	value_size_text(bytes, want);
	return errmsg_say(err, -ENOSPC, "%s has no %s in one piece", where,
			  want);
}

/* The last gap that has room, from @least on: returns what comes behind it,
 * NULL the end of regions, and where the region begins. */
static int find_room(const struct memdir *d, uint64_t bytes, uint64_t least,
		     struct region **ret_next, uint64_t *ret_at)
{
	struct region *next = NULL, *g;
	uint64_t end = d->end, begin;

	for (g = TAILQ_LAST(&d->regions, region_list);;
	     g = TAILQ_PREV(g, region_list, link)) {
		begin = g ? g->at + g->bytes : 0;
		begin = begin > least ? begin : least;
		if (end >= begin && end - begin >= bytes) {
			*ret_next = next;
			*ret_at = end - bytes;
			return 0;
		}
		if (!g)
			return -ENOSPC;
		end = g->at;
		next = g;
	}
}

static int check_region(const struct memdir *d, const char *name,
			uint64_t bytes, struct errmsg *err)
{
	const struct region *g;

	if (d->n_regions >= MEMDIR_REGIONS)
		return errmsg_say(err, -EDQUOT, "a node has %d regions at most",
				  MEMDIR_REGIONS);
	if (bytes > d->bytes)
		return too_little(bytes, "the window", err);
	TAILQ_FOREACH(g, &d->regions, link)
	if (strcmp(g->name, name) == 0)
		return errmsg_say(err, -EEXIST, "region '%s' is there", name);
	return 0;
}

static uint64_t whole_pages(uint64_t bytes)
{
	return (bytes + MEMDIR_PAGE - 1) / MEMDIR_PAGE * MEMDIR_PAGE;
}

int memdir_region_new(struct memdir *d, const char *name, uint64_t bytes,
		      unsigned int mode, uint32_t owner, struct region **ret,
		      struct errmsg *err)
{
	bool user = owner == MEMDIR_USER;
	struct region *next, *g;
	uint64_t at;
	int r = check_region(d, name, bytes, err);

	if (r < 0)
		return r;
	bytes = whole_pages(bytes);
	if (find_room(d, bytes, user ? 0 : d->bytes / 4, &next, &at) < 0)
		return too_little(bytes,
				  user ? "the window"
				       : "the window, for regions of tasks,",
				  err);
	g = calloc(1, sizeof(*g));
	if (!g)
		return errmsg_set(err, -ENOMEM, "region");
	snprintf(g->name, sizeof(g->name), "%s", name);
	g->id = (uint64_t)d->rank << 32 | ++d->last_region;
	g->at = at;
	g->bytes = bytes;
	g->mode = mode;
	g->owner = owner;
	TAILQ_INIT(&g->items);
	if (next)
		TAILQ_INSERT_BEFORE(next, g, link);
	else
		TAILQ_INSERT_TAIL(&d->regions, g, link);
	d->n_regions++;
	d->used += bytes;
	*ret = g;
	return 0;
}

int memdir_region_resize(struct memdir *d, struct region *g, uint64_t bytes,
			 struct errmsg *err)
{
	const struct region *next = TAILQ_NEXT(g, link);
	const struct item *last = TAILQ_LAST(&g->items, item_list);
	uint64_t end = next ? next->at : d->end;

	if (bytes > end - g->at)
		return too_little(bytes, "the window, from this region on,",
				  err);
	bytes = whole_pages(bytes);
	if (last && bytes < last->offset + last->bytes)
		return errmsg_say(err, -EBUSY,
				  "an item at %" PRIu64 " is in the way",
				  last->offset);
	d->used += bytes - g->bytes;
	g->bytes = bytes;
	return 0;
}

void memdir_region_free(struct memdir *d, struct region *g)
{
	struct item *i;

	while ((i = TAILQ_FIRST(&g->items)))
		memdir_item_free(d, i);
	TAILQ_REMOVE(&d->regions, g, link);
	d->n_regions--;
	d->used -= g->bytes;
	free(g);
}

/* -- items ----------------------------------------------------------------- */

struct item *memdir_item(const struct memdir *d, const struct region *g,
			 uint64_t id)
{
	struct item *i;

	LIST_FOREACH(i, &d->items[id % BUCKETS], by_id)
	if (i->id == id && i->region == g)
		return i;
	return NULL;
}

struct item *memdir_item_named(const struct region *g, const char *name)
{
	struct item *i;

	TAILQ_FOREACH(i, &g->items, link)
	if (*name && strcmp(i->name, name) == 0)
		return i;
	return NULL;
}

/* The first gap that has room. */
static int find_place(const struct region *g, uint64_t bytes, uint64_t align,
		      struct item **ret_next, uint64_t *ret_offset)
{
	struct item *i = TAILQ_FIRST(&g->items);
	uint64_t begin = 0, end;

	for (;; i = TAILQ_NEXT(i, link)) {
		begin = (begin + align - 1) & ~(align - 1);
		end = i ? i->offset : g->bytes;
		if (begin <= end && end - begin >= bytes) {
			*ret_next = i;
			*ret_offset = begin;
			return 0;
		}
		if (!i)
			return -ENOSPC;
		begin = i->offset + i->bytes;
	}
}

int memdir_item_new(struct memdir *d, struct region *g, const char *name,
		    uint64_t bytes, uint64_t align, unsigned int mode,
		    uint32_t owner, struct item **ret, struct errmsg *err)
{
	struct item *next, *i;
	uint64_t offset;

	assert(align && align <= MEMDIR_PAGE && !(align & (align - 1)));
	if (memdir_item_named(g, name))
		return errmsg_say(err, -EEXIST, "item '%s' is there", name);
	if (d->n_items >= MEMDIR_ITEMS)
		return errmsg_say(err, -EDQUOT, "a node has %d items at most",
				  MEMDIR_ITEMS);
	if (find_place(g, bytes, align, &next, &offset) < 0)
		return too_little(bytes, "the region", err);
	i = calloc(1, sizeof(*i));
	if (!i)
		return errmsg_set(err, -ENOMEM, "item");
	snprintf(i->name, sizeof(i->name), "%s", name);
	i->region = g;
	i->id = ++d->last_item;
	i->offset = offset;
	i->bytes = bytes;
	i->mode = mode;
	i->owner = owner;
	if (next)
		TAILQ_INSERT_BEFORE(next, i, link);
	else
		TAILQ_INSERT_TAIL(&g->items, i, link);
	LIST_INSERT_HEAD(&d->items[i->id % BUCKETS], i, by_id);
	d->n_items++;
	g->used += bytes;
	*ret = i;
	return 0;
}

void memdir_item_free(struct memdir *d, struct item *i)
{
	TAILQ_REMOVE(&i->region->items, i, link);
	LIST_REMOVE(i, by_id);
	i->region->used -= i->bytes;
	d->n_items--;
	free(i);
}

/* -- scratch --------------------------------------------------------------- */

int memdir_scratch(struct memdir *d, uint32_t rank, uint64_t *ret_at,
		   uint64_t *ret_bytes, struct errmsg *err)
{
	uint32_t n = 0;

	while (n < d->n_scratch && d->scratch[n] != rank)
		n++;
	if (!d->scratch_bytes || n == d->tasks)
		return errmsg_say(
			err, -ENOSPC,
			"the window is too small for the node's tasks: ask for a larger --vm-fam");
	if (n == d->n_scratch)
		d->scratch[d->n_scratch++] = rank;
	*ret_at = d->end + n * d->scratch_bytes;
	*ret_bytes = d->scratch_bytes;
	return 0;
}

bool mem_may(const struct mem_who *who, unsigned int mode, uint32_t owner,
	     unsigned int want)
{
	unsigned int bits =
		who->rank == owner && owner != MEMDIR_USER ? mode >> 6 : mode;

	return who->user || (bits & want) == want;
}
