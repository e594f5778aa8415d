#include <config.h>

#include "guest_mem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* -- mapping --------------------------------------------------------------- */

static bool wraps(uint64_t at, uint64_t len)
{
	return len == 0 || at + (len - 1) < at;
}

/* Can it be a part of a file? */
static bool is_part(uint64_t offset, uint64_t size)
{
	return size && size <= INT64_MAX && offset <= INT64_MAX - size;
}

static bool overlap(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
	return a < b ? b - a < a_len : a - b < b_len;
}

static int check_place(const struct guest_mem *m, const struct vhost_region *r,
		       struct errmsg *err)
{
	if (wraps(r->guest, r->size) || wraps(r->user, r->size) ||
	    !is_part(r->offset, r->size))
		return errmsg_say(err, -EINVAL,
				  "a memory region of %" PRIu64
				  " bytes at %#" PRIx64 " cannot be",
				  r->size, r->guest);
	/* so that what is aligned for the guest is aligned for us */
	if ((r->guest | r->user | r->offset) % GUEST_MEM_PAGE)
		return errmsg_say(err, -EINVAL,
				  "a memory region at %#" PRIx64 " (%#" PRIx64
				  " of the front end, %#" PRIx64
				  " of its file) does not begin with a page",
				  r->guest, r->user, r->offset);
	for (unsigned int i = 0; i < m->n; i++) {
		const struct guest_region *o = &m->regions[i];

		if (overlap(r->guest, r->size, o->guest, o->size) ||
		    overlap(r->user, r->size, o->user, o->size))
			return errmsg_say(err, -EEXIST,
					  "memory regions at %#" PRIx64
					  " and %#" PRIx64 " overlap",
					  r->guest, o->guest);
	}
	if (m->n == GUEST_MEM_SLOTS)
		return errmsg_say(err, -ENOSPC, "more than %d memory regions",
				  GUEST_MEM_SLOTS);
	return 0;
}

/* *ret_page: its size, which the mapping is to be aligned to. */
static int check_file(int fd, uint64_t end, size_t *ret_page,
		      struct errmsg *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return errmsg_set(err, -errno, "guest memory");
	/* only what is on tmpfs or hugetlbfs answers */
	if (fcntl(fd, F_GET_SEALS) < 0)
		return errmsg_say(
			err, -EPERM,
			"guest memory is no file in memory: it must be a memfd, or on tmpfs or hugetlbfs");
	if (st.st_size < 0 || end > (uint64_t)st.st_size)
		return errmsg_say(err, -EINVAL,
				  "a memory region ends at %" PRIu64
				  " of a file of %" PRId64 " bytes",
				  end, (int64_t)st.st_size);
	*ret_page = (size_t)st.st_blksize; /* a huge page's, on hugetlbfs */
	return 0;
}

/* [offset, offset + size) of @fd, wherever in a page of @page it begins. */
static int map_part(int fd, uint64_t offset, uint64_t size, size_t page,
		    atomic_bool *gone, struct guest_part *ret)
{
	size_t before = offset % page;
	size_t len = (before + size + page - 1) / page * page;
	void *map =
		mmap(NULL, len, PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_NORESERVE, fd, (off_t)(offset - before));
	int r;

	if (map == MAP_FAILED)
		return -errno;
	r = sigbus_guard(map, len, page, gone, &ret->guard);
	if (r < 0) {
		munmap(map, len);
		return r;
	}
	ret->map = map;
	ret->len = len;
	return 0;
}

static void unmap(const struct guest_part *p)
{
	sigbus_forget(p->guard);
	munmap(p->map, p->len);
}

int guest_mem_add(struct guest_mem *m, const struct vhost_region *r, int fd,
		  struct errmsg *err)
{
	struct guest_region *g = &m->regions[m->n];
	size_t page;
	int e;

	e = check_place(m, r, err);
	if (e == 0)
		e = check_file(fd, r->offset + r->size, &page, err);
	if (e < 0)
		return e;
	*g = (struct guest_region){ r->guest, r->user, r->size };
	e = map_part(fd, r->offset, r->size, page, &m->gone, &g->part);
	if (e < 0)
		return errmsg_set(err, e,
				  "map %" PRIu64 " bytes of guest memory",
				  r->size);
	g->host = (uint8_t *)g->part.map + r->offset % page;
	m->n++;
	return 0;
}

int guest_mem_remove(struct guest_mem *m, const struct vhost_region *r)
{
	for (unsigned int i = 0; i < m->n; i++) {
		struct guest_region *g = &m->regions[i];

		if (g->guest != r->guest || g->user != r->user ||
		    g->size != r->size)
			continue;
		unmap(&g->part);
		*g = m->regions[--m->n];
		return 0;
	}
	return -ENOENT;
}

void guest_mem_clear(struct guest_mem *m)
{
	while (m->n)
		unmap(&m->regions[--m->n].part);
	guest_mem_no_log(m);
}

void *guest_mem_user(const struct guest_mem *m, uint64_t user, uint64_t len)
{
	for (unsigned int i = 0; i < m->n; i++) {
		const struct guest_region *r = &m->regions[i];
		uint64_t at = user - r->user;

		if (at < r->size && len <= r->size - at)
			return r->host + at;
	}
	return NULL;
}

/* -- the log --------------------------------------------------------------- */

int guest_mem_log(struct guest_mem *m, const struct vhost_log *log, int fd,
		  struct errmsg *err)
{
	size_t page;
	int e;

	guest_mem_no_log(m);
	if (!is_part(log->offset, log->size))
		return errmsg_say(err, -EINVAL,
				  "a dirty-page log of %" PRIu64
				  " bytes cannot be",
				  log->size);
	e = check_file(fd, log->offset + log->size, &page, err);
	if (e < 0)
		return errmsg_prefix(err, e, "dirty-page log");
	e = map_part(fd, log->offset, log->size, page, &m->gone, &m->log_part);
	if (e < 0)
		return errmsg_set(err, e, "map the dirty-page log");
	m->log = (uint8_t *)m->log_part.map + log->offset % page;
	m->log_len = log->size;
	return 0;
}

void guest_mem_no_log(struct guest_mem *m)
{
	if (m->log)
		unmap(&m->log_part);
	m->log = NULL;
}

void guest_mem_mark(const struct guest_mem *m, uint64_t guest, uint64_t len)
{
	uint64_t page = guest / GUEST_MEM_PAGE;
	uint64_t last;

	if (!m->log || wraps(guest, len))
		return;
	for (last = (guest + len - 1) / GUEST_MEM_PAGE;
	     page <= last && page / 8 < m->log_len; page++)
		/* The front end takes bits away at the same time; it reads the
		 * page after that, so what we wrote must be there first. */
		__atomic_fetch_or(&m->log[page / 8],
				  (uint8_t)(1u << (page % 8)),
				  __ATOMIC_RELEASE);
}

void guest_mem_mark_host(const struct guest_mem *m, const void *host,
			 uint64_t len)
{
	const uint8_t *at = host;

	if (!m->log)
		return;
	for (unsigned int i = 0; i < m->n; i++) {
		const struct guest_region *r = &m->regions[i];

		if (at >= r->host && at < r->host + r->size) {
			guest_mem_mark(m, r->guest + (uint64_t)(at - r->host),
				       len);
			return;
		}
	}
}
