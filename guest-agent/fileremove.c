#include <config.h>

#include "fileremove.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"

static int remove_at(int dir, const char *name, unsigned int depth,
		     struct errmsg *err);

/* A directory may shuffle what is left when something goes, so it is read from
 * its beginning until there is nothing. */
static int empty_dir(DIR *d, unsigned int depth, struct errmsg *err)
{
	struct dirent *e;
	bool again = true;
	int r = 0;

	while (again) {
		again = false;
		rewinddir(d);
		while (r == 0 && (errno = 0, e = readdir(d))) {
			if (strcmp(e->d_name, ".") == 0 ||
			    strcmp(e->d_name, "..") == 0)
				continue;
			r = remove_at(dirfd(d), e->d_name, depth, err);
			again = true;
		}
		if (r == 0 && errno)
			r = errmsg_set(err, -errno, "directory");
		if (r < 0)
			return r;
	}
	return 0;
}

static int remove_dir(int dir, const char *name, unsigned int depth,
		      struct errmsg *err)
{
	int fd, r;
	DIR *d;

	if (depth == FILEREMOVE_DEPTH)
		return errmsg_set(err, -ENAMETOOLONG, "%s", name);
	fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errmsg_set(err, -errno, "%s", name);
	d = fdopendir(fd);
	if (!d) {
		close(fd);
		return errmsg_set(err, -ENOMEM, "%s", name);
	}
	r = empty_dir(d, depth + 1, err);
	closedir(d);
	if (r < 0)
		return errmsg_prefix(err, r, "%s", name);
	if (unlinkat(dir, name, AT_REMOVEDIR) < 0)
		return errmsg_set(err, -errno, "%s", name);
	return 0;
}

static int remove_at(int dir, const char *name, unsigned int depth,
		     struct errmsg *err)
{
	if (unlinkat(dir, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR)
		return errmsg_set(err, -errno, "%s", name);
	return remove_dir(dir, name, depth, err);
}

int fileremove(const char *path, bool recursive, struct errmsg *err)
{
	if (unlink(path) == 0)
		return 0;
	if (errno == EISDIR && recursive)
		return remove_dir(AT_FDCWD, path, 0, err);
	if (errno == EISDIR && rmdir(path) == 0)
		return 0;
	return errmsg_set(err, -errno, "%s", path);
}
