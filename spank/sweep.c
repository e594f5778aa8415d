/* sweep.c - remove what a step left in the runtime directory
 *
 * Root walks directories that their user could change at the same time, so
 * every step is relative to a descriptor opened without following links, and
 * nothing is removed but names below the step's own directory. They could also
 * have moved a directory of somebody else's there that they may write to: such
 * a one is not walked.
 *
 * But for what helpers made elsewhere and wrote down before (made.h: symbolic
 * links made.*): copies of disks. That is removed as its user, who could do so
 * himself, and not while a VM has it locked.
 */
#include <config.h>

#include "plugin.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sys/syscall.h>

#include "cleanup.h"
#include "filelock.h"
#include "newfile.h"

#define MAX_DEPTH 8

static int open_dir_at(int at, const char *name)
{
	return openat(at, name,
		      O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* -1: there is none, or it is another's than @uid's. */
static int open_dir_of(int at, const char *name, uid_t uid)
{
	_cleanup_close_ int fd = open_dir_at(at, name);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || st.st_uid != uid)
		return -1;
	return TAKE_FD(fd);
}

/* -- as the user ----------------------------------------------------------- */

struct ids {
	uid_t uid;
	gid_t gid;
	int n;
	gid_t *groups; /* owned */
};

/* The system calls themselves change this thread only; libc's change all. What
 * cannot be changed back would be worse than our end. */
static void be_again(const struct ids *own, int changed)
{
	if ((changed > 2 && syscall(SYS_setresuid, -1, own->uid, -1) != 0) ||
	    (changed > 1 && syscall(SYS_setresgid, -1, own->gid, -1) != 0) ||
	    (changed > 0 && syscall(SYS_setgroups, own->n, own->groups) != 0))
		abort();
}

/* How much was changed; 3: all of it. */
static int become(uid_t uid, gid_t gid)
{
	if (syscall(SYS_setgroups, 0, NULL) != 0)
		return 0;
	if (syscall(SYS_setresgid, -1, gid, -1) != 0)
		return 1;
	return syscall(SYS_setresuid, -1, uid, -1) != 0 ? 2 : 3;
}

static bool own_ids(struct ids *ret)
{
	ret->uid = geteuid();
	ret->gid = getegid();
	ret->n = getgroups(0, NULL);
	ret->groups =
		ret->n < 0 ? NULL
			   : calloc((size_t)ret->n + 1, sizeof(*ret->groups));
	return ret->groups && getgroups(ret->n, ret->groups) == ret->n;
}

/* A directory that was to be a saved step's, with files in it. */
static void remove_made_dir(const char *path)
{
	const char *slash = strrchr(path, '/');
	struct dirent *e;
	int fd;
	DIR *dir;

	if (strncmp(slash + 1, NEWFILE_DIR, strlen(NEWFILE_DIR)) != 0)
		return;
	fd = open_dir_at(AT_FDCWD, path);
	dir = fd < 0 ? NULL : fdopendir(fd);
	while (dir && (e = readdir(dir)))
		if (e->d_name[0] != '.')
			unlinkat(dirfd(dir), e->d_name, 0);
	if (dir)
		closedir(dir);
	rmdir(path);
}

static void remove_made(const char *path, uid_t uid)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (*path != '/' || lstat(path, &st) < 0 || st.st_uid != uid)
		return;
	if (S_ISDIR(st.st_mode))
		remove_made_dir(path);
	if (!S_ISREG(st.st_mode))
		return;
	fd = open(path,
		  O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd >= 0 && filelock(fd, true) != -EBUSY)
		unlink(path);
}

/* What the links in the step's directory @dir name. */
static void remove_all_made(DIR *dir, uid_t uid)
{
	char path[PATH_MAX];
	struct dirent *e;

	while ((e = readdir(dir))) {
		ssize_t n = -1;

		if (strncmp(e->d_name, "made.", 5) == 0)
			n = readlinkat(dirfd(dir), e->d_name, path,
				       sizeof(path) - 1);
		if (n < 0)
			continue;
		path[n] = '\0';
		remove_made(path, uid);
	}
}

static void remove_as(DIR *dir, uid_t uid, gid_t gid)
{
	struct ids own;
	int changed;

	if (own_ids(&own) && own.uid != 0) {
		remove_all_made(dir, own.uid); /* a slurmd of tests */
	} else if (own.groups) {
		changed = become(uid, gid);
		if (changed == 3)
			remove_all_made(dir, uid);
		be_again(&own, changed);
	}
	free(own.groups);
}

static void sweep_made_at(int at, const char *name, uid_t uid)
{
	int fd = open_dir_of(at, name, uid);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct stat st;

	if (!dir)
		return;
	if (fstat(fd, &st) == 0)
		remove_as(dir, uid, st.st_gid);
	closedir(dir);
}

/* -- in the runtime directory ---------------------------------------------- */

static void remove_tree_at(int at, const char *name, uid_t uid, int depth)
{
	struct dirent *e;
	DIR *dir = NULL;
	int fd;

	if (unlinkat(at, name, 0) == 0 || errno == ENOENT)
		return;
	fd = depth > 0 ? open_dir_of(at, name, uid) : -1;
	if (fd >= 0)
		dir = fdopendir(fd);
	if (fd >= 0 && !dir)
		close(fd);
	while (dir && (e = readdir(dir)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			remove_tree_at(dirfd(dir), e->d_name, uid, depth - 1);
	if (dir)
		closedir(dir);
	unlinkat(at, name, AT_REMOVEDIR);
}

/* Is @name "<job>." and anything after it? */
static bool of_job(const char *name, unsigned int job)
{
	char prefix[16];
	int n = snprintf(prefix, sizeof(prefix), "%u.", job);

	return strncmp(name, prefix, (size_t)n) == 0;
}

void sweep(const char *runtime_dir, unsigned int uid, unsigned int job,
	   const char *step)
{
	_cleanup_close_ int top = -1;
	struct dirent *e;
	char name[16];
	DIR *dir;
	int fd;

	top = open_dir_of(AT_FDCWD, runtime_dir, geteuid());
	if (top < 0)
		return;
	snprintf(name, sizeof(name), "%u", uid);
	fd = open_dir_of(top, name, uid);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (fd >= 0 && !dir)
		close(fd);
	while (dir && (e = readdir(dir)))
		if (step ? strcmp(e->d_name, step) == 0
			 : of_job(e->d_name, job)) {
			sweep_made_at(dirfd(dir), e->d_name, uid);
			remove_tree_at(dirfd(dir), e->d_name, uid, MAX_DEPTH);
		}
	if (dir)
		closedir(dir);
	/* fails, and should, while the user has other steps here */
	unlinkat(top, name, AT_REMOVEDIR);
}
