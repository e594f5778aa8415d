#include <config.h>

#include "image.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "chain.h"
#include "cleanup.h"
#include "rootfs.h"
#include "value.h"

static bool has_suffix(const char *text, const char *suffix)
{
	size_t n = strlen(text), m = strlen(suffix);

	return n > m && strcmp(text + n - m, suffix) == 0;
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
	fd = chain_open(path, &st, err);
	if (fd < 0)
		return fd;
	close(fd);
	free(*at);
	*at = TAKE_PTR(path);
	return 0;
}

static int bundle_disk(struct image *im, const char *value, struct errmsg *err)
{
	_cleanup_free_ char *path = NULL;
	struct imagespec *disks, spec;
	int r = imagespec_parse(value, &spec, err);

	if (r < 0)
		return r;
	if (spec.drive || spec.ctl & ~(unsigned int)CTL_PROTECT)
		r = errmsg_say(
			err, -EINVAL,
			"'%s': a bundle's disk is a file of it, without ctl=",
			value);
	if (r == 0)
		r = in_bundle(im->path, spec.name, &path, err);
	disks = r == 0 ? reallocarray(im->disks, im->n_disks + 1,
				      sizeof(*disks))
		       : NULL;
	if (r == 0 && !disks)
		r = errmsg_set(err, -ENOMEM, "bundle");
	if (r < 0) {
		imagespec_done(&spec);
		return r;
	}
	free(spec.name);
	spec.name = TAKE_PTR(path);
	im->disks = disks;
	disks[im->n_disks++] = spec;
	return 0;
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

static int load_bundle(struct image *im, const char *allow, struct errmsg *err)
{
	_cleanup_free_ char *conf = NULL, *line = NULL;
	_cleanup_fclose_ FILE *f = NULL;
	unsigned int n = 0;
	size_t size = 0;
	int r;

	r = chain_allowed(im->path, allow, err);
	if (r < 0)
		return r;
	if (asprintf(&conf, "%s/vm.conf", im->path) < 0) {
		conf = NULL;
		return errmsg_set(err, -ENOMEM, "bundle");
	}
	f = fopen(conf, "re");
	if (!f)
		return errmsg_set(err, -errno, "%s", conf);
	while (getline(&line, &size, f) >= 0) {
		n++;
		r = bundle_line(im, line, err);
		if (r < 0)
			return errmsg_prefix(err, r, "%s:%u", conf, n);
	}
	if (!im->kernel && !im->n_disks)
		return errmsg_say(err, -EINVAL,
				  "%s names neither kernel nor disk", conf);
	return 0;
}

/* -- finding --------------------------------------------------------------- */

static char *try_path(const char *dir, const char *name, const char *suffix,
		      const char *tail)
{
	_cleanup_free_ char *path = NULL;

	if (asprintf(&path, "%s%s%s%s%s", dir, *dir ? "/" : "", name, suffix,
		     tail) < 0) {
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

char *image_search(const char *name, const char *search,
		   const char *const *suffixes, const char *tail)
{
	char *path = try_path("", name, "", tail);

	if (path || strchr(name, '/'))
		return path;
	for (const char *p = search; *p; p += *p == ':') {
		_cleanup_free_ char *dir = strndup(p, strcspn(p, ":"));

		if (!dir)
			return NULL;
		p += strlen(dir);
		for (size_t i = 0; suffixes[i] && *dir; i++) {
			path = try_path(dir, name, suffixes[i], tail);
			if (path)
				return path;
		}
	}
	return NULL;
}

/* @tail: what ctl=J and R add. */
static char *look_up(const char *name, const char *search, const char *tail)
{
	static const char *const suffixes[] = { "", ".qcow2", ".sqsh", ".vm",
						NULL };

	return image_search(name, search, suffixes, tail);
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

/* By what is said, or by name and header; see image.h. */
static int know_disk(struct image *im, const struct imagespec *spec,
		     const char *allow, struct errmsg *err)
{
	const char *given = spec->name;
	int r;

	im->kind = spec->format;
	if (!im->kind &&
	    (named(im, given, ".sqsh") || named(im, given, ".squashfs"))) {
		im->kind = IMAGE_RAW;
		im->root = true;
		r = rootfs_check_squash(im->path, err);
		if (r < 0)
			return r;
	}
	if (!im->kind && (named(im, given, ".raw") || named(im, given, ".img")))
		im->kind = IMAGE_RAW;
	if (!im->kind)
		im->kind = IMAGE_QCOW2;
	return chain_check(im->path, im->kind, allow, &im->files, err);
}

static int not_found(const char *name, const char *tail, const char *search,
		     struct errmsg *err)
{
	_cleanup_free_ char *cwd = getcwd(NULL, 0);
	const char *here = cwd ? cwd : "the working directory";

	if (*name == '/')
		return errmsg_say(err, -ENOENT,
				  "%s%s: no such image on this node", name,
				  tail);
	if (strchr(name, '/'))
		return errmsg_say(err, -ENOENT,
				  "%s%s: no such image on this node, in %s",
				  name, tail, here);
	return errmsg_say(
		err, -ENOENT,
		"%s%s: no such image on this node, neither in %s nor, with or without .qcow2, .sqsh or .vm, in %s",
		name, tail, here, search);
}

static int know_bundle(struct image *im, const struct imagespec *spec,
		       const char *allow, struct errmsg *err)
{
	im->kind = IMAGE_BUNDLE;
	if (spec->ctl || spec->format)
		return errmsg_say(
			err, -EINVAL,
			"%s is a directory: ctl= and fmt= are for disks; its own are in its vm.conf",
			im->path);
	return load_bundle(im, allow, err);
}

static int know_dir(struct image *im, const struct imagespec *spec,
		    const char *allow, struct errmsg *err)
{
	_cleanup_free_ char *conf = NULL;
	int r;

	if (asprintf(&conf, "%s/vm.conf", im->path) < 0) {
		conf = NULL;
		return errmsg_set(err, -ENOMEM, "%s", im->path);
	}
	if (access(conf, F_OK) == 0 || errno != ENOENT)
		return know_bundle(im, spec, allow, err);
	im->kind = IMAGE_DIR;
	im->root = true;
	r = chain_allowed(im->path, allow, err);
	if (r == 0)
		r = rootfs_check_dir(im->path, err);
	if (r == 0 && ((spec->ctl & ~(unsigned int)CTL_COPY) || spec->format))
		return errmsg_say(
			err, -EINVAL,
			"%s is a directory: of ctl= and fmt= only ctl=c goes with a root file system that is none yet",
			im->path);
	return r;
}

char *image_look_up(const struct imagespec *spec,
		    const struct image_place *place)
{
	char tail[32];

	imagespec_tail(spec->ctl & CTL_JOB, spec->ctl & CTL_RANK, place->job,
		       place->rank, tail);
	return look_up(spec->name, place->search, tail);
}

int image_find(const struct imagespec *spec, const struct image_place *place,
	       struct image *ret, struct errmsg *err)
{
	_cleanup_free_ char *path = NULL;
	char tail[32];
	struct stat st;
	int r;

	*ret = (struct image){ 0 };
	imagespec_tail(spec->ctl & CTL_JOB, spec->ctl & CTL_RANK, place->job,
		       place->rank, tail);
	path = image_look_up(spec, place);
	if (!path)
		return not_found(spec->name, tail, place->search, err);
	r = absolute(path, &ret->path, err);
	if (r == 0 && stat(ret->path, &st) < 0)
		r = errmsg_set(err, -errno, "%s", ret->path);
	if (r == 0)
		r = S_ISDIR(st.st_mode)
			    ? know_dir(ret, spec, place->allow, err)
			    : know_disk(ret, spec, place->allow, err);
	if (r < 0)
		image_done(ret);
	return r;
}

int image_bundle_disk(const struct image *bundle, size_t i,
		      const struct image_place *place, struct image *ret,
		      struct errmsg *err)
{
	const struct imagespec *spec = &bundle->disks[i];
	int r;

	*ret = (struct image){ 0 };
	r = absolute(spec->name, &ret->path, err);
	if (r == 0)
		r = know_disk(ret, spec, place->allow, err);
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
	strings_done(&im->files);
	for (size_t i = 0; i < im->n_disks; i++)
		imagespec_done(&im->disks[i]);
	free(im->disks);
	*im = (struct image){ 0 };
}
