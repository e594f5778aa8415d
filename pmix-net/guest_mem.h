/* guest_mem.h - a guest's memory, as its front end shares it
 *
 * Regions of memory, each known by two addresses: the guest's physical one,
 * which descriptors hold, and the front end's own, which the places of rings
 * come in. All begin with a page, so that what is aligned in one is in the
 * others. Memory may go away under us, since its owner cuts the file or nobody
 * has a page for it: it reads as zeroes then, and guest_mem_gone() says so
 * (sigbus.h). It is a memfd or a file of tmpfs or hugetlbfs, so that no access
 * ever waits for anybody.
 *
 * While a log is set, pages that we write are marked in it, for the front end
 * to copy them again (dirty-page log of a live migration or a save).
 *
 * Owns:    the mappings. Borrows nothing.
 * Thread:  the worker's.
 */
#ifndef VMSTEP_GUEST_MEM_H
#define VMSTEP_GUEST_MEM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "errmsg.h"
#include "sigbus.h"
#include "vhost_wire.h"

#define GUEST_MEM_SLOTS 32
#define GUEST_MEM_PAGE	4096 /* of the log */
#define GUEST_MEM_GONE	"the guest's memory went away under us"

/* What is mapped: whole pages of a file, guarded. */
struct guest_part {
	void *map;
	size_t len;
	struct sigbus_guard *guard;
};

struct guest_region {
	uint64_t guest, user, size;
	uint8_t *host; /* where we have it */
	struct guest_part part;
};

struct guest_mem {
	struct guest_region regions[GUEST_MEM_SLOTS];
	unsigned int n;
	uint8_t *log; /* NULL: none is kept */
	size_t log_len;
	struct guest_part log_part;
	atomic_bool gone; /* part of it, or of the log; stays so */
};

/* Map a region; @fd is borrowed. -EINVAL, -EEXIST where it overlaps another,
 * -ENOSPC, -EPERM where it is no file in memory, or mmap's -errno. @m stays
 * where it is from now on, until guest_mem_clear(). */
int guest_mem_add(struct guest_mem *m, const struct vhost_region *r, int fd,
		  struct errmsg *err);
/* The one with these addresses and size; -ENOENT. */
int guest_mem_remove(struct guest_mem *m, const struct vhost_region *r);
void guest_mem_clear(struct guest_mem *m); /* all, and the log */

/* Mark what is written in @fd (borrowed), a bit a page. */
int guest_mem_log(struct guest_mem *m, const struct vhost_log *log, int fd,
		  struct errmsg *err);
void guest_mem_no_log(struct guest_mem *m);
void guest_mem_mark(const struct guest_mem *m, uint64_t guest, uint64_t len);
/* The same, by our address. */
void guest_mem_mark_host(const struct guest_mem *m, const void *host,
			 uint64_t len);

/* Has some of it gone away under us? What was read since may be zeroes that
 * were never there. */
static inline bool guest_mem_gone(const struct guest_mem *m)
{
	/* relaxed: it is set in the thread that finds out */
	return atomic_load_explicit(&m->gone, memory_order_relaxed);
}

/* Where we have the front end's [user, user + len), all of it in one region;
 * NULL: we have not. */
void *guest_mem_user(const struct guest_mem *m, uint64_t user, uint64_t len);

/* Where we have guest address @guest, and in *len how much of the *len bytes
 * wanted lie there in one piece, at least 1; NULL: no such memory. */
static inline void *guest_mem_at(const struct guest_mem *m, uint64_t guest,
				 uint64_t *len)
{
	for (unsigned int i = 0; i < m->n; i++) {
		const struct guest_region *r = &m->regions[i];
		uint64_t at = guest - r->guest;

		if (at >= r->size) /* also where guest < r->guest: it wraps */
			continue;
		if (*len > r->size - at)
			*len = r->size - at;
		return r->host + at;
	}
	return NULL;
}

#endif
