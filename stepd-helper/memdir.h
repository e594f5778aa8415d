/* memdir.h - what is where in a node's fabric-attached memory
 *
 * Regions are pieces of the window, the last of it first, so that programs that
 * use the window by themselves have its begin, a quarter of which regions of
 * tasks leave alone; behind them, in the last quarter at the most, each task of
 * the node has scratch. Items are pieces of a region. Region and item have
 * numbers that never come again, and bits of permission: the task that made one
 * is its owner, all others are others, and the group's bits are nobody's. The
 * step's user may do all.
 *
 * One helper of a node keeps it: the lowest rank's.
 *
 * Owns:    regions and items: MEMDIR_REGIONS, and MEMDIR_ITEMS in all.
 * Pure:    touches no memory of the window. Thread: the loop's.
 */
#ifndef VMSTEP_HELPER_MEMDIR_H
#define VMSTEP_HELPER_MEMDIR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "errmsg.h"

#define MEMDIR_REGIONS	1024
#define MEMDIR_ITEMS	65536
#define MEMDIR_NAME_MAX 128  /* bytes */
#define MEMDIR_PAGE	4096 /* regions begin and end at these */
#define MEMDIR_ALIGN	64   /* of an item, where nobody says more */
#define MEMDIR_SCRATCH	(8 * 1024 * 1024)
#define MEMDIR_USER	UINT32_MAX /* as an owner: the step's */

/* Who asks. */
struct mem_who {
	uint32_t rank;
	bool user; /* the step's, who may do all */
};

struct item {
	TAILQ_ENTRY(item) link; /* in the order of their places */
	LIST_ENTRY(item) by_id;
	struct region *region;
	uint64_t id;
	uint64_t offset, bytes; /* in the region */
	unsigned int mode;
	uint32_t owner;
	char name[MEMDIR_NAME_MAX + 1]; /* "" none */
};

struct region {
	TAILQ_ENTRY(region) link; /* in the order of their places */
	uint64_t id;
	uint64_t at, bytes; /* in the window */
	uint64_t used;	    /* by items */
	unsigned int mode;
	uint32_t owner;
	TAILQ_HEAD(item_list, item) items;
	char name[MEMDIR_NAME_MAX + 1];
};

struct memdir;

/* Of a window of @bytes, kept by @rank, whose node has @tasks. NULL: no
 * memory. */
struct memdir *memdir_new(uint64_t bytes, uint32_t rank, uint32_t tasks);
void memdir_free(struct memdir *d); /* NULL is fine */

uint64_t memdir_used(const struct memdir *d);
/* In the order of their places. NULL: no more. */
struct region *memdir_next(const struct memdir *d, const struct region *after);
/* By whom a region is kept. */
uint32_t memdir_home(uint64_t region);

/* Each 0 or, with words, -EEXIST, -ENOSPC, -EDQUOT (too many), -ENOMEM. @bytes
 * of regions are rounded up to whole pages. @owner is a task or MEMDIR_USER. */
int memdir_region_new(struct memdir *d, const char *name, uint64_t bytes,
		      unsigned int mode, uint32_t owner, struct region **ret,
		      struct errmsg *err);
/* It grows and shrinks at its end; -EBUSY: an item is there. */
int memdir_region_resize(struct memdir *d, struct region *g, uint64_t bytes,
			 struct errmsg *err);
/* With all its items. */
void memdir_region_free(struct memdir *d, struct region *g);
struct region *memdir_region(const struct memdir *d, uint64_t id);

/* @name "": none. @align is a power of two, up to a page. */
int memdir_item_new(struct memdir *d, struct region *g, const char *name,
		    uint64_t bytes, uint64_t align, unsigned int mode,
		    uint32_t owner, struct item **ret, struct errmsg *err);
void memdir_item_free(struct memdir *d, struct item *i);
struct item *memdir_item(const struct memdir *d, const struct region *g,
			 uint64_t id);
struct item *memdir_item_named(const struct region *g, const char *name);

/* A piece of the window for @rank's own use, the same each time; @rank is one
 * of the node's. -ENOSPC. */
int memdir_scratch(struct memdir *d, uint32_t rank, uint64_t *ret_at,
		   uint64_t *ret_bytes, struct errmsg *err);

/* May it read (4), write (2)? */
bool mem_may(const struct mem_who *who, unsigned int mode, uint32_t owner,
	     unsigned int want);

#endif
