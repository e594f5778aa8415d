#include <config.h>

#include "isofile.h"

#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"

#define PIECE 65536

static int failed_in(struct archive *a, struct errmsg *err)
{
	return errmsg_say(err, -EIO, "libarchive: %s", archive_error_string(a));
}

struct archive *isofile_new(int fd, const char *label, struct errmsg *err)
{
	struct archive *a = archive_write_new();
	char options[96];

	if (!a) {
		errmsg_set(err, -ENOMEM, "ISO image");
		return NULL;
	}
	snprintf(options, sizeof(options),
		 "volume-id=%s,rockridge=useful,joliet", label);
	if (archive_write_set_format_iso9660(a) == ARCHIVE_OK &&
	    archive_write_set_options(a, options) == ARCHIVE_OK &&
	    archive_write_open_fd(a, fd) == ARCHIVE_OK)
		return a;
	failed_in(a, err);
	archive_write_free(a);
	return NULL;
}

static int put_header(struct archive *a, const char *name, mode_t type,
		      mode_t mode, off_t size, struct errmsg *err)
{
	struct archive_entry *e = archive_entry_new();
	int r = 0;

	if (!e)
		return errmsg_set(err, -ENOMEM, "ISO image");
	archive_entry_set_pathname(e, name);
	archive_entry_set_filetype(e, type);
	archive_entry_set_perm(e, mode);
	if (type == AE_IFREG)
		archive_entry_set_size(e, size);
	if (archive_write_header(a, e) != ARCHIVE_OK)
		r = failed_in(a, err);
	archive_entry_free(e);
	return r;
}

int isofile_put(struct archive *a, const char *name, mode_t mode,
		const void *bytes, size_t size, struct errmsg *err)
{
	int r = put_header(a, name, AE_IFREG, mode, (off_t)size, err);

	if (r == 0 && archive_write_data(a, bytes, size) != (la_ssize_t)size)
		r = failed_in(a, err);
	return r;
}

/* -- a tree ---------------------------------------------------------------- */

static int put_data(struct archive *a, const char *path, off_t size,
		    struct errmsg *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char piece[PIECE];

	if (fd < 0)
		return errmsg_set(err, -errno, "%s", path);
	while (size > 0) {
		size_t most = size < PIECE ? (size_t)size : PIECE;
		ssize_t n = read(fd, piece, most);

		if (n <= 0)
			return errmsg_set(err, n < 0 ? -errno : -EIO, "%s",
					  path);
		if (archive_write_data(a, piece, (size_t)n) != n)
			return failed_in(a, err);
		size -= n;
	}
	return 0;
}

/* Whoever named a directory did not mean what is elsewhere. */
static int check_is_in(const char *path, const char *dir, size_t n,
		       struct errmsg *err)
{
	_cleanup_free_ char *real = realpath(path, NULL);

	if (!real)
		return errmsg_set(err, -errno, "%s", path);
	if (strncmp(real, dir, n) == 0 && (!real[n] || real[n] == '/'))
		return 0;
	return errmsg_say(err, -EXDEV,
			  "%s leads out of %s, to %s: put a copy there", path,
			  dir, real);
}

static int put_entry(struct archive *a, const FTSENT *e, const char *dir,
		     struct errmsg *err)
{
	const struct stat *st = e->fts_statp;
	const size_t n = strlen(dir);
	const char *name = e->fts_path + n + 1;
	int r = e->fts_info == FTS_DP ? 0
				      : check_is_in(e->fts_path, dir, n, err);

	if (r < 0)
		return r;
	switch (e->fts_info) {
	case FTS_DP:
		return 0;
	case FTS_D:
		return e->fts_level == 0
			       ? 0
			       : put_header(a, name, AE_IFDIR, 0755, 0, err);
	case FTS_F:
		r = put_header(a, name, AE_IFREG, st->st_mode & 0777,
			       st->st_size, err);
		return r < 0 ? r : put_data(a, e->fts_path, st->st_size, err);
	case FTS_DNR:
	case FTS_ERR:
	case FTS_NS:
		return errmsg_set(err, -e->fts_errno, "%s", e->fts_path);
	default:
		return errmsg_say(
			err, -EINVAL,
			"%s: neither a file nor a directory, nor a link to one",
			e->fts_path);
	}
}

int isofile_put_tree(struct archive *a, const char *dir, struct errmsg *err)
{
	_cleanup_free_ char *path = strdup(dir);
	char *const paths[] = { path, NULL };
	FTS *tree =
		path ? fts_open(paths, FTS_LOGICAL | FTS_NOCHDIR, NULL) : NULL;
	const FTSENT *e;
	int r = 0;

	if (!tree)
		return errmsg_set(err, path ? -errno : -ENOMEM, "%s", dir);
	while (r == 0 && (e = fts_read(tree)))
		r = put_entry(a, e, dir, err);
	fts_close(tree);
	return r;
}

/* -- its end --------------------------------------------------------------- */

int isofile_end(struct archive *a, int failed, struct errmsg *err)
{
	int r = failed;

	if (!failed && archive_write_close(a) != ARCHIVE_OK)
		r = failed_in(a, err);
	archive_write_free(a);
	return r;
}

int isofile_reopen(int fd, struct errmsg *err)
{
	char path[64];
	int r;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	r = open(path, O_RDONLY | O_CLOEXEC);
	return r >= 0 ? r : errmsg_set(err, -errno, "ISO image");
}
