#include <config.h>

#include "image.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "value.h"

#define CHAIN_MAX 16 /* files of one qcow2 chain */
#define HEADER_MAX                                                \
	(64 * 1024) /* a qcow2's first cluster, as far as we read \
		     */

/* -- qcow2 headers (docs/interop/qcow2.txt of QEMU) ------------------------ */

#define QCOW2_MAGIC	 0x514649fb
#define QCOW2_EXT_FORMAT 0xe2792aca
#define QCOW2_DATA_FILE	 (1ull << 2) /* incompatible feature */
#define QCOW2_V2_LENGTH	 72
#define QCOW2_V3_MIN	 104

static uint32_t be32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return be32toh(v);
}

static uint64_t be64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return be64toh(v);
}

static int parse_backing(const uint8_t *b, size_t len, struct qcow2_header *h,
			 struct errmsg *err)
{
	uint64_t off = be64(b + 8);
	uint32_t n = be32(b + 16);

	if (off == 0)
		return 0;
	if (n >= sizeof(h->backing) || off > len || n > len - off)
		return errmsg_say(
			err, -EINVAL,
			"damaged qcow2 header: its backing file's name lies outside");
	memcpy(h->backing, b + off, n);
	h->backing[n] = '\0';
	if (strlen(h->backing) != n)
		return errmsg_say(
			err, -EINVAL,
			"damaged qcow2 header: its backing file's name has a NUL byte");
	return 0;
}

/* QEMU reads extensions up to the backing file's name, or the end of the first
 * cluster. What lies beyond would be believed here and not by QEMU. */
static size_t extensions_end(const uint8_t *b, size_t len)
{
	uint64_t backing = be64(b + 8);
	uint32_t cluster_bits = be32(b + 20);

	if (backing)
		return backing < len ? (size_t)backing : len;
	return cluster_bits < 16 && (1u << cluster_bits) < len
		       ? (size_t)1 << cluster_bits
		       : len;
}

static void parse_extensions(const uint8_t *b, size_t len, size_t at,
			     struct qcow2_header *h)
{
	while (at <= len && len - at >= 8) {
		uint32_t type = be32(b + at), n = be32(b + at + 4);

		at += 8;
		if (type == 0 || n > len - at)
			return;
		if (type == QCOW2_EXT_FORMAT && n < sizeof(h->backing_format)) {
			memcpy(h->backing_format, b + at, n);
			h->backing_format[n] = '\0';
		}
		at += ((size_t)n + 7) & ~(size_t)7;
	}
}

int qcow2_parse(const uint8_t *b, size_t len, struct qcow2_header *ret,
		struct errmsg *err)
{
	uint32_t version, header = QCOW2_V2_LENGTH;
	int r;

	*ret = (struct qcow2_header){ 0 };
	if (len < QCOW2_V2_LENGTH || be32(b) != QCOW2_MAGIC)
		return -EILSEQ;
	version = be32(b + 4);
	if (version != 2 && version != 3)
		return errmsg_say(err, -EINVAL, "qcow2 version %u is unknown",
				  version);
	if (version == 3) {
		if (len < QCOW2_V3_MIN)
			return errmsg_say(err, -EINVAL,
					  "damaged qcow2 header: cut short");
		header = be32(b + 100);
		ret->external_data = be64(b + 72) & QCOW2_DATA_FILE;
	}
	ret->size = be64(b + 24);
	ret->encrypted = be32(b + 32) != 0;
	r = parse_backing(b, len, ret, err);
	if (r == 0)
		parse_extensions(b, extensions_end(b, len), header, ret);
	return r;
}

/* -- files ----------------------------------------------------------------- */

static int open_regular(const char *path, struct stat *st, struct errmsg *err)
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

static int read_header(const char *path, struct qcow2_header *h,
		       struct errmsg *err)
{
	_cleanup_free_ uint8_t *buf = malloc(HEADER_MAX);
	_cleanup_close_ int fd = -1;
	struct stat st;
	ssize_t n;

	if (!buf)
		return errmsg_set(err, -ENOMEM, "%s", path);
	fd = open_regular(path, &st, err);
	if (fd < 0)
		return fd;
	n = pread(fd, buf, HEADER_MAX, 0);
	if (n < 0)
		return errmsg_set(err, -errno, "%s", path);
	return qcow2_parse(buf, (size_t)n, h, err);
}

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

/* Follow the chain below @path, an absolute one. */
static int check_chain(const char *path, int depth, struct errmsg *err)
{
	struct qcow2_header h;
	char below[PATH_MAX];
	int r;

	if (depth == 0)
		return errmsg_say(err, -ELOOP, "%s: more than %d backing files",
				  path, CHAIN_MAX);
	r = read_header(path, &h, err);
	if (r == -EILSEQ && depth == CHAIN_MAX)
		return errmsg_say(
			err, -EINVAL,
			"%s has no qcow2 header; if it is a raw disk, say --vm-image=%s,fmt=raw",
			path, path);
	if (r == -EILSEQ)
		return errmsg_say(
			err, -EINVAL,
			"%s has no qcow2 header; if it is a raw disk, the file above it has to say so (backing format raw)",
			path);
	if (r < 0)
		return r;
	if (h.external_data)
		return errmsg_say(err, -EPERM,
				  "%s keeps its data in another file: refused",
				  path);
	if (h.encrypted)
		return errmsg_say(err, -ENOTSUP,
				  "%s is encrypted: decrypt it first", path);
	if (!h.backing[0])
		return 0;
	r = backing_path(path, h.backing, below, err);
	if (r < 0)
		return errmsg_prefix(err, r, "%s", path);
	if (strcmp(h.backing_format, "raw") == 0) {
		struct stat st;

		r = open_regular(below, &st, err);
		if (r >= 0)
			close(r);
		r = r < 0 ? r : 0;
	} else if (!h.backing_format[0] ||
		   strcmp(h.backing_format, "qcow2") == 0) {
		r = check_chain(below, depth - 1, err);
	} else {
		return errmsg_say(
			err, -ENOTSUP,
			"%s: its backing file's format '%s' is not in this version",
			path, h.backing_format);
	}
	return r < 0 ? errmsg_prefix(err, r, "backing file of %s", path) : 0;
}

static bool has_suffix(const char *text, const char *suffix)
{
	size_t n = strlen(text), m = strlen(suffix);

	return n > m && strcmp(text + n - m, suffix) == 0;
}

/* What follows an image's name: nothing, ",fmt=raw" or ",fmt=qcow2"; the
 * format, or NULL. Options are checked already, a bundle's disks are not. */
static const char *format_of(const char *rest)
{
	if (!*rest)
		return "";
	return strcmp(rest, ",fmt=raw") == 0	 ? "raw"
	       : strcmp(rest, ",fmt=qcow2") == 0 ? "qcow2"
						 : NULL;
}

/* -- bundles --------------------------------------------------------------- */

static int in_bundle(const char *dir, const char *name, char **at,
		     struct errmsg *err)
{
	_cleanup_free_ char *path = NULL;
	struct stat st;
	int fd;

	if (strchr(name, '/'))
		return errmsg_say(
			err, -EINVAL,
			"'%s' is not the name of a file in the bundle", name);
	if (asprintf(&path, "%s/%s", dir, name) < 0) {
		path = NULL;
		return errmsg_set(err, -ENOMEM, "bundle");
	}
	fd = open_regular(path, &st, err);
	if (fd < 0)
		return fd;
	close(fd);
	free(*at);
	*at = TAKE_PTR(path);
	return 0;
}

static int bad_format(const char *spec, struct errmsg *err)
{
	return errmsg_say(
		err, -EINVAL,
		"'%s': a name is followed by nothing, ,fmt=raw or ,fmt=qcow2",
		spec);
}

static int bundle_disk(struct image *im, const char *value, struct errmsg *err)
{
	const char *comma = strchrnul(value, ',');
	const char *fmt = format_of(comma);
	_cleanup_free_ char *path = NULL;
	_cleanup_free_ char *name = strndup(value, (size_t)(comma - value));
	int r;

	if (!fmt)
		return bad_format(value, err);
	if (!name)
		return errmsg_set(err, -ENOMEM, "bundle");
	r = in_bundle(im->path, name, &path, err);
	if (r < 0)
		return r;
	r = strings_add(&im->disks, path, strlen(path));
	if (r == 0)
		r = strings_add(&im->formats, fmt, strlen(fmt));
	return r < 0 ? errmsg_set(err, r, "bundle") : 0;
}

static int bundle_key(struct image *im, const char *key, const char *value,
		      struct errmsg *err)
{
	if (strcmp(key, "kernel") == 0)
		return in_bundle(im->path, value, &im->kernel, err);
	if (strcmp(key, "initrd") == 0)
		return in_bundle(im->path, value, &im->initrd, err);
	if (strcmp(key, "disk") == 0)
		return bundle_disk(im, value, err);
	if (strcmp(key, "mem_min") == 0)
		return value_size(value, &im->mem_min, err);
	if (strcmp(key, "append") == 0) {
		free(im->append);
		im->append = strdup(value);
		return im->append ? 0 : errmsg_set(err, -ENOMEM, "bundle");
	}
	return errmsg_say(
		err, -EINVAL,
		"unknown key '%s'; it has kernel, initrd, append, disk and mem_min",
		key);
}

static int bundle_line(struct image *im, char *line, struct errmsg *err)
{
	char *key = value_strip(line), *eq;

	if (!*key || *key == '#')
		return 0;
	eq = strchr(key, '=');
	if (!eq)
		return errmsg_say(err, -EINVAL,
				  "'%s' is not of the form key = value", key);
	*eq = '\0';
	return bundle_key(im, value_strip(key), value_strip(eq + 1), err);
}

static int load_bundle(struct image *im, struct errmsg *err)
{
	_cleanup_free_ char *conf = NULL, *line = NULL;
	_cleanup_fclose_ FILE *f = NULL;
	unsigned int n = 0;
	size_t size = 0;
	int r;

	if (asprintf(&conf, "%s/vm.conf", im->path) < 0) {
		conf = NULL;
		return errmsg_set(err, -ENOMEM, "bundle");
	}
	f = fopen(conf, "re");
	if (!f && errno == ENOENT)
		return errmsg_say(
			err, -ENOTSUP,
			"%s is a directory without vm.conf: root file systems are not in this version yet",
			im->path);
	if (!f)
		return errmsg_set(err, -errno, "%s", conf);
	while (getline(&line, &size, f) >= 0) {
		n++;
		r = bundle_line(im, line, err);
		if (r < 0)
			return errmsg_prefix(err, r, "%s:%u", conf, n);
	}
	if (!im->kernel && !im->disks.n)
		return errmsg_say(err, -EINVAL,
				  "%s names neither kernel nor disk", conf);
	return 0;
}

/* -- finding --------------------------------------------------------------- */

static char *try_path(const char *dir, const char *name, const char *suffix)
{
	_cleanup_free_ char *path = NULL;

	if (asprintf(&path, "%s%s%s%s", dir, *dir ? "/" : "", name, suffix) <
	    0) {
		path = NULL;
		return NULL;
	}
	/* a path that is closed to us is there as far as we know, and
	 * "permission denied" is the better message; a closed directory of the
	 * search path is passed over */
	if (access(path, F_OK) < 0 && (*dir || errno != EACCES))
		return NULL;
	return TAKE_PTR(path);
}

static char *look_up(const char *name, const char *search)
{
	static const char *const suffixes[] = { "", ".qcow2", ".sqsh", ".vm" };
	char *path = try_path("", name, "");

	if (path || strchr(name, '/'))
		return path;
	for (const char *p = search; *p; p += *p == ':') {
		_cleanup_free_ char *dir = strndup(p, strcspn(p, ":"));

		if (!dir)
			return NULL;
		p += strlen(dir);
		for (size_t i = 0; i < ARRAY_SIZE(suffixes) && *dir; i++) {
			path = try_path(dir, name, suffixes[i]);
			if (path)
				return path;
		}
	}
	return NULL;
}

static int absolute(const char *path, char **ret, struct errmsg *err)
{
	*ret = realpath(path, NULL);
	return *ret ? 0 : errmsg_set(err, -errno, "%s", path);
}

/* Does the name that was given, or the file it leads to, end so? */
static bool named(const struct image *im, const char *given, const char *suffix)
{
	return has_suffix(given, suffix) || has_suffix(im->path, suffix);
}

/* fmt=raw, fmt=qcow2 or by header and name; see image.h. */
static int know_disk(struct image *im, const char *given, const char *fmt,
		     struct errmsg *err)
{
	struct stat st;
	int fd;

	if (!*fmt && named(im, given, ".sqsh"))
		return errmsg_say(
			err, -ENOTSUP,
			"%s: SquashFS roots are not in this version yet",
			im->path);
	if (strcmp(fmt, "raw") == 0 ||
	    (!*fmt && (named(im, given, ".raw") || named(im, given, ".img")))) {
		im->kind = IMAGE_RAW;
		fd = open_regular(im->path, &st, err);
		if (fd < 0)
			return fd;
		close(fd);
		return 0;
	}
	im->kind = IMAGE_QCOW2;
	return check_chain(im->path, CHAIN_MAX, err);
}

static int not_found(const char *name, const char *search, struct errmsg *err)
{
	_cleanup_free_ char *cwd = getcwd(NULL, 0);
	const char *here = cwd ? cwd : "the working directory";

	if (*name == '/')
		return errmsg_say(err, -ENOENT,
				  "%s: no such image on this node", name);
	if (strchr(name, '/'))
		return errmsg_say(err, -ENOENT,
				  "%s: no such image on this node, in %s", name,
				  here);
	return errmsg_say(
		err, -ENOENT,
		"%s: no such image on this node, neither in %s nor, with or without .qcow2, .sqsh or .vm, in %s",
		name, here, search);
}

int image_find(const char *spec, const char *search, struct image *ret,
	       struct errmsg *err)
{
	const char *comma = strchrnul(spec, ',');
	const char *fmt = format_of(comma);
	_cleanup_free_ char *name = strndup(spec, (size_t)(comma - spec));
	_cleanup_free_ char *path = NULL;
	struct stat st;
	int r;

	*ret = (struct image){ 0 };
	if (!fmt)
		return bad_format(spec, err);
	if (!name)
		return errmsg_set(err, -ENOMEM, "image");
	path = look_up(name, search);
	if (!path)
		return not_found(name, search, err);
	r = absolute(path, &ret->path, err);
	if (r == 0 && stat(ret->path, &st) < 0)
		r = errmsg_set(err, -errno, "%s", ret->path);
	if (r == 0 && S_ISDIR(st.st_mode)) {
		ret->kind = IMAGE_BUNDLE;
		r = load_bundle(ret, err);
	} else if (r == 0) {
		r = know_disk(ret, path, fmt, err);
	}
	if (r < 0)
		image_done(ret);
	return r;
}

int image_bundle_disk(const struct image *bundle, size_t i, struct image *ret,
		      struct errmsg *err)
{
	const char *path = bundle->disks.v[i];
	int r;

	*ret = (struct image){ 0 };
	r = absolute(path, &ret->path, err);
	if (r == 0)
		r = know_disk(ret, path, bundle->formats.v[i], err);
	if (r < 0)
		image_done(ret);
	return r;
}

void image_done(struct image *im)
{
	free(im->path);
	free(im->kernel);
	free(im->initrd);
	free(im->append);
	strings_done(&im->disks);
	strings_done(&im->formats);
	*im = (struct image){ 0 };
}
