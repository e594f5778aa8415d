#include <config.h>

#include "tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "filedata.h"
#include "newfile.h"
#include "tar.h"

/* The directories from the first to the one that entries are made in now. An
 * archive comes depth first, so these are few; one that is left gets its time
 * and mode, which making things in it would change, or forbid. */
struct level {
	int fd;
	char *name;  /* owned; NULL: the first */
	bool made;   /* by us: what was there keeps its mode and time */
	bool listed; /* the archive says what these are */
	struct tar_entry meta; /* without texts */
};

struct receiver {
	struct tar_reader *tar;
	const struct tree_options *o;
	struct tree_counts *n;
	struct errmsg *err;
	struct level levels[TREE_DEPTH + 2];
	size_t depth; /* of levels in use, at least one */
	uint8_t *buf;
};

static int fail(struct receiver *rc, int r, const char *path)
{
	return errmsg_set(rc->err, r, "%s", path);
}

static int refuse(struct receiver *rc, const char *path, const char *why)
{
	return errmsg_say(rc->err, -EPERM, "%s: %s", path, why);
}

/* -- modes, times, owners -------------------------------------------------- */

/* Bits that give rights to whoever runs a file are for its own owner only. */
static mode_t mode_of(const struct receiver *rc, const struct tar_entry *e)
{
	return rc->o->owner ? e->mode & 07777 : e->mode & 01777;
}

static int set_meta(struct receiver *rc, int fd, const struct tar_entry *e)
{
	const struct timespec times[2] = {
		{ .tv_nsec = UTIME_OMIT },
		{ .tv_sec = e->mtime_s, .tv_nsec = e->mtime_ns },
	};

	if (rc->o->owner && fchown(fd, e->uid, e->gid) < 0)
		return -errno;
	if (fchmod(fd, mode_of(rc, e)) < 0 || futimens(fd, times) < 0)
		return -errno;
	return 0;
}

/* The same of what has no descriptor: a link, a fifo. */
static int set_meta_at(struct receiver *rc, int dir, const char *name,
		       const struct tar_entry *e)
{
	const struct timespec times[2] = {
		{ .tv_nsec = UTIME_OMIT },
		{ .tv_sec = e->mtime_s, .tv_nsec = e->mtime_ns },
	};

	if (rc->o->owner &&
	    fchownat(dir, name, e->uid, e->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return utimensat(dir, name, times, AT_SYMLINK_NOFOLLOW) < 0 ? -errno
								    : 0;
}

/* -- the way to an entry --------------------------------------------------- */

/* The components of a path within the directory, but those that the options
 * strip. */
struct names {
	char *text; /* owned; the others are within it */
	const char *v[TREE_DEPTH + 1];
	size_t n;
	unsigned int stripped;
};

static void names_done(struct names *names)
{
	free(names->text);
}

static int names_split(struct receiver *rc, const char *path, struct names *ret)
{
	char *p = strdup(path), *save = NULL;

	*ret = (struct names){ .text = p };
	if (!p)
		return fail(rc, -ENOMEM, path);
	if (*path == '/')
		return refuse(rc, path, "it is not within the directory");
	for (p = strtok_r(p, "/", &save); p; p = strtok_r(NULL, "/", &save)) {
		if (strcmp(p, "..") == 0)
			return refuse(rc, path,
				      "it is not within the directory");
		if (strcmp(p, ".") == 0)
			continue;
		if (ret->stripped < rc->o->strip) {
			ret->stripped++;
			continue;
		}
		if (ret->n == ARRAY_SIZE(ret->v))
			return fail(rc, -ENAMETOOLONG, path);
		ret->v[ret->n++] = p;
	}
	return 0;
}

static int level_leave(struct receiver *rc)
{
	struct level *l = &rc->levels[--rc->depth];
	int r = 0;

	if (l->made && l->listed)
		r = set_meta(rc, l->fd, &l->meta);
	else if (l->made && l->name) /* as mkdir would have made it */
		r = fchmod(l->fd, 0755) < 0 ? -errno : 0;
	if (r < 0)
		fail(rc, r, l->name ? l->name : ".");
	close(l->fd);
	free(l->name);
	return r;
}

static int leave_to(struct receiver *rc, size_t depth)
{
	int r = 0;

	while (rc->depth > depth) {
		int one = level_leave(rc);

		r = r < 0 ? r : one;
	}
	return r;
}

/* Why @name could not be opened as a directory. */
static int not_entered(struct receiver *rc, int error, int parent,
		       const char *name, const char *path)
{
	struct stat st;

	if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    S_ISLNK(st.st_mode))
		return refuse(rc, path, "a symbolic link is on its way");
	return fail(rc, -error, path);
}

/* Go into @name of the directory we are in. It is made where it is missing. */
static int level_enter(struct receiver *rc, const char *name, const char *path)
{
	int parent = rc->levels[rc->depth - 1].fd, fd;
	struct level *l = &rc->levels[rc->depth];
	bool made = mkdirat(parent, name, 0700) == 0;

	if (!made && errno != EEXIST)
		return fail(rc, -errno, path);
	fd = openat(parent, name,
		    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return not_entered(rc, errno, parent, name, path);
	*l = (struct level){ .fd = fd, .name = strdup(name), .made = made };
	if (!l->name) {
		close(fd);
		return fail(rc, -ENOMEM, path);
	}
	rc->depth++;
	return 0;
}

/* Be in the directory of the first @n of @names. */
static int walk(struct receiver *rc, const struct names *names, size_t n,
		const char *path)
{
	size_t same = 0;
	int r;

	while (same < n && same + 1 < rc->depth &&
	       strcmp(rc->levels[same + 1].name, names->v[same]) == 0)
		same++;
	r = leave_to(rc, same + 1);
	while (r == 0 && same < n)
		r = level_enter(rc, names->v[same++], path);
	return r;
}

/* -- entries --------------------------------------------------------------- */

/* Nothing is left of its path: neither is of it. */
static bool is_stripped(const struct receiver *rc, const struct names *names)
{
	return rc->o->strip && !names->n;
}

/* 1: it is stripped. */
static int make_dir(struct receiver *rc, const struct tar_entry *e)
{
	_cleanup_(names_done) struct names names;
	struct level *l;
	int r = names_split(rc, e->path, &names);

	if (r == 0 && is_stripped(rc, &names))
		return 1;
	if (r == 0)
		r = walk(rc, &names, names.n, e->path);
	if (r < 0)
		return r;
	l = &rc->levels[rc->depth - 1];
	l->listed = true;
	l->meta = *e;
	l->meta.path = l->meta.link = NULL;
	return 0;
}

static int take_data(struct receiver *rc, int fd, const struct tar_entry *e)
{
	uint64_t at = 0;
	int r = 0;

	while (r == 0 && at < e->size) {
		ssize_t n = tar_read(rc->tar, rc->buf, FLOW_BUF);

		if (n < 0)
			return (int)n;
		if (e->sparse)
			r = filedata_write_sparse(fd, rc->buf, (size_t)n, at);
		else
			r = filedata_write(fd, rc->buf, (size_t)n, at);
		at += (uint64_t)n;
	}
	if (r == 0 && e->sparse && ftruncate(fd, (off_t)at) < 0)
		r = -errno;
	return r;
}

static int make_file(struct receiver *rc, int dir, const char *name,
		     const struct tar_entry *e)
{
	_cleanup_(newfile_done) struct newfile f = { .fd = -1 };
	int r = newfile_open(dir, &f);

	if (r == 0)
		r = take_data(rc, f.fd, e);
	if (r == 0)
		r = set_meta(rc, f.fd, e);
	if (r == 0)
		r = newfile_commit(&f, name, rc->o->sync);
	if (r == 0) {
		rc->n->files++;
		rc->n->bytes += e->size;
	}
	return r;
}

/* Made under another name first: a name that is taken can only be renamed to.
 */
static int put_in_place(int dir, const char *temp, const char *name, int made)
{
	int r = made;

	if (r == 0 && renameat(dir, temp, dir, name) < 0)
		r = -errno;
	/* two names of one file: a rename that does nothing is no error */
	if (made == 0)
		unlinkat(dir, temp, 0);
	return r;
}

static int make_symlink(struct receiver *rc, int dir, const char *name,
			const struct tar_entry *e)
{
	char temp[NEWFILE_NAME];
	int r;

	newfile_temp_name(temp);
	r = symlinkat(e->link, dir, temp) < 0 ? -errno : 0;
	if (r == 0) {
		r = set_meta_at(rc, dir, temp, e);
		if (r < 0)
			unlinkat(dir, temp, 0);
	}
	return put_in_place(dir, temp, name, r);
}

static int make_fifo(struct receiver *rc, int dir, const char *name,
		     const struct tar_entry *e)
{
	char temp[NEWFILE_NAME];
	int r;

	newfile_temp_name(temp);
	r = mknodat(dir, temp, S_IFIFO | (mode_of(rc, e) & 0777), 0) < 0
		    ? -errno
		    : 0;
	if (r == 0) {
		r = set_meta_at(rc, dir, temp, e);
		if (r < 0)
			unlinkat(dir, temp, 0);
	}
	return put_in_place(dir, temp, name, r);
}

/* The directory of the last of @names, opened as the others are. */
static int open_parent(struct receiver *rc, const struct names *names,
		       const char *path, int *ret)
{
	int fd = fcntl(rc->levels[0].fd, F_DUPFD_CLOEXEC, 3), r = 0;

	if (fd < 0)
		return -errno;
	for (size_t i = 0; r == 0 && i + 1 < names->n; i++) {
		int next =
			openat(fd, names->v[i],
			       O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

		if (next < 0)
			r = not_entered(rc, errno, fd, names->v[i], path);
		close(fd);
		fd = next;
	}
	*ret = fd;
	return r;
}

static int make_hardlink(struct receiver *rc, int dir, const char *name,
			 const struct tar_entry *e)
{
	_cleanup_(names_done) struct names names;
	_cleanup_close_ int from = -1;
	char temp[NEWFILE_NAME];
	int r = names_split(rc, e->link, &names);

	if (r < 0)
		return r;
	if (!names.n)
		return refuse(
			rc, e->path,
			"it is a link to a directory, or to what is stripped");
	r = open_parent(rc, &names, e->link, &from);
	if (r < 0)
		return r;
	newfile_temp_name(temp);
	/* without AT_SYMLINK_FOLLOW, a link to a link is one to the link */
	r = linkat(from, names.v[names.n - 1], dir, temp, 0) < 0 ? -errno : 0;
	return put_in_place(dir, temp, name, r);
}

/* 1: it is stripped. */
static int make_entry(struct receiver *rc, const struct tar_entry *e)
{
	_cleanup_(names_done) struct names names;
	const char *name;
	int dir, r = names_split(rc, e->path, &names);

	if (r < 0)
		return r;
	if (is_stripped(rc, &names))
		return 1;
	if (!names.n)
		return refuse(rc, e->path, "it has no name");
	r = walk(rc, &names, names.n - 1, e->path);
	if (r < 0)
		return r;
	dir = rc->levels[rc->depth - 1].fd;
	name = names.v[names.n - 1];
	rc->err->text[0] = '\0';
	if (e->type == TAR_FILE)
		r = make_file(rc, dir, name, e);
	else if (e->type == TAR_HARDLINK)
		r = make_hardlink(rc, dir, name, e);
	else if (e->type == TAR_SYMLINK)
		r = make_symlink(rc, dir, name, e);
	else
		r = make_fifo(rc, dir, name, e);
	return r < 0 && !rc->err->text[0] ? fail(rc, r, e->path) : r;
}

static int take_entry(struct receiver *rc, const struct tar_entry *e)
{
	int r;

	if (e->type == TAR_CHAR || e->type == TAR_BLOCKDEV) {
		rc->n->skipped++;
		return 0;
	}
	r = e->type == TAR_DIR ? make_dir(rc, e) : make_entry(rc, e);
	if (r > 0)
		return 0;
	if (r == 0)
		rc->n->entries++;
	return r;
}

static int take_all(struct receiver *rc)
{
	const struct tar_entry *e;
	int r;

	while ((r = tar_next(rc->tar, &e, rc->err)) > 0) {
		r = take_entry(rc, e);
		if (r < 0)
			break;
	}
	if (r == 0)
		return leave_to(rc, 0);
	rc->err = NULL; /* the first words are the ones to tell */
	return r;
}

int tree_receive(int dir, struct flow *in, const struct tree_options *o,
		 struct tree_counts *ret, struct errmsg *err)
{
	_cleanup_free_ struct receiver *rc = calloc(1, sizeof(*rc));
	_cleanup_free_ uint8_t *buf = malloc(FLOW_BUF);
	int r = -ENOMEM;

	*ret = (struct tree_counts){ 0 };
	if (rc && buf) {
		rc->tar = tar_reader_new(in);
		rc->o = o;
		rc->n = ret;
		rc->err = err;
		rc->buf = buf;
		rc->levels[0].fd =
			openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		rc->levels[0].made = o->fresh;
		r = rc->levels[0].fd < 0 ? -errno : rc->tar ? 0 : -ENOMEM;
		rc->depth = rc->levels[0].fd >= 0;
	}
	if (r == 0)
		r = take_all(rc);
	else
		errmsg_set(err, r, "directory");
	if (rc) {
		leave_to(rc, 0);
		tar_reader_free(rc->tar);
	}
	return r;
}
