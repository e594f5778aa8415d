#include <config.h>

#include "copylocal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "command.h"
#include "copyhead.h"
#include "filedata.h"
#include "log.h"
#include "newfile.h"
#include "tree.h"

static bool is_standard(const char *path)
{
	return strcmp(path, "-") == 0;
}

/* -- sending --------------------------------------------------------------- */

/* "." has a name, too. */
static char *name_of(const char *path)
{
	_cleanup_free_ char *real = realpath(path, NULL);
	char *name = copyhead_name(path);

	if (name && *name && strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
		return name;
	free(name);
	return copyhead_name(real ? real : "");
}

static int open_source(const char *path, struct copyhead *h, int *ret)
{
	bool standard = is_standard(path);
	struct stat st;
	int fd = standard ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
			  : open(path, O_RDONLY | O_CLOEXEC);

	*h = (struct copyhead){ .mode = -1, .mtime_ns = -1, .size = -1 };
	if (fd < 0)
		return -errno;
	*ret = fd;
	h->name = standard ? strdup("") : name_of(path);
	if (!h->name)
		return -ENOMEM;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (S_ISREG(st.st_mode))
		h->size = st.st_size;
	if (standard)
		return S_ISDIR(st.st_mode) ? -EISDIR : 0;
	h->dir = S_ISDIR(st.st_mode);
	h->mode = st.st_mode & 07777;
	h->mtime_ns =
		(int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
	return 0;
}

static int send_data(const struct copyhead *h, int from, struct flow *out,
		     struct errmsg *err)
{
	struct tree_counts n;
	uint64_t bytes;
	int r;

	if (h->dir)
		r = tree_send(from, NULL, out, &n, err);
	else
		r = filedata_send(from, FILEDATA_EXTENTS, 0, FILEDATA_ALL, out,
				  &bytes);
	if (r < 0 && !h->dir)
		errmsg_set(err, r, "%s", "read");
	if (r == 0 && h->dir && n.skipped)
		log_warn("%llu devices and sockets are left out",
			 (unsigned long long)n.skipped);
	if (r == 0 && h->dir && n.changed)
		log_warn(
			"%llu files became shorter while they were read, and end in zeros",
			(unsigned long long)n.changed);
	return r;
}

int copylocal_send(const char *path, int fd)
{
	_cleanup_(copyhead_done) struct copyhead h = { 0 };
	_cleanup_(flow_done) struct flow out = { 0 };
	_cleanup_close_ int from = -1;
	struct errmsg err;
	int r = open_source(path, &h, &from);

	if (r < 0) {
		errmsg_set(&err, r, "%s", path);
		copyhead_write_error(fd, err.text);
		return EXIT_FAILED;
	}
	r = copyhead_write(fd, &h);
	if (r == 0)
		r = flow_init(&out, fd, DIGEST_NONE);
	if (r == 0)
		r = send_data(&h, from, &out, &err);
	if (r < 0 && r != -EPIPE) /* who reads it says why it does not */
		log_err("%s: %s", path, err.text);
	return r < 0 ? EXIT_FAILED : EXIT_DONE;
}

/* -- receiving ------------------------------------------------------------- */

static int receive_to(int to, bool fresh, struct flow *in, struct errmsg *err)
{
	const struct filedata_sink sink = { .fd = to,
					    .fresh = fresh,
					    .sparse = false };
	uint64_t bytes;

	return filedata_receive(in, FILEDATA_EXTENTS, &sink, &bytes, err);
}

static mode_t current_umask(void)
{
	mode_t mask = umask(077);

	umask(mask);
	return mask;
}

static int set_meta(int fd, const struct copyhead *h)
{
	const struct timespec times[2] = {
		{ .tv_nsec = UTIME_OMIT },
		{ .tv_sec = h->mtime_ns / 1000000000,
		  .tv_nsec = h->mtime_ns % 1000000000 },
	};
	mode_t mode = h->mode < 0 ? 0666 : (mode_t)h->mode & 0777;

	if (fchmod(fd, mode & ~current_umask()) < 0)
		return -errno;
	return h->mtime_ns >= 0 && futimens(fd, times) < 0 ? -errno : 0;
}

/* The directory of @path, and the name in it. */
static int open_dir_of(const char *path, const char **ret_name, int *ret)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *dir =
		slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");

	if (!dir)
		return -ENOMEM;
	*ret_name = slash ? slash + 1 : path;
	*ret = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return *ret < 0 ? -errno : 0;
}

static int receive_new(const char *path, const struct copyhead *h,
		       struct flow *in, struct errmsg *err)
{
	_cleanup_(newfile_done) struct newfile f = { .fd = -1 };
	_cleanup_close_ int dir = -1;
	const char *name = NULL;
	int r = open_dir_of(path, &name, &dir);

	if (r == 0)
		r = newfile_open(dir, &f);
	if (r < 0)
		return errmsg_set(err, r, "%s", path);
	r = receive_to(f.fd, true, in, err);
	if (r < 0)
		return errmsg_prefix(err, r, "%s", path);
	r = set_meta(f.fd, h);
	if (r == 0)
		r = newfile_commit(&f, name, false);
	return r < 0 ? errmsg_set(err, r, "%s", path) : 0;
}

/* A device, a fifo, a link: as a shell's redirection. */
static int receive_in_place(const char *path, struct flow *in,
			    struct errmsg *err)
{
	_cleanup_close_ int fd =
		is_standard(path)
			? fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3)
			: open(path, O_WRONLY | O_TRUNC | O_NOCTTY | O_CLOEXEC);
	int r;

	if (fd < 0)
		return errmsg_set(err, -errno, "%s", path);
	r = receive_to(fd, false, in, err);
	return r < 0 ? errmsg_prefix(err, r, "%s", path) : 0;
}

static int receive_file(const char *path, const struct copyhead *h,
			struct flow *in, struct errmsg *err)
{
	_cleanup_free_ char *place = NULL, *real = NULL;
	struct stat st;
	bool there;

	if (is_standard(path))
		return receive_in_place(path, in, err);
	there = stat(path, &st) == 0;
	place = copyhead_place(h, path, there && S_ISDIR(st.st_mode));
	if (!place)
		return errmsg_set(err, -ENOMEM, "%s", path);
	there = stat(place, &st) == 0;
	if (there && S_ISDIR(st.st_mode))
		return errmsg_set(err, -EISDIR, "%s", place);
	if (there && !S_ISREG(st.st_mode))
		return receive_in_place(place, in, err);
	real = there ? realpath(place, NULL) : NULL; /* not the link to it */
	return receive_new(real ? real : place, h, in, err);
}

/* As it comes, but for what is behind its end. */
static int copy_out(struct flow *in, struct errmsg *err)
{
	_cleanup_(flow_done) struct flow out = { 0 };
	uint8_t buf[65536];
	ssize_t n = 0;
	int r = flow_init(&out, STDOUT_FILENO, DIGEST_NONE);

	while (r == 0 && (n = flow_read(in, buf, sizeof(buf))) > 0)
		r = flow_write(&out, buf, (size_t)n);
	if (r == 0)
		r = n < 0 ? (int)n : flow_flush(&out);
	return r < 0 ? errmsg_set(err, r, "standard output") : 0;
}

static int receive_dir(const char *path, const struct copyhead *h,
		       struct flow *in, struct errmsg *err)
{
	_cleanup_free_ char *place = NULL;
	struct tree_options o = { 0 };
	_cleanup_close_ int dir = -1;
	struct tree_counts n;
	struct stat st;
	int r;

	if (is_standard(path))
		return copy_out(in, err);
	place = copyhead_place(h, path,
			       stat(path, &st) == 0 && S_ISDIR(st.st_mode));
	if (!place)
		return errmsg_set(err, -ENOMEM, "%s", path);
	o.fresh = mkdir(place, 0700) == 0;
	if (!o.fresh && errno != EEXIST)
		return errmsg_set(err, -errno, "%s", place);
	dir = open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return errmsg_set(err, -errno, "%s", place);
	r = tree_receive(dir, in, &o, &n, err);
	return r < 0 ? errmsg_prefix(err, r, "%s", place) : 0;
}

int copylocal_receive(int fd, const char *path)
{
	_cleanup_(copyhead_done) struct copyhead h = { 0 };
	_cleanup_(flow_done) struct flow in = { 0 };
	struct errmsg err;
	int r = copyhead_read(fd, &h, &err);

	if (r == 0) {
		r = flow_init(&in, fd, DIGEST_NONE);
		if (r < 0)
			errmsg_set(&err, r, "%s", path);
	}
	if (r == 0)
		r = h.dir ? receive_dir(path, &h, &in, &err)
			  : receive_file(path, &h, &in, &err);
	if (r < 0 && r != -ENODATA) /* who sent it has said why it ended */
		log_err("%s", err.text);
	return r < 0 ? EXIT_FAILED : EXIT_DONE;
}
