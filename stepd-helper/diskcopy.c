#include <config.h>

#include "diskcopy.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "chain.h"
#include "child.h"
#include "cleanup.h"
#include "copyfile.h"
#include "crc32c.h"
#include "disk.h"
#include "filelock.h"
#include "log.h"
#include "loop.h"
#include "qcow2.h"
#include "rootfs.h"
#include "value.h"

#define POLL_MS	     50
#define SAY_AFTER_MS 5000
#define SAY_AGAIN_MS 15000
#define REBASE_MS    60000
#define BUSY_MS	     500

void diskcopy_done(struct diskcopy *c)
{
	free(c->from);
	free(c->to);
	*c = (struct diskcopy){ 0 };
}

/* -- names ----------------------------------------------------------------- */

/* Pages that were written before the node went down may be lost, though the
 * file's size is there: then it is not gone on with. */
static void boot_id(char ret[40])
{
	_cleanup_fclose_ FILE *f =
		fopen("/proc/sys/kernel/random/boot_id", "re");

	if (!f || !fgets(ret, 40, f))
		ret[0] = '\0';
}

char *diskcopy_part(const struct diskcopy *c, struct errmsg *err)
{
	const char *name = strrchr(c->to, '/') + 1;
	char id[40], *path = NULL;
	struct stat st;
	uint32_t crc;

	if (stat(c->from, &st) < 0) {
		errmsg_set(err, -errno, "%s", c->from);
		return NULL;
	}
	boot_id(id);
	crc = crc32c(0, id, strlen(id));
	crc = crc32c(crc, &st.st_dev, sizeof(st.st_dev));
	crc = crc32c(crc, &st.st_ino, sizeof(st.st_ino));
	crc = crc32c(crc, &st.st_size, sizeof(st.st_size));
	crc = crc32c(crc, &st.st_mtim, sizeof(st.st_mtim));
	if (asprintf(&path, "%.*s.vmstep-%08x-%s", (int)(name - c->to), c->to,
		     crc, name) < 0) {
		errmsg_set(err, -ENOMEM, "%s", c->to);
		return NULL;
	}
	return path;
}

/* Is @fd what @path names? */
static bool is_named(int fd, const char *path)
{
	struct stat a, b;

	return fstat(fd, &a) == 0 && lstat(path, &b) == 0 &&
	       a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* Open a file of ours, made if @flags has O_CREAT. In a directory that is open
 * to all another user may have put something there. */
static int open_own(const char *path, int flags, struct errmsg *err)
{
	struct stat st;
	int fd = open(path,
		      flags | O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK |
			      O_NOCTTY,
		      0600);

	if (fd < 0)
		return errno == ENOENT && !(flags & O_CREAT)
			       ? -ENOENT
			       : errmsg_set(err, -errno, "%s", path);
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	    st.st_uid == geteuid())
		return fd;
	close(fd);
	return errmsg_say(
		err, -EPERM,
		"%s is there, and no file of yours: name a directory of your own by --vm-rundir",
		path);
}

/* -- one that is there ----------------------------------------------------- */

static bool is_of_image(int fd, const struct diskcopy *c)
{
	struct stat a, b;

	if (c->squash)
		return true;
	return fstat(fd, &a) == 0 && stat(c->from, &b) == 0 &&
	       a.st_mtim.tv_sec == b.st_mtim.tv_sec &&
	       a.st_mtim.tv_nsec == b.st_mtim.tv_nsec && a.st_size == b.st_size;
}

static int in_use(const struct diskcopy *c, struct errmsg *err)
{
	return errmsg_say(
		err, -EBUSY,
		"%s is the copy that another VM uses: add j or r to ctl=, or name another directory by --vm-rundir",
		c->to);
}

static bool is_used(const struct diskcopy *c)
{
	_cleanup_close_ int fd = open_own(c->to, 0, NULL);

	return fd >= 0 && filelock_by_others(fd);
}

/* A locked descriptor of the copy if it is there and good; 0: make it. */
static int take_there(const struct diskcopy *c, struct errmsg *err)
{
	_cleanup_close_ int fd = open_own(c->to, 0, err);
	bool good, others;
	int r;

	if (fd == -ENOENT)
		return 0;
	if (fd < 0)
		return fd;
	r = filelock(fd, c->own);
	if (r == -EBUSY)
		return in_use(c, err);
	if (r < 0)
		return errmsg_set(err, r, "%s: lock", c->to);
	if (!is_named(fd, c->to))
		return 0; /* just replaced or removed */
	others = filelock_by_others(fd);
	good = c->own ? !c->removed
		      : is_of_image(fd, c) && (others || !c->removed);
	if (good && c->own)
		log_info("%s is there: its disk is as an earlier step left it",
			 c->to);
	if (good)
		return TAKE_FD(fd);
	return others ? in_use(c, err) : 0;
}

/* -- making it ------------------------------------------------------------- */

struct saying {
	const struct diskcopy *c;
	int64_t next_ms;
};

static void say(struct saying *s, const char *what, uint64_t done,
		uint64_t size)
{
	char done_text[16], size_text[16];

	if (loop_now_ms() < s->next_ms)
		return;
	s->next_ms = loop_now_ms() + SAY_AGAIN_MS;
	value_size_text(done, done_text);
	value_size_text(size, size_text);
	log_info("%s %s to %s: %s of %s (%u%%)", what, s->c->from, s->c->to,
		 done_text, size_text,
		 size ? (unsigned int)(done * 100 / size) : 100);
}

struct progress {
	struct saying saying;
	int fd; /* of one that stays; -1 */
	uint64_t written;
};

/* The disk begins with what is there, so that little is left for finish() to
 * wait for. Where it cannot, all is. */
static void on_progress(uint64_t done, uint64_t size, void *arg)
{
	struct progress *p = arg;

	if (p->fd >= 0)
		sync_file_range(p->fd, (off_t)p->written,
				(off_t)(done - p->written),
				SYNC_FILE_RANGE_WRITE);
	p->written = done;
	say(&p->saying, "copying", done, size);
}

/* The file below has a name that is relative to the image's directory: give
 * the copy its absolute one. */
static int make_absolute(const struct diskcopy *c, const char *part,
			 const char *qemu, struct errmsg *err)
{
	char tool[PATH_MAX], below[PATH_MAX], format[16];
	const char *argv[] = { tool, "rebase", "-q", "-u",  "-f", "qcow2",
			       "-F", format,   "-b", below, part, NULL };
	int r;

	if (c->kind != IMAGE_QCOW2)
		return 0;
	r = chain_below(c->from, below, format, err);
	if (r <= 0)
		return r;
	disk_tool(qemu, tool, sizeof(tool));
	r = child_run(argv, -1, REBASE_MS, err);
	return r < 0 ? errmsg_prefix(err, r, "%s", c->to) : 0;
}

/* Pages of one that stays are on the disk before it has its name. */
static int finish(const struct diskcopy *c, int fd, const char *part,
		  struct errmsg *err)
{
	if (is_used(c))
		return in_use(c, err);
	if ((!c->removed && fsync(fd) < 0) || rename(part, c->to) < 0)
		return errmsg_set(err, -errno, "%s", c->to);
	return c->own ? 0 : filelock(fd, false);
}

/* By these a copy is known to be of its image. */
static int take_times(const struct diskcopy *c, int from, int fd,
		      struct errmsg *err)
{
	struct timespec times[2];
	struct stat st;

	if (fstat(from, &st) < 0)
		return errmsg_set(err, -errno, "%s", c->from);
	times[0] = st.st_atim;
	times[1] = st.st_mtim;
	return futimens(fd, times) < 0 ? errmsg_set(err, -errno, "%s", c->to)
				       : 0;
}

static int make_squash(const struct diskcopy *c, int fd, const char *part,
		       struct errmsg *err)
{
	int r;

	log_debug("making the SquashFS %s of %s", c->to, c->from);
	r = rootfs_squash(c->from, part, err);
	return r < 0 ? r : finish(c, fd, part, err);
}

/* @fd is @part's, and locked. */
static int make(const struct diskcopy *c, int fd, const char *part,
		const char *qemu, struct errmsg *err)
{
	struct progress p = { { c, loop_now_ms() + SAY_AFTER_MS },
			      c->removed ? -1 : fd,
			      0 };
	struct stat st;
	_cleanup_close_ int from =
		c->squash ? -1 : chain_open(c->from, &st, err);
	uint64_t resume;
	int r;

	if (c->squash)
		return make_squash(c, fd, part, err);
	if (from < 0)
		return from;
	r = filelock(from, false);
	if (r == -EBUSY)
		return errmsg_say(err, r, "%s is written by another VM",
				  c->from);
	if (fstat(fd, &st) < 0)
		return errmsg_set(err, -errno, "%s", part);
	resume = (uint64_t)st.st_size & ~4095ull;
	if (resume)
		log_info("going on with the copy %s", c->to);
	p.written = resume;
	r = copyfile(from, fd, resume, on_progress, &p, err);
	if (r < 0)
		return errmsg_prefix(err, r, "copy of %s in %s", c->from,
				     c->to);
	r = make_absolute(c, part, qemu, err);
	if (r == 0)
		r = take_times(c, from, fd, err);
	return r < 0 ? r : finish(c, fd, part, err);
}

/* The copy's descriptor; 0: someone else is at it */
static int try_make(const struct diskcopy *c, const char *part,
		    const char *qemu, struct saying *s, struct errmsg *err)
{
	_cleanup_close_ int fd = open_own(part, O_CREAT, err);
	struct stat st, image;
	int r;

	if (fd < 0)
		return fd;
	r = filelock(fd, true);
	if (r == -EBUSY) {
		if (!c->squash && fstat(fd, &st) == 0 &&
		    stat(c->from, &image) == 0)
			say(s, "waiting for the task that copies",
			    (uint64_t)st.st_size, (uint64_t)image.st_size);
		return 0;
	}
	if (r < 0)
		return errmsg_set(err, r, "%s: lock", part);
	if (!is_named(fd, part))
		return 0;
	r = make(c, fd, part, qemu, err);
	if (r < 0)
		unlink(part);
	return r < 0 ? r : TAKE_FD(fd);
}

int diskcopy_make(const struct diskcopy *c, const char *qemu,
		  struct errmsg *err)
{
	const struct timespec pause = { .tv_nsec = POLL_MS * 1000000l };
	struct saying s = { c, loop_now_ms() + SAY_AFTER_MS };
	_cleanup_free_ char *part = diskcopy_part(c, err);
	int64_t busy_ms = loop_now_ms() + BUSY_MS;
	int fd;

	if (!part)
		return -ENOENT;
	for (;;) {
		fd = take_there(c, err);
		if (fd == 0)
			fd = try_make(c, part, qemu, &s, err);
		/* a lock for writing may be a moment's: of who removes it, or
		 * has just made it */
		if (fd != 0 && (fd != -EBUSY || loop_now_ms() > busy_ms))
			return fd;
		nanosleep(&pause, NULL);
	}
}

void diskcopy_remove(const struct diskcopy *c, int fd)
{
	if (filelock(fd, true) == 0 && is_named(fd, c->to) && unlink(c->to) < 0)
		log_warn("%s: cannot remove the copy: %m", c->to);
}
