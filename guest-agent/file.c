#include <config.h>

#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "account.h"
#include "cleanup.h"
#include "digest.h"
#include "filelist.h"
#include "fileremove.h"
#include "flow.h"
#include "job.h"
#include "param.h"

#define MODE_MAX 07777

int file_need(const json_t *params, const char *name, char **ret,
	      struct errmsg *err)
{
	int r = param_text(params, name, ret, err);

	if (r == 0 && (!*ret || !**ret))
		return errmsg_say(err, -EINVAL, "%s: is missing", name);
	return r;
}

static int failed(const char *path, struct errmsg *err)
{
	return errmsg_set(err, -errno, "%s", path);
}

int file_make_parents(const char *path, bool all, bool *made)
{
	_cleanup_free_ char *copy = strdup(path);
	bool fresh = false;

	if (!copy)
		return -ENOMEM;
	for (char *p = copy + strspn(copy, "/"); *p;) {
		char *end = p + strcspn(p, "/");
		char *next = end + strspn(end, "/");

		if (!*next && !all)
			break;
		*end = '\0';
		fresh = mkdir(copy, 0755) == 0;
		if (!fresh && errno != EEXIST)
			return -errno;
		if (!*next)
			break;
		*end = '/';
		p = next;
	}
	if (made)
		*made = fresh;
	return 0;
}

/* -- file.stat, file.list -------------------------------------------------- */

static const char *type_name(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return "file";
	case S_IFDIR:
		return "dir";
	case S_IFLNK:
		return "symlink";
	case S_IFIFO:
		return "fifo";
	case S_IFSOCK:
		return "socket";
	case S_IFCHR:
		return "char";
	default:
		return "block";
	}
}

json_t *file_stat_json(const struct stat *st)
{
	return json_pack(
		"{s:s, s:I, s:i, s:I, s:I, s:I}", "type",
		type_name(st->st_mode), "size", (json_int_t)st->st_size, "mode",
		(int)(st->st_mode & MODE_MAX), "uid", (json_int_t)st->st_uid,
		"gid", (json_int_t)st->st_gid, "mtime_ns",
		(json_int_t)st->st_mtim.tv_sec * 1000000000 +
			st->st_mtim.tv_nsec);
}

static int link_target(const char *path, json_t **ret, struct errmsg *err)
{
	char target[4097];
	ssize_t n = readlink(path, target, sizeof(target) - 1);

	if (n < 0)
		return failed(path, err);
	target[n] = '\0';
	*ret = param_from_text(target);
	return 0;
}

static int do_stat(struct job_child *c, const json_t *params, json_t **result,
		   struct errmsg *err)
{
	_cleanup_free_ char *path = NULL;
	json_t *target = NULL;
	bool follow = true;
	struct stat st;
	int r = file_need(params, "path", &path, err);

	if (r == 0)
		r = param_bool(params, "follow", &follow, err);
	if (r < 0)
		return r;
	if ((follow ? stat(path, &st) : lstat(path, &st)) < 0)
		return failed(path, err);
	if (S_ISLNK(st.st_mode))
		r = link_target(path, &target, err);
	if (r < 0)
		return r;
	*result = file_stat_json(&st);
	json_object_set_new(*result, "nlink",
			    json_integer((json_int_t)st.st_nlink));
	json_object_set_new(*result, "ino",
			    json_integer((json_int_t)st.st_ino));
	json_object_set_new(*result, "bytes_used",
			    json_integer((json_int_t)st.st_blocks * 512));
	if (target)
		json_object_set_new(*result, "target", target);
	return 0;
}

static int do_list(struct job_child *c, const json_t *params, json_t **result,
		   struct errmsg *err)
{
	_cleanup_free_ char *path = NULL, *pattern = NULL, *after = NULL;
	int64_t limit = 1000;
	struct filelist f;
	int r = file_need(params, "path", &path, err);

	if (r == 0)
		r = param_text(params, "pattern", &pattern, err);
	if (r == 0)
		r = param_text(params, "after", &after, err);
	if (r == 0)
		r = param_int(params, "limit", 1, FILELIST_MAX, &limit, err);
	if (r < 0)
		return r;
	f = (struct filelist){ path, pattern, after, (size_t)limit };
	return filelist_take(&f, result, err);
}

static int do_readlink(struct job_child *c, const json_t *params,
		       json_t **result, struct errmsg *err)
{
	_cleanup_free_ char *path = NULL;
	json_t *target = NULL;
	int r = file_need(params, "path", &path, err);

	if (r == 0)
		r = link_target(path, &target, err);
	if (r == 0)
		*result = json_pack("{s:o}", "target", target);
	return r;
}

/* -- file.read, file.write, file.hash -------------------------------------- */

static int do_read(struct job_child *c, const json_t *params, json_t **result,
		   struct errmsg *err)
{
	_cleanup_free_ char *path = NULL, *data = malloc(FILE_IO_MAX);
	int64_t offset = 0, size = FILE_IO_MAX;
	_cleanup_close_ int fd = -1;
	size_t got = 0;
	ssize_t n = 1;
	int r = file_need(params, "path", &path, err);

	if (r == 0)
		r = param_int(params, "offset", 0, INT64_MAX, &offset, err);
	if (r == 0)
		r = param_int(params, "size", 1, FILE_IO_MAX, &size, err);
	if (r < 0 || !data)
		return r < 0 ? r : errmsg_set(err, -ENOMEM, "%s", path);
	fd = open(path, O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return failed(path, err);
	while (n > 0 && got < (size_t)size) {
		n = pread(fd, data + got, (size_t)size - got,
			  (off_t)(offset + (int64_t)got));
		got += n > 0 ? (size_t)n : 0;
	}
	if (n < 0)
		return failed(path, err);
	*result = json_pack("{s:o, s:I, s:b}", "data",
			    param_from_bytes(data, got), "bytes",
			    (json_int_t)got, "eof", (int)(n == 0));
	return 0;
}

struct write_params {
	char *path, *data; /* owned */
	size_t len;
	int64_t offset, mode;
	bool truncate, create, append;
};

static void write_params_done(struct write_params *w)
{
	free(w->path);
	free(w->data);
}

static int parse_write(const json_t *params, struct write_params *w,
		       struct errmsg *err)
{
	int r = file_need(params, "path", &w->path, err);

	if (r == 0)
		r = param_bytes(params, "data", &w->data, &w->len, err);
	if (r == 0 && !w->data)
		r = errmsg_say(err, -EINVAL, "data: is missing");
	if (r == 0 && w->len > FILE_IO_MAX)
		r = errmsg_say(err, -EINVAL,
			       "data: %zu bytes, %d are the most; use file.put",
			       w->len, FILE_IO_MAX);
	if (r == 0)
		r = param_int(params, "offset", 0, INT64_MAX, &w->offset, err);
	if (r == 0)
		r = param_int(params, "mode", 0, MODE_MAX, &w->mode, err);
	if (r == 0)
		r = param_bool(params, "truncate", &w->truncate, err);
	if (r == 0)
		r = param_bool(params, "create", &w->create, err);
	if (r == 0)
		r = param_bool(params, "append", &w->append, err);
	return r;
}

static int do_write(struct job_child *c, const json_t *params, json_t **result,
		    struct errmsg *err)
{
	_cleanup_(write_params_done) struct write_params w = { .mode = 0644 };
	_cleanup_close_ int fd = -1;
	size_t at = 0;
	int r = parse_write(params, &w, err);

	if (r < 0)
		return r;
	fd = open(w.path,
		  O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC |
			  (w.truncate ? O_TRUNC : 0) |
			  (w.create ? O_CREAT : 0) | (w.append ? O_APPEND : 0),
		  (mode_t)w.mode);
	if (fd < 0)
		return failed(w.path, err);
	if (w.offset && !w.append && lseek(fd, w.offset, SEEK_SET) < 0)
		return failed(w.path, err);
	while (at < w.len) {
		ssize_t n = write(fd, w.data + at, w.len - at);

		if (n < 0 && errno != EINTR)
			return failed(w.path, err);
		at += n > 0 ? (size_t)n : 0;
	}
	*result = json_pack("{s:I}", "bytes", (json_int_t)at);
	return 0;
}

static int do_hash(struct job_child *c, const json_t *params, json_t **result,
		   struct errmsg *err)
{
	int64_t offset = 0, size = INT64_MAX;
	_cleanup_free_ char *path = NULL;
	_cleanup_close_ int fd = -1;
	int kind = DIGEST_SHA256;
	uint8_t buf[65536];
	char text[DIGEST_TEXT];
	uint64_t left, total = 0;
	struct digest d;
	ssize_t n = 1;
	int r = file_need(params, "path", &path, err);

	if (r == 0)
		r = param_int(params, "offset", 0, INT64_MAX, &offset, err);
	if (r == 0)
		r = param_int(params, "size", 0, INT64_MAX, &size, err);
	if (r == 0)
		r = param_word(params, "hash", digest_names, &kind, err);
	if (r < 0)
		return r;
	fd = open(path, O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || (offset && lseek(fd, offset, SEEK_SET) < 0))
		return failed(path, err);
	digest_init(&d, (enum digest_kind)kind);
	for (left = (uint64_t)size; left && n > 0; left -= (uint64_t)n) {
		n = read(fd, buf, left < sizeof(buf) ? left : sizeof(buf));
		if (n < 0)
			return failed(path, err);
		digest_add(&d, buf, (size_t)n);
		total += (uint64_t)n;
	}
	digest_text(&d, text);
	*result = json_pack("{s:I, s:s}", "bytes", (json_int_t)total,
			    digest_names[kind], text);
	return 0;
}

/* -- what changes names and attributes ------------------------------------- */

struct attributes {
	int64_t mode, uid, gid, mtime_ns, atime_ns; /* -1: stays */
	bool has_mtime, has_atime, follow;
};

static int parse_owner(const json_t *params, struct attributes *a,
		       struct errmsg *err)
{
	_cleanup_(account_done) struct account owner = { 0 };
	_cleanup_free_ char *name = NULL;
	int r = param_text(params, "owner", &name, err);

	if (r == 0 && name) {
		r = account_find(name, &owner, err);
		if (r < 0)
			return r;
		a->uid = owner.uid;
		a->gid = owner.gid;
	}
	if (r == 0)
		r = param_int(params, "uid", 0, UINT32_MAX - 1, &a->uid, err);
	if (r == 0)
		r = param_int(params, "gid", 0, UINT32_MAX - 1, &a->gid, err);
	return r;
}

static int parse_time(const json_t *params, const char *name, int64_t *ret,
		      bool *there, struct errmsg *err)
{
	*there = json_is_integer(json_object_get(params, name));
	return param_int(params, name, INT64_MIN, INT64_MAX, ret, err);
}

static int parse_attributes(const json_t *params, struct attributes *a,
			    struct errmsg *err)
{
	int r = param_int(params, "mode", 0, MODE_MAX, &a->mode, err);

	if (r == 0)
		r = parse_owner(params, a, err);
	if (r == 0)
		r = parse_time(params, "mtime_ns", &a->mtime_ns, &a->has_mtime,
			       err);
	if (r == 0)
		r = parse_time(params, "atime_ns", &a->atime_ns, &a->has_atime,
			       err);
	if (r == 0)
		r = param_bool(params, "follow", &a->follow, err);
	return r;
}

static struct timespec time_of(bool there, int64_t ns)
{
	struct timespec ts = { .tv_nsec = UTIME_OMIT };

	if (there) {
		ts.tv_sec = ns / 1000000000;
		ts.tv_nsec = ns % 1000000000;
	}
	if (there && ts.tv_nsec < 0) {
		ts.tv_sec--;
		ts.tv_nsec += 1000000000;
	}
	return ts;
}

static int set_attributes(const char *path, const struct attributes *a)
{
	const struct timespec times[2] = {
		time_of(a->has_atime, a->atime_ns),
		time_of(a->has_mtime, a->mtime_ns),
	};
	int flag = a->follow ? 0 : AT_SYMLINK_NOFOLLOW;

	/* chown first: it takes bits of the mode away */
	if ((a->uid >= 0 || a->gid >= 0) &&
	    fchownat(AT_FDCWD, path, (uid_t)a->uid, (gid_t)a->gid, flag) < 0)
		return -errno;
	if (a->mode >= 0 && fchmodat(AT_FDCWD, path, (mode_t)a->mode, flag) < 0)
		return -errno;
	return utimensat(AT_FDCWD, path, times, flag) < 0 ? -errno : 0;
}

static int do_set(struct job_child *c, const json_t *params, json_t **result,
		  struct errmsg *err)
{
	struct attributes a = {
		.mode = -1, .uid = -1, .gid = -1, .follow = true
	};
	_cleanup_free_ char *path = NULL;
	int r = file_need(params, "path", &path, err);

	if (r < 0)
		return r;
	r = parse_attributes(params, &a, err);
	if (r < 0) {
		c->what = r == -ENOENT ? "owner" : c->what;
		return r;
	}
	r = set_attributes(path, &a);
	return r < 0 ? errmsg_set(err, r, "%s", path) : 0;
}

static int do_mkdir(struct job_child *c, const json_t *params, json_t **result,
		    struct errmsg *err)
{
	_cleanup_free_ char *path = NULL;
	int64_t mode = -1;
	bool parents = false, made = true;
	int r = file_need(params, "path", &path, err);

	if (r == 0)
		r = param_int(params, "mode", 0, MODE_MAX, &mode, err);
	if (r == 0)
		r = param_bool(params, "parents", &parents, err);
	if (r < 0)
		return r;
	if (parents)
		r = file_make_parents(path, true, &made);
	else if (mkdir(path, 0755) < 0)
		r = -errno;
	if (r == 0 && made && mode >= 0 && chmod(path, (mode_t)mode) < 0)
		r = -errno;
	if (r < 0)
		return errmsg_set(err, r, "%s", path);
	*result = json_pack("{s:b}", "made", (int)made);
	return 0;
}

static int do_remove(struct job_child *c, const json_t *params, json_t **result,
		     struct errmsg *err)
{
	_cleanup_free_ char *path = NULL;
	bool recursive = false;
	int r = file_need(params, "path", &path, err);

	if (r == 0)
		r = param_bool(params, "recursive", &recursive, err);
	return r < 0 ? r : fileremove(path, recursive, err);
}

static int do_rename(struct job_child *c, const json_t *params, json_t **result,
		     struct errmsg *err)
{
	_cleanup_free_ char *path = NULL, *to = NULL;
	bool replace = true;
	int r = file_need(params, "path", &path, err);

	if (r == 0)
		r = file_need(params, "to", &to, err);
	if (r == 0)
		r = param_bool(params, "replace", &replace, err);
	if (r < 0)
		return r;
	if (renameat2(AT_FDCWD, path, AT_FDCWD, to,
		      replace ? 0 : RENAME_NOREPLACE) < 0)
		return errmsg_set(err, -errno, "%s to %s", path, to);
	return 0;
}

static int do_symlink(struct job_child *c, const json_t *params,
		      json_t **result, struct errmsg *err)
{
	_cleanup_free_ char *path = NULL, *target = NULL;
	int r = file_need(params, "path", &path, err);

	if (r == 0)
		r = file_need(params, "target", &target, err);
	if (r < 0)
		return r;
	return symlink(target, path) < 0 ? failed(path, err) : 0;
}

static int do_truncate(struct job_child *c, const json_t *params,
		       json_t **result, struct errmsg *err)
{
	_cleanup_free_ char *path = NULL;
	int64_t size = -1;
	int r = file_need(params, "path", &path, err);

	if (r == 0)
		r = param_int(params, "size", 0, INT64_MAX, &size, err);
	if (r == 0 && size < 0)
		r = errmsg_say(err, -EINVAL, "size: is missing");
	if (r < 0)
		return r;
	return truncate(path, size) < 0 ? failed(path, err) : 0;
}

/* -- the methods ----------------------------------------------------------- */

#define METHOD(name)                                                  \
	void file_##name(struct rpc_call *call, const json_t *params, \
			 void *agent)                                 \
	{                                                             \
		job_start(agent, call, params, JOB_PLAIN, do_##name); \
	}

METHOD(hash)
METHOD(list)
METHOD(mkdir)
METHOD(read)
METHOD(readlink)
METHOD(remove)
METHOD(rename)
METHOD(set)
METHOD(stat)
METHOD(symlink)
METHOD(truncate)
METHOD(write)
