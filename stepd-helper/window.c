#include <config.h>

#include "window.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "fam.h"
#include "log.h"
#include "sigbus.h"

struct window {
	int fd;
	uint8_t *map;
	uint64_t bytes;
	size_t page;
	atomic_bool gone;
	struct sigbus_guard *guard;
};

/* Huge ones are as long as their file system's blocks. */
static size_t page_of(int fd)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && (size_t)fs.f_bsize > page
		       ? (size_t)fs.f_bsize
		       : page;
}

static int map_object(struct window *w, struct errmsg *err)
{
	void *map = mmap(NULL, w->bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
			 w->fd, 0);
	int r;

	if (map == MAP_FAILED)
		return errmsg_set(err, -errno, "fabric-attached memory");
	w->map = map;
	w->page = page_of(w->fd);
	r = sigbus_guard(map, w->bytes, w->page, &w->gone, &w->guard);
	return r < 0 ? errmsg_set(err, r, "fabric-attached memory") : 0;
}

int window_open(const struct task *t, const struct spec *s, struct window **ret,
		struct errmsg *err)
{
	struct window *w;
	int r;

	if (!s || !s->fam.bytes)
		return errmsg_say(
			err, -ENOTSUP,
			"this step has no fabric-attached memory: ask for it by --vm-fam=SIZE");
	w = calloc(1, sizeof(*w));
	if (!w)
		return errmsg_set(err, -ENOMEM, "fabric-attached memory");
	w->bytes = s->fam.bytes;
	w->fd = fam_open(t, s, err);
	r = w->fd < 0 ? w->fd : map_object(w, err);
	if (r < 0) {
		window_free(w);
		return r;
	}
	*ret = w;
	return 0;
}

void window_free(struct window *w)
{
	if (!w)
		return;
	sigbus_forget(w->guard);
	if (w->map)
		munmap(w->map, w->bytes);
	if (w->fd >= 0)
		close(w->fd);
	free(w);
}

uint64_t window_bytes(const struct window *w)
{
	return w->bytes;
}

bool window_is_gone(const struct window *w)
{
	return w->gone;
}

bool window_has(const struct window *w, uint64_t at, uint64_t len)
{
	return len <= w->bytes && at <= w->bytes - len;
}

void window_read(const struct window *w, uint64_t at, void *to, size_t len)
{
	assert(window_has(w, at, len));
	memcpy(to, w->map + at, len);
}

void window_write(struct window *w, uint64_t at, const void *from, size_t len)
{
	assert(window_has(w, at, len));
	memcpy(w->map + at, from, len);
}

void *window_word(struct window *w, uint64_t at, size_t size)
{
	assert(window_has(w, at, size));
	return w->map + at;
}

static bool give_back(const struct window *w, uint64_t at, uint64_t len)
{
	if (len && fallocate(w->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			     (off_t)at, (off_t)len) == 0)
		return true;
	if (len)
		log_debug("fabric-attached memory: %s", strerror(errno));
	return false;
}

void window_clear(struct window *w, uint64_t at, uint64_t len)
{
	uint64_t first = (at + w->page - 1) / w->page * w->page;
	uint64_t end = (at + len) / w->page * w->page;

	assert(window_has(w, at, len));
	if (first >= end || !give_back(w, first, end - first)) {
		memset(w->map + at, 0, len);
		return;
	}
	memset(w->map + at, 0, first - at);
	memset(w->map + end, 0, at + len - end);
}
