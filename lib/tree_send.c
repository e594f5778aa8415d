#include <config.h>

#include "tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "tar.h"

/* A file with more than one name goes once; later names are links to this. */
struct seen {
	dev_t dev;
	ino_t ino;
	char path[];
};

struct sender {
	struct flow *out;
	const char *const *globs; /* NULL: all is chosen */
	unsigned int chosen;	  /* directories that we are in and that are */
	struct tree_counts *n;
	void *seen; /* of struct seen, by tsearch() */
	uint8_t *buf;
	struct errmsg *err;
	unsigned int depth;
};

static int send_dir(struct sender *s, int fd, const char *path,
		    const struct stat *st);

static int compare_seen(const void *a, const void *b)
{
	const struct seen *x = a, *y = b;

	if (x->dev != y->dev)
		return x->dev < y->dev ? -1 : 1;
	return (x->ino > y->ino) - (x->ino < y->ino);
}

/* The name that this file went by; NULL: it goes now, by @path. */
static int find_seen(struct sender *s, const struct stat *st, const char *path,
		     const char **ret)
{
	struct seen *fresh, **found;

	*ret = NULL;
	if (st->st_nlink < 2)
		return 0;
	fresh = malloc(sizeof(*fresh) + strlen(path) + 1);
	if (!fresh)
		return -ENOMEM;
	fresh->dev = st->st_dev;
	fresh->ino = st->st_ino;
	memcpy(fresh->path, path, strlen(path) + 1);
	found = tsearch(fresh, &s->seen, compare_seen);
	if (!found || *found != fresh)
		free(fresh);
	if (!found)
		return -ENOMEM;
	if (*found != fresh)
		*ret = (*found)->path;
	return 0;
}

static struct tar_entry entry_of(const struct stat *st, const char *path)
{
	return (struct tar_entry){
		.path = (char *)path, /* tar_write_header() only reads it */
		.mode = st->st_mode & 07777,
		.uid = st->st_uid,
		.gid = st->st_gid,
		.mtime_s = st->st_mtim.tv_sec,
		.mtime_ns = (uint32_t)st->st_mtim.tv_nsec,
	};
}

static int fail(struct sender *s, int r, const char *path)
{
	return errmsg_set(s->err, r, "%s", path);
}

static int put_entry(struct sender *s, struct tar_entry *e, enum tar_type type,
		     const char *link)
{
	int r;

	e->type = type;
	e->link = (char *)link;
	r = tar_write_header(s->out, e);
	if (r < 0)
		return fail(s, r, e->path);
	s->n->entries++;
	return 0;
}

/* The size has been said: exactly so many bytes have to follow. */
static int put_data(struct sender *s, int fd, uint64_t size)
{
	uint64_t left = size;
	int r = 0;

	while (r == 0 && left) {
		ssize_t n = read(fd, s->buf, left < FLOW_BUF ? left : FLOW_BUF);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0) {
			s->n->changed++;
			break;
		}
		r = flow_write(s->out, s->buf, (size_t)n);
		left -= (uint64_t)n;
	}
	if (r == 0)
		r = flow_zeros(s->out, left);
	return r == 0 ? tar_write_padding(s->out, size) : r;
}

static int send_file(struct sender *s, int parent, const char *name,
		     const char *path)
{
	_cleanup_close_ int fd = openat(parent, name,
					O_RDONLY | O_NOFOLLOW | O_NONBLOCK |
						O_NOCTTY | O_CLOEXEC);
	const char *first;
	struct tar_entry e;
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return fail(s, -errno, path);
	if (!S_ISREG(st.st_mode)) /* it is another one now */
		return fail(s, -ESTALE, path);
	e = entry_of(&st, path);
	r = find_seen(s, &st, path, &first);
	if (r < 0)
		return fail(s, r, path);
	if (first)
		return put_entry(s, &e, TAR_HARDLINK, first);
	e.size = (uint64_t)st.st_size;
	e.sparse = (uint64_t)st.st_blocks * 512 < e.size;
	r = put_entry(s, &e, TAR_FILE, NULL);
	if (r < 0)
		return r;
	s->n->files++;
	s->n->bytes += e.size;
	r = put_data(s, fd, e.size);
	return r < 0 ? fail(s, r, path) : 0;
}

static int send_symlink(struct sender *s, int parent, const char *name,
			const char *path, const struct stat *st)
{
	struct tar_entry e = entry_of(st, path);
	char target[4097];
	ssize_t n = readlinkat(parent, name, target, sizeof(target) - 1);

	if (n < 0)
		return fail(s, -errno, path);
	target[n] = '\0';
	return put_entry(s, &e, TAR_SYMLINK, target);
}

static int send_subdir(struct sender *s, int parent, const char *name,
		       const char *path)
{
	int fd = openat(parent, name,
			O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	int r;

	if (fd < 0)
		return fail(s, -errno, path);
	if (fstat(fd, &st) < 0) {
		r = -errno;
		close(fd);
		return fail(s, r, path);
	}
	return send_dir(s, fd, path, &st);
}

/* @path begins with "./". */
static bool is_chosen(const struct sender *s, const char *path)
{
	if (!s->globs || s->chosen)
		return true;
	for (const char *const *glob = s->globs; *glob; glob++)
		if (fnmatch(*glob, path + 2, FNM_PATHNAME | FNM_PERIOD) == 0)
			return true;
	return false;
}

/* What is not chosen may be a directory with something in it that is. */
static int send_entry(struct sender *s, int parent, const char *name,
		      const char *path)
{
	bool chosen = is_chosen(s, path);
	struct tar_entry e;
	struct stat st;
	int r;

	if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		if (errno == ENOENT) /* it went meanwhile */
			return 0;
		return fail(s, -errno, path);
	}
	if (S_ISDIR(st.st_mode)) {
		s->chosen += chosen;
		r = send_subdir(s, parent, name, path);
		s->chosen -= chosen;
		return r;
	}
	if (!chosen)
		return 0;
	if (S_ISREG(st.st_mode))
		return send_file(s, parent, name, path);
	if (S_ISLNK(st.st_mode))
		return send_symlink(s, parent, name, path, &st);
	if (!S_ISFIFO(st.st_mode)) {
		s->n->skipped++;
		return 0;
	}
	e = entry_of(&st, path);
	return put_entry(s, &e, TAR_FIFO, NULL);
}

static int send_children(struct sender *s, DIR *d, const char *path)
{
	struct dirent *e;
	int r = 0;

	while (r == 0 && (errno = 0, e = readdir(d))) {
		_cleanup_free_ char *child = NULL;

		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (asprintf(&child, "%s%s", path, e->d_name) < 0) {
			child = NULL;
			return fail(s, -ENOMEM, path);
		}
		r = send_entry(s, dirfd(d), e->d_name, child);
	}
	if (r == 0 && errno)
		r = fail(s, -errno, path);
	return r;
}

/* @fd is taken. */
static int send_dir(struct sender *s, int fd, const char *path,
		    const struct stat *st)
{
	_cleanup_free_ char *slashed = NULL;
	struct tar_entry e;
	DIR *d = fdopendir(fd);
	int r = 0;

	if (!d) {
		r = -errno;
		close(fd);
		return fail(s, r, path);
	}
	if (asprintf(&slashed, "%s/", path) < 0) {
		slashed = NULL;
		r = fail(s, -ENOMEM, path);
	} else if (++s->depth > TREE_DEPTH) {
		r = fail(s, -ENAMETOOLONG, path);
	} else if (s->depth == 1 || !s->globs || s->chosen) {
		e = entry_of(st, slashed);
		r = put_entry(s, &e, TAR_DIR, NULL);
	}
	if (r == 0)
		r = send_children(s, d, slashed);
	s->depth--;
	closedir(d);
	return r;
}

int tree_send(int dir, const char *const *globs, struct flow *out,
	      struct tree_counts *ret, struct errmsg *err)
{
	_cleanup_free_ uint8_t *buf = malloc(FLOW_BUF);
	struct sender s = {
		.out = out, .globs = globs, .n = ret, .buf = buf, .err = err
	};
	struct stat st;
	int fd, r;

	*ret = (struct tree_counts){ 0 };
	if (!buf)
		return errmsg_set(err, -ENOMEM, "tree");
	fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0) {
		r = -errno;
		if (fd >= 0)
			close(fd);
		return errmsg_set(err, r, "directory");
	}
	r = send_dir(&s, fd, ".", &st);
	tdestroy(s.seen, free);
	if (r == 0) {
		r = tar_write_end(out);
		if (r < 0)
			return errmsg_set(err, r, "tree");
	}
	return r;
}
