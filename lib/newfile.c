#include <config.h>

#include "newfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"

#define TRIES 100

void newfile_temp_name(char ret[NEWFILE_NAME])
{
	struct timespec ts;
	uint64_t v = 0;

	if (getrandom(&v, sizeof(v), GRND_NONBLOCK) != sizeof(v)) {
		clock_gettime(CLOCK_MONOTONIC, &ts); /* early in a boot */
		v = (uint64_t)ts.tv_nsec << 32 ^ (uint64_t)getpid();
	}
	snprintf(ret, NEWFILE_NAME, ".vmstep-%016llx", (unsigned long long)v);
}

static int open_named(int dir, struct newfile *f)
{
	for (int i = 0; i < TRIES; i++) {
		newfile_temp_name(f->temp);
		f->fd = openat(dir, f->temp,
			       O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (f->fd >= 0)
			return 0;
		if (errno != EEXIST)
			break;
	}
	f->temp[0] = '\0';
	return -errno;
}

/* Linking what has no name goes by way of /proc. */
static void own_path(const struct newfile *f, char *ret, size_t size)
{
	snprintf(ret, size, "/proc/self/fd/%d", f->fd);
}

int newfile_open(int dir, struct newfile *ret)
{
	char path[32];

	*ret = (struct newfile){ .dir = dir };
	ret->fd = openat(dir, ".", O_WRONLY | O_TMPFILE | O_CLOEXEC, 0600);
	if (ret->fd >= 0) {
		own_path(ret, path, sizeof(path));
		if (access(path, F_OK) == 0)
			return 0;
		close(TAKE_FD(ret->fd));
	}
	return open_named(dir, ret);
}

static int give_name(struct newfile *f, const char *name)
{
	char path[32];

	own_path(f, path, sizeof(path));
	return linkat(AT_FDCWD, path, f->dir, name, AT_SYMLINK_FOLLOW) < 0
		       ? -errno
		       : 0;
}

/* Something is there: only a rename can take its place. */
static int name_temp(struct newfile *f)
{
	int r = -EEXIST;

	for (int i = 0; r == -EEXIST && i < TRIES; i++) {
		newfile_temp_name(f->temp);
		r = give_name(f, f->temp);
	}
	if (r < 0)
		f->temp[0] = '\0';
	return r;
}

static int place(struct newfile *f, const char *name)
{
	int r = f->temp[0] ? -EEXIST : give_name(f, name);

	if (r == -EEXIST && !f->temp[0]) {
		r = name_temp(f);
		if (r < 0)
			return r;
		r = -EEXIST;
	}
	if (r == -EEXIST)
		r = renameat(f->dir, f->temp, f->dir, name) < 0 ? -errno : 0;
	return r;
}

static int sync_dir(int dir)
{
	_cleanup_close_ int fd =
		openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	/* some file systems have no such thing */
	return fd >= 0 && fsync(fd) < 0 && errno != EINVAL ? -errno : 0;
}

int newfile_commit(struct newfile *f, const char *name, bool sync)
{
	int r;

	if (sync && fsync(f->fd) < 0)
		return -errno;
	r = place(f, name);
	if (r < 0)
		return r;
	f->temp[0] = '\0';
	r = close(TAKE_FD(f->fd)) < 0 ? -errno : 0; /* NFS tells here */
	return r == 0 && sync ? sync_dir(f->dir) : r;
}

void newfile_done(struct newfile *f)
{
	if (f->temp[0])
		unlinkat(f->dir, f->temp, 0);
	f->temp[0] = '\0';
	if (f->fd >= 0)
		close(TAKE_FD(f->fd));
}
