#include <config.h>

#include "chain.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "foreign.h"
#include "qcow2.h"

#define CHAIN_MAX  16		/* files of one disk */
#define HEADER_MAX FOREIGN_HEAD /* a qcow2's first cluster, as far as read */

/* -- one file -------------------------------------------------------------- */

int chain_open(const char *path, struct stat *st, struct errmsg *err)
{
	/* O_NONBLOCK: a FIFO must not keep us waiting */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return errmsg_set(err, -errno, "%s", path);
	if (fstat(fd, st) < 0 || !S_ISREG(st->st_mode)) {
		close(fd);
		return errmsg_say(err, -EINVAL, "%s is not a regular file",
				  path);
	}
	if (st->st_size == 0) {
		close(fd);
		return errmsg_say(err, -EINVAL, "%s is empty", path);
	}
	return fd;
}

bool chain_is_in(const char *path, const char *dirs)
{
	for (const char *p = dirs; *p; p += *p == ':') {
		_cleanup_free_ char *given = strndup(p, strcspn(p, ":"));
		_cleanup_free_ char *dir = given ? realpath(given, NULL) : NULL;
		size_t n = dir ? strlen(dir) : 0;

		p += strcspn(p, ":");
		if (n == 1 || (n && strncmp(path, dir, n) == 0 &&
			       (path[n] == '/' || !path[n])))
			return true;
	}
	return false;
}

int chain_allowed(const char *path, const char *allow, struct errmsg *err)
{
	if (!*allow || chain_is_in(path, allow))
		return 0;
	return errmsg_say(
		err, -EPERM,
		"%s: the site allows images from %s only (allow_images)", path,
		allow);
}

/* The file's first bytes: how many, or -errno. @tail: its last ones, too;
 * *has_tail says whether it has so many. */
static ssize_t read_ends(const char *path, uint8_t *head, uint8_t *tail,
			 bool *has_tail, struct errmsg *err)
{
	struct stat st;
	_cleanup_close_ int fd = chain_open(path, &st, err);
	ssize_t n;

	if (fd < 0)
		return fd;
	n = pread(fd, head, HEADER_MAX, 0);
	if (n < 0)
		return errmsg_set(err, -errno, "%s", path);
	*has_tail = st.st_size >= FOREIGN_TAIL &&
		    pread(fd, tail, FOREIGN_TAIL, st.st_size - FOREIGN_TAIL) ==
			    FOREIGN_TAIL;
	return n;
}

static int read_qcow2(const char *path, struct qcow2_header *h,
		      struct errmsg *err)
{
	_cleanup_free_ uint8_t *head = malloc(HEADER_MAX);
	uint8_t tail[FOREIGN_TAIL];
	bool has_tail;
	ssize_t n;

	if (!head)
		return errmsg_set(err, -ENOMEM, "%s", path);
	n = read_ends(path, head, tail, &has_tail, err);
	return n < 0 ? (int)n : qcow2_parse(head, (size_t)n, h, err);
}

static int check_foreign(const char *path, enum image_kind kind,
			 struct errmsg *err)
{
	_cleanup_free_ uint8_t *head = malloc(HEADER_MAX);
	uint8_t tail[FOREIGN_TAIL];
	bool has_tail = false;
	ssize_t n;
	int r;

	if (!head)
		return errmsg_set(err, -ENOMEM, "%s", path);
	n = read_ends(path, head, tail, &has_tail, err);
	if (n < 0)
		return (int)n;
	r = foreign_check(kind, head, (size_t)n, has_tail ? tail : NULL, err);
	return r < 0 ? errmsg_prefix(err, r, "%s", path) : 0;
}

static int check_raw(const char *path, struct errmsg *err)
{
	struct stat st;
	_cleanup_close_ int fd = chain_open(path, &st, err);

	return fd < 0 ? fd : 0;
}

/* -- what is below --------------------------------------------------------- */

static int backing_path(const char *path, const char *backing, char *ret,
			struct errmsg *err)
{
	const char *colon = strchr(backing, ':'), *slash = strchr(backing, '/');
	const char *dir_end = strrchr(path, '/');
	int n;

	if (colon && (!slash || colon < slash))
		return errmsg_say(
			err, -EPERM,
			"its backing file '%s' is not a plain path: refused",
			backing);
	if (*backing == '/')
		n = snprintf(ret, PATH_MAX, "%s", backing);
	else
		n = snprintf(ret, PATH_MAX, "%.*s%s", (int)(dir_end - path + 1),
			     path, backing);
	if (n >= PATH_MAX)
		return errmsg_say(err, -ENAMETOOLONG,
				  "its backing file's path is too long");
	return 0;
}

/* The format that a header gives to the file below. One that is not written
 * down QEMU would guess: then it must be qcow2. */
static int backing_kind(const char *path, const char *format,
			enum image_kind *ret, struct errmsg *err)
{
	*ret = IMAGE_QCOW2;
	if (!*format)
		return 0;
	for (enum image_kind k = IMAGE_QCOW2; image_format_name(k); k++)
		if (strcmp(format, image_format_name(k)) == 0) {
			*ret = k;
			return 0;
		}
	return errmsg_say(err, -ENOTSUP,
			  "%s: its backing file's format '%s' is not known",
			  path, format);
}

static int no_header(const char *path, bool top, struct errmsg *err)
{
	if (top)
		return errmsg_say(
			err, -EINVAL,
			"%s has no qcow2 header; if it is a raw disk, say --vm-image=%s,fmt=raw",
			path, path);
	return errmsg_say(
		err, -EINVAL,
		"%s has no qcow2 header; if it is a raw disk, the file above it has to say so (backing format raw)",
		path);
}

static int check_qcow2(const char *path, bool top, struct qcow2_header *h,
		       struct errmsg *err)
{
	int r = read_qcow2(path, h, err);

	if (r == -EILSEQ)
		return no_header(path, top, err);
	if (r < 0)
		return r;
	if (h->external_data)
		return errmsg_say(err, -EPERM,
				  "%s keeps its data in another file: refused",
				  path);
	if (h->encrypted)
		return errmsg_say(err, -ENOTSUP,
				  "%s is encrypted: decrypt it first", path);
	return 0;
}

static int check_below(const char *path, enum image_kind kind, int depth,
		       const char *allow, struct strings *files,
		       struct errmsg *err);

static int check_backing(const char *path, const struct qcow2_header *h,
			 int depth, const char *allow, struct strings *files,
			 struct errmsg *err)
{
	char below[PATH_MAX];
	enum image_kind kind;
	int r = backing_path(path, h->backing, below, err);

	if (r < 0)
		return errmsg_prefix(err, r, "%s", path);
	r = backing_kind(path, h->backing_format, &kind, err);
	if (r < 0)
		return r;
	r = check_below(below, kind, depth - 1, allow, files, err);
	return r < 0 ? errmsg_prefix(err, r, "backing file of %s", path) : 0;
}

/* A name below is relative to the path that QEMU opens, links and all; rules
 * and locks are about the file itself. */
static int take_file(const char *path, const char *allow, struct strings *files,
		     struct errmsg *err)
{
	_cleanup_free_ char *real = realpath(path, NULL);
	int r = real ? chain_allowed(real, allow, err)
		     : errmsg_set(err, -errno, "%s", path);

	if (r == 0 && strings_add(files, real, strlen(real)) < 0)
		r = errmsg_set(err, -ENOMEM, "%s", path);
	return r;
}

/* @depth: so many more files may follow, this one included. */
static int check_below(const char *path, enum image_kind kind, int depth,
		       const char *allow, struct strings *files,
		       struct errmsg *err)
{
	struct qcow2_header h;
	int r;

	if (depth == 0)
		return errmsg_say(err, -ELOOP, "%s: more than %d backing files",
				  path, CHAIN_MAX);
	r = take_file(path, allow, files, err);
	if (r < 0)
		return r;
	if (kind == IMAGE_RAW)
		return check_raw(path, err);
	if (kind != IMAGE_QCOW2)
		return check_foreign(path, kind, err);
	r = check_qcow2(path, depth == CHAIN_MAX, &h, err);
	if (r < 0 || !h.backing[0])
		return r;
	return check_backing(path, &h, depth, allow, files, err);
}

int chain_check(const char *path, enum image_kind kind, const char *allow,
		struct strings *files, struct errmsg *err)
{
	return check_below(path, kind, CHAIN_MAX, allow, files, err);
}

int chain_below(const char *path, char *below, char format[16],
		struct errmsg *err)
{
	struct qcow2_header h;
	int r = read_qcow2(path, &h, err);

	if (r < 0 || !h.backing[0] || h.backing[0] == '/')
		return r;
	snprintf(format, 16, "%s",
		 h.backing_format[0] ? h.backing_format : "qcow2");
	r = backing_path(path, h.backing, below, err);
	return r < 0 ? r : 1;
}
