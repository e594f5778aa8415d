#include <config.h>

#include "copyfile.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "cleanup.h"
#include "value.h"

#define CHUNK	(16ull << 20)
#define BY_HAND (1u << 20) /* where the kernel does not copy by itself */

struct copying {
	int from, to;
	uint64_t size;
	bool by_hand;
	copyfile_fn progress;
	void *arg;
};

/* -- room ------------------------------------------------------------------ */

/* Sparse files take what they have, not their size. */
static int check_room(const struct copying *c, const struct stat *from,
		      struct errmsg *err)
{
	uint64_t need = (uint64_t)from->st_blocks * 512, have, room;
	char want[16], free_text[16];
	struct statvfs fs;
	struct stat to;

	if (fstat(c->to, &to) < 0 || fstatvfs(c->to, &fs) < 0)
		return errmsg_set(err, -errno, "copy");
	have = (uint64_t)to.st_blocks * 512;
	room = (uint64_t)fs.f_bavail * fs.f_frsize;
	if (need <= have || need - have <= room)
		return 0;
	value_size_text(need - have, want);
	value_size_text(room, free_text);
	return errmsg_say(err, -ENOSPC,
			  "it takes %s, and there is room for %s only", want,
			  free_text);
}

/* -- bytes ----------------------------------------------------------------- */

static ssize_t copy_by_hand(const struct copying *c, uint64_t off, uint64_t n)
{
	_cleanup_free_ char *buf = malloc(BY_HAND);
	ssize_t got, done = 0;

	if (!buf)
		return -ENOMEM;
	got = pread(c->from, buf, n < BY_HAND ? (size_t)n : BY_HAND,
		    (off_t)off);
	if (got < 0)
		return -errno;
	while (done < got) {
		ssize_t put = pwrite(c->to, buf + done, (size_t)(got - done),
				     (off_t)off + done);

		if (put < 0)
			return -errno;
		done += put;
	}
	return got;
}

/* Some of the @n bytes at @off: how many, or -errno. */
static ssize_t copy_some(struct copying *c, uint64_t off, uint64_t n)
{
	off_t in = (off_t)off, out = (off_t)off;
	ssize_t done;

	if (c->by_hand)
		return copy_by_hand(c, off, n);
	done = copy_file_range(c->from, &in, c->to, &out, (size_t)n, 0);
	if (done > 0)
		return done;
	if (done < 0 && errno != EXDEV && errno != EINVAL && errno != ENOSYS &&
	    errno != EOPNOTSUPP)
		return -errno;
	c->by_hand = true; /* some file systems also say 0 for it */
	return copy_by_hand(c, off, n);
}

static int copy_extent(struct copying *c, uint64_t off, uint64_t end,
		       struct errmsg *err)
{
	while (off < end) {
		uint64_t n = end - off < CHUNK ? end - off : CHUNK;
		ssize_t done = copy_some(c, off, n);

		if (done == -EINTR)
			continue;
		if (done < 0)
			return errmsg_set(err, (int)done, "copy");
		if (done == 0)
			return errmsg_say(
				err, -ENODATA,
				"it became shorter while it was copied");
		off += (uint64_t)done;
		if (c->progress)
			c->progress(off, c->size, c->arg);
	}
	return 0;
}

/* The next extent at or after @off; false: there is none. A file system that
 * knows no holes has one extent. */
static bool next_extent(const struct copying *c, uint64_t off, uint64_t *start,
			uint64_t *end)
{
	off_t at = lseek(c->from, (off_t)off, SEEK_DATA), hole;

	*start = off;
	*end = c->size;
	if (at < 0)
		return errno != ENXIO && off < c->size;
	if ((uint64_t)at >= c->size)
		return false;
	*start = (uint64_t)at;
	hole = lseek(c->from, at, SEEK_HOLE);
	if (hole > at && (uint64_t)hole < c->size)
		*end = (uint64_t)hole;
	return true;
}

int copyfile(int from, int to, uint64_t resume, copyfile_fn progress, void *arg,
	     struct errmsg *err)
{
	struct copying c = {
		.from = from, .to = to, .progress = progress, .arg = arg
	};
	uint64_t start, end, off = resume;
	struct stat st;
	int r;

	if (fstat(from, &st) < 0)
		return errmsg_set(err, -errno, "copy");
	c.size = (uint64_t)st.st_size;
	if (ioctl(to, FICLONE, from) == 0)
		return 0;
	r = check_room(&c, &st, err);
	while (r == 0 && next_extent(&c, off, &start, &end)) {
		r = copy_extent(&c, start, end, err);
		off = end;
	}
	if (r == 0 && ftruncate(to, st.st_size) < 0)
		r = errmsg_set(err, -errno, "copy");
	return r;
}
