#include <config.h>

#include "image.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../stepd-helper/image.h"
#include "child.h"
#include "cleanup.h"
#include "disk.h"
#include "filelock.h"
#include "image_info.h"
#include "image_seed.h"
#include "log.h"
#include "relpath.h"
#include "rootfs.h"
#include "site.h"

const struct cmd_option image_options[] = {
	[IMAGE_PACKAGES] = { "--packages", "LIST",
			     "of seed: packages that guests install" },
	[IMAGE_KEY] = { "--key", "FILE",
			"of seed: the public key that may log in" },
	{ 0 },
};

struct verb {
	const struct invocation *inv;
	const struct site *site;
	const char *arg[2]; /* NULL: not given */
};

/* -- images ---------------------------------------------------------------- */

/* As --vm-image names it, formats and all. */
static int find(const struct verb *v, struct image *ret, struct errmsg *err)
{
	const struct image_place place = { .search = v->site->image_path,
					   .allow = "" };
	struct imagespec spec;
	int r = imagespec_parse(v->arg[0], &spec, err);

	*ret = (struct image){ 0 };
	if (r < 0)
		return errmsg_prefix(err, r, "%s", v->arg[0]);
	if (spec.drive || spec.ctl)
		r = errmsg_say(
			err, -EINVAL,
			"%s: a path or name, and no key but fmt= goes with this",
			v->arg[0]);
	else
		r = image_find(&spec, &place, ret, err);
	imagespec_done(&spec);
	return r;
}

static int find_disk(const struct verb *v, struct image *ret,
		     struct errmsg *err)
{
	int r = find(v, ret, err);

	if (r < 0 || (!ret->root && ret->kind != IMAGE_BUNDLE))
		return r;
	r = errmsg_say(err, -EINVAL, "%s is no disk", ret->path);
	image_done(ret);
	return r;
}

static int run_tool(const struct verb *v, const char *const *args,
		    struct errmsg *err)
{
	char tool[PATH_MAX];
	const char *argv[16] = { tool };

	disk_tool(v->site->qemu, tool, sizeof(tool));
	for (size_t i = 0; args[i]; i++)
		argv[i + 1] = args[i];
	return child_run(argv, -1, INT_MAX, err);
}

static int info(const struct verb *v, struct errmsg *err)
{
	json_t *o = NULL;
	struct image im;
	int r = find(v, &im, err);

	if (r < 0)
		return r;
	r = image_info(&im, v->site->qemu, v->site->allow_images, &o, err);
	image_done(&im);
	if (r < 0)
		return r;
	if (v->inv->json)
		json_dumpf(o, stdout, JSON_INDENT(2));
	else
		image_info_print(o);
	if (v->inv->json)
		putchar('\n');
	json_decref(o);
	return 0;
}

/* Held as a VM that writes to it would hold it. */
static int resize_held(const struct verb *v, const struct image *im,
		       struct errmsg *err)
{
	const char *args[] = { "resize", "-q",
			       "-f",	 image_format_name(im->kind),
			       im->path, v->arg[1],
			       NULL };
	_cleanup_close_ int fd = open(im->path, O_RDWR | O_CLOEXEC);
	int r;

	if (fd < 0)
		return errmsg_set(err, -errno, "%s", im->path);
	r = filelock(fd, true);
	if (r == -EBUSY)
		return errmsg_say(err, r, "%s: a VM uses it", im->path);
	return run_tool(v, args, err);
}

static int resize(const struct verb *v, struct errmsg *err)
{
	struct image im;
	int r;

	if (v->arg[1][strspn(v->arg[1], "+0123456789KMGT")])
		return errmsg_say(
			err, -EINVAL,
			"'%s' is not a size: write it as in 20G, or +3G for so much more",
			v->arg[1]);
	r = find_disk(v, &im, err);
	if (r < 0)
		return r;
	r = resize_held(v, &im, err);
	image_done(&im);
	return r;
}

/* Where a new file goes: its directory without links, to be freed. */
static int new_place(const char *path, char **ret_dir, struct errmsg *err)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *dir =
		slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
	struct stat st;

	*ret_dir = NULL;
	if (!dir)
		return errmsg_set(err, -ENOMEM, "%s", path);
	if (lstat(path, &st) == 0)
		return errmsg_say(err, -EEXIST,
				  "%s is there: name another, or remove it",
				  path);
	*ret_dir = realpath(dir, NULL);
	return *ret_dir ? 0 : errmsg_set(err, -errno, "%s", dir);
}

/* Named from where it is, so that both can be moved together. */
static int overlay(const struct verb *v, struct errmsg *err)
{
	_cleanup_free_ char *dir = NULL, *below = NULL;
	struct image im;
	int r = find_disk(v, &im, err);

	if (r < 0)
		return r;
	r = new_place(v->arg[1], &dir, err);
	below = r == 0 ? relpath(dir, im.path) : NULL;
	if (r == 0 && !below)
		r = errmsg_set(err, -ENOMEM, "%s", im.path);
	if (r == 0) {
		const char *args[] = { "create",  "-q",
				       "-f",	  "qcow2",
				       "-F",	  image_format_name(im.kind),
				       "-b",	  below,
				       v->arg[1], NULL };

		r = run_tool(v, args, err);
	}
	image_done(&im);
	return r;
}

/* -- what becomes one ------------------------------------------------------ */

static int squash(const struct verb *v, struct errmsg *err)
{
	_cleanup_free_ char *dir = NULL, *temp = NULL;
	struct stat st;
	int r = new_place(v->arg[1], &dir, err);

	if (r < 0)
		return r;
	if (stat(v->arg[0], &st) < 0)
		return errmsg_set(err, -errno, "%s", v->arg[0]);
	if (!S_ISDIR(st.st_mode))
		return errmsg_say(
			err, -ENOTDIR,
			"%s is no directory; of an archive contrib/mkimage root makes one",
			v->arg[0]);
	if (asprintf(&temp, "%s.part", v->arg[1]) < 0) {
		temp = NULL;
		return errmsg_set(err, -ENOMEM, "%s", v->arg[1]);
	}
	r = rootfs_squash(v->arg[0], temp, err);
	if (r == 0 && rename(temp, v->arg[1]) < 0)
		r = errmsg_set(err, -errno, "%s", v->arg[1]);
	if (r < 0)
		unlink(temp);
	return r;
}

static int seed(const struct verb *v, struct errmsg *err)
{
	return image_seed(v->arg[0], v->inv->options[IMAGE_PACKAGES],
			  v->inv->options[IMAGE_KEY], err);
}

/* -------------------------------------------------------------------------- */

static const struct {
	const char *name, *args;
	int n;
	int (*run)(const struct verb *v, struct errmsg *err);
} verbs[] = {
	{ "info", "IMAGE", 1, info },
	{ "resize", "IMAGE SIZE", 2, resize },
	{ "overlay", "IMAGE NEW", 2, overlay },
	{ "squash", "DIR NEW.sqsh", 2, squash },
	{ "seed", "DIR", 1, seed },
};

static int run_verb(const struct invocation *inv, size_t i)
{
	struct verb v = { .inv = inv, .arg = { inv->args[1] } };
	struct errmsg err;
	struct site site;
	int r = site_load(inv->config ? inv->config : SITE_DEFAULT_PATH,
			  inv->config != NULL, &site, &err);

	if (inv->n_args > 2)
		v.arg[1] = inv->args[2];
	v.site = &site;
	if (r == 0) {
		r = verbs[i].run(&v, &err);
		site_done(&site);
	}
	if (r == 0 && fflush(stdout) != 0)
		r = errmsg_set(&err, -errno, "standard output");
	if (r == 0)
		return EXIT_DONE;
	log_err("image %s: %s", verbs[i].name, err.text);
	return EXIT_FAILED;
}

int image_run(const struct invocation *inv)
{
	bool of_seed = inv->options[IMAGE_PACKAGES] || inv->options[IMAGE_KEY];

	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		if (strcmp(verbs[i].name, inv->args[0]) != 0)
			continue;
		if (inv->n_args - 1 != verbs[i].n) {
			log_err("it is vmstep image %s %s", verbs[i].name,
				verbs[i].args);
			return EXIT_USAGE;
		}
		if (of_seed && verbs[i].run != seed) {
			log_err("--packages and --key are for vmstep image seed");
			return EXIT_USAGE;
		}
		return run_verb(inv, i);
	}
	log_err("image %s: say info, resize, overlay, squash or seed",
		inv->args[0]);
	return EXIT_USAGE;
}
