#include <config.h>

#include "fam.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "cleanup.h"
#include "filelock.h"
#include "log.h"
#include "made.h"
#include "value.h"

#define FAM_DIR "/dev/shm" /* Linux's place for memory that is shared */

static int errno_of(int result)
{
	return result < 0 ? -errno : 0;
}

/* -- the object ------------------------------------------------------------ */

/* Only what is in memory vmstep-net maps, with the rest of a guest's. */
static int check_kind(int fd, const char *path, const struct task *t,
		      const struct spec *s, struct errmsg *err)
{
	struct statfs fs;

	if (fstatfs(fd, &fs) < 0)
		return errmsg_set(err, -errno, "%s", path);
	if (fs.f_type == TMPFS_MAGIC || fs.f_type == HUGETLBFS_MAGIC)
		return 0;
	if (s->net == NET_VHOST_USER)
		return errmsg_say(
			err, -EINVAL,
			"%s is not in memory: name a file on tmpfs, as %s is, or hugetlbfs; or say --vm-net=stream, whose ports do without the guest's memory",
			path, FAM_DIR);
	if (t->local_tasks < t->ranks &&
	    (fs.f_type == NFS_SUPER_MAGIC || fs.f_type == SMB_SUPER_MAGIC ||
	     fs.f_type == FUSE_SUPER_MAGIC || fs.f_type == CEPH_SUPER_MAGIC))
		return errmsg_say(
			err, -EINVAL,
			"%s is on a file system of the network, and the nodes of the step would not see each other's changes: name a file of each node's own",
			path);
	return 0;
}

/* A file in memory takes its room when it is written to, and a guest that finds
 * none is ended by the kernel: better said before. */
static int check_room(int fd, const struct stat *st, const char *path,
		      uint64_t bytes, struct errmsg *err)
{
	uint64_t has = (uint64_t)st->st_blocks * 512, room;
	char want[16], have[16];
	struct statfs fs;

	if (fstatfs(fd, &fs) < 0)
		return errmsg_set(err, -errno, "%s", path);
	room = (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize;
	if (!fs.f_blocks || has >= bytes || room >= bytes - has)
		return 0; /* a tmpfs without limit has no blocks */
	value_size_text(bytes - has, want);
	value_size_text(room, have);
	return errmsg_say(
		err, -ENOSPC,
		"%s wants %s, and its file system has %s free: ask for less, or name another place by file=",
		path, want, have);
}

/* Its size, which the first gives it. */
static int check_size(int fd, const char *path, uint64_t bytes,
		      struct errmsg *err)
{
	char want[16], have[16];
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return errmsg_set(err, -errno, "%s", path);
	if (!S_ISREG(st.st_mode))
		return errmsg_say(err, -EINVAL, "%s is no regular file", path);
	if (st.st_uid != geteuid())
		return errmsg_say(
			err, -EPERM,
			"%s belongs to user %u, who would see what guests write: name one of your own",
			path, st.st_uid);
	if (st.st_size && (uint64_t)st.st_size != bytes) {
		value_size_text(bytes, want);
		value_size_text((uint64_t)st.st_size, have);
		return errmsg_say(
			err, -EINVAL,
			"%s is there and has %s, not %s: ask for what it has, or remove it",
			path, have, want);
	}
	r = check_room(fd, &st, path, bytes, err);
	if (r == 0 && !st.st_size && ftruncate(fd, (off_t)bytes) < 0)
		r = errmsg_set(err, -errno, "%s", path);
	return r;
}

static int open_object(const char *path, int flags, const struct task *t,
		       const struct spec *s, struct errmsg *err)
{
	int fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC | flags, 0600);
	int r = fd < 0 ? errmsg_set(err, -errno, "%s", path) : 0;

	if (r == 0 && filelock(fd, false) == -EBUSY)
		r = errmsg_say(err, -EBUSY,
			       "%s is locked for writing by another VM", path);
	if (r == 0)
		r = check_kind(fd, path, t, s, err);
	if (r == 0)
		r = check_size(fd, path, s->fam.bytes, err);
	if (r == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return r;
}

/* -- the step's own -------------------------------------------------------- */

/* -EEXIST: another task of the node was first. */
static int make_own(const struct task *t, const struct spec *s,
		    const char *link, struct errmsg *err)
{
	char path[PATH_MAX];
	uint64_t random;
	int fd, r;

	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		return errmsg_set(err, -EIO, "random numbers");
	snprintf(path, sizeof(path), FAM_DIR "/vmstep.%s.%016" PRIx64, t->step,
		 random);
	r = made_record(t, path, err);
	if (r < 0)
		return r;
	fd = open_object(path, O_CREAT | O_EXCL | O_NOFOLLOW, t, s, err);
	if (fd < 0)
		r = fd;
	else
		r = errno_of(symlink(path, link));
	if (r == 0) {
		log_debug("fabric-attached memory: %s", path);
		return fd;
	}
	if (fd >= 0) {
		unlink(path);
		close(fd);
		errmsg_set(err, r, "%s", link);
	}
	return r;
}

static int open_own(const struct task *t, const struct spec *s,
		    const char *link, struct errmsg *err)
{
	char path[PATH_MAX];
	ssize_t n = readlink(link, path, sizeof(path) - 1);

	if (n < 0)
		return errmsg_set(err, -errno, "%s", link);
	path[n] = '\0';
	return open_object(path, O_NOFOLLOW, t, s, err);
}

int fam_open(const struct task *t, const struct spec *s, struct errmsg *err)
{
	_cleanup_free_ char *real = NULL;
	char link[PATH_MAX];
	int fd;

	snprintf(link, sizeof(link), "%s/" FAM_LINK, t->step_dir);
	if (!s->fam.file) {
		fd = open_own(t, s, link, err);
		if (fd == -ENOENT)
			fd = make_own(t, s, link, err);
		if (fd == -EEXIST)
			fd = open_own(t, s, link, err);
		return fd < 0 ? errmsg_prefix(err, fd, "--vm-fam") : fd;
	}
	fd = open_object(s->fam.file, O_CREAT, t, s, err);
	if (fd < 0)
		return errmsg_prefix(err, fd, "--vm-fam");
	real = realpath(s->fam.file, NULL);
	if (!real || (symlink(real, link) < 0 && errno != EEXIST))
		log_warn("%s: %s", link, strerror(errno));
	return fd;
}
