/* sweep.c - remove what a step left in the runtime directory
 *
 * Root walks directories that their user could change at the same time, so
 * every step is relative to a descriptor opened without following links, and
 * nothing is removed but names below the step's own directory.
 */
#include <config.h>

#include "plugin.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"

#define MAX_DEPTH 8

static int open_dir_at(int at, const char *name)
{
	return openat(at, name,
		      O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static void remove_tree_at(int at, const char *name, int depth)
{
	_cleanup_close_ int fd = -1;
	struct dirent *e;
	DIR *dir;

	if (unlinkat(at, name, 0) == 0 || errno == ENOENT)
		return;
	fd = open_dir_at(at, name);
	if (fd < 0 || depth == 0)
		return;
	dir = fdopendir(fd);
	if (!dir)
		return;
	fd = -1; /* now the stream's */
	while ((e = readdir(dir)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			remove_tree_at(dirfd(dir), e->d_name, depth - 1);
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

	top = open(runtime_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (top < 0)
		return;
	snprintf(name, sizeof(name), "%u", uid);
	fd = open_dir_at(top, name);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir)
		return;
	while ((e = readdir(dir)))
		if (step ? strcmp(e->d_name, step) == 0
			 : of_job(e->d_name, job))
			remove_tree_at(dirfd(dir), e->d_name, MAX_DEPTH);
	closedir(dir);
	/* fails, and should, while the user has other steps here */
	unlinkat(top, name, AT_REMOVEDIR);
}
