#include <config.h>

#include "plan_data.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "chain.h"
#include "cleanup.h"
#include "image.h"
#include "log.h"
#include "plan_disk.h"

/* -- what is named --------------------------------------------------------- */

int plan_data_path(const struct task *t, const char *option, const char *path,
		   const char *also, char **ret, struct stat *st,
		   struct errmsg *err)
{
	_cleanup_free_ char *real = realpath(path, NULL);

	if (!real || stat(real, st) < 0)
		return errmsg_set(err, -errno, "%s=%s on %s", option, path,
				  t->node);
	if (*t->allow_mounts && !chain_is_in(real, t->allow_mounts) &&
	    !chain_is_in(real, also))
		return errmsg_say(
			err, -EPERM,
			"%s: %s: the site gives guests files of %s only (allow_mounts)",
			option, real, t->allow_mounts);
	*ret = TAKE_PTR(real);
	return 0;
}

static int take_path(const struct qemu_plan *plan, enum data_kind kind,
		     const char *path, char **ret, struct stat *st,
		     struct errmsg *err)
{
	return plan_data_path(plan->task, data_option(kind), path,
			      kind == DATA_INPUT ? plan->task->data_path : "",
			      ret, st, err);
}

static int need_dir(enum data_kind kind, const char *path,
		    const struct stat *st, int mode, struct errmsg *err)
{
	if (!S_ISDIR(st->st_mode))
		return errmsg_set(err, -ENOTDIR, "%s=%s", data_option(kind),
				  path);
	if (access(path, mode | X_OK) < 0)
		return errmsg_set(err, -errno, "%s=%s", data_option(kind),
				  path);
	return 0;
}

/* The last of @path without its suffix: "imagenet" of "/data/imagenet.sqsh". */
static void short_name(const char *path, char *ret, size_t size)
{
	static const char *const suffixes[] = { ".sqsh", ".squashfs", ".sqfs" };
	const char *slash = strrchr(path, '/');
	size_t n;

	snprintf(ret, size, "%s", slash ? slash + 1 : path);
	n = strlen(ret);
	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
		size_t m = strlen(suffixes[i]);

		if (n > m && strcmp(ret + n - m, suffixes[i]) == 0) {
			ret[n - m] = '\0';
			return;
		}
	}
}

/* One is at @top itself, several are below it by their names. */
static void place(const char *top, size_t n, const char *path, char *ret,
		  size_t size)
{
	char name[NAME_MAX + 1];

	short_name(path, name, sizeof(name));
	if (n > 1)
		snprintf(ret, size, "%s/%s", top, name);
	else
		snprintf(ret, size, "%s", top);
}

/* -- shares ---------------------------------------------------------------- */

/* The first that virtiofs does not carry tells that none of them is. */
static bool may_be_virtiofs(const struct qemu_plan *plan)
{
	return !plan->n_shares || plan->share[0].virtiofs;
}

static int share(struct qemu_plan *plan, struct data_item *d,
		 struct errmsg *err)
{
	struct share *s = &plan->share[plan->n_shares];
	struct errmsg why;
	int fd = -ENOSYS;

	if (plan->n_shares == SHARES_MAX)
		return errmsg_say(
			err, -E2BIG,
			"%s: more than %d directories of the node in a guest: name one above them, or put data into a SquashFS",
			data_option(d->kind), SHARES_MAX);
	snprintf(d->tag, sizeof(d->tag), "vmstep%u", plan->n_shares);
	snprintf(s->tag, sizeof(s->tag), "%s", d->tag);
	s->ro = d->ro;
	s->path = strdup(d->src);
	if (!s->path)
		return errmsg_set(err, -ENOMEM, "%s", d->src);
	if (may_be_virtiofs(plan)) {
		fd = share_start(s, plan->task->virtiofsd, plan->task->step_dir,
				 &why);
		if (fd < 0)
			log_debug("directories go by 9p: %s", why.text);
	}
	plan->fd[QEMU_FD_SHARE + plan->n_shares++] = fd < 0 ? -1 : fd;
	d->by = fd < 0 ? BY_9P : BY_VIRTIOFS;
	return 0;
}

/* -- --vm-input ------------------------------------------------------------ */

static int find_input(const struct qemu_plan *plan, const char *name,
		      char **ret, struct errmsg *err)
{
	static const char *const suffixes[] = { "", ".sqsh", ".squashfs",
						".sqfs", NULL };
	const char *search = plan->task->data_path;

	*ret = image_search(name, search, suffixes, "");
	if (*ret)
		return 0;
	return errmsg_say(
		err, -ENOENT, "--vm-input=%s: no such data on %s%s%s", name,
		plan->task->node,
		!*search || strchr(name, '/')
			? ""
			: ", neither in the working directory nor, with or without .sqsh, in ",
		strchr(name, '/') ? "" : search);
}

/* What else there is, QEMU or the guest's kernel would tell later, and worse.
 */
static int need_squashfs(const char *path, struct errmsg *err)
{
	struct stat st;
	_cleanup_close_ int fd = chain_open(path, &st, err);
	char magic[4];

	if (fd < 0)
		return fd;
	if (pread(fd, magic, sizeof(magic), 0) != sizeof(magic) ||
	    memcmp(magic, "hsqs", sizeof(magic)) != 0)
		return errmsg_say(
			err, -EINVAL,
			"%s is no SquashFS: make one by mksquashfs, or name a directory",
			path);
	return 0;
}

static int input(struct qemu_plan *plan, size_t i, struct errmsg *err)
{
	const struct strings *all = &plan->spec->inputs;
	_cleanup_free_ char *path = NULL, *real = NULL;
	char dst[PATH_MAX];
	struct data_item *d;
	struct stat st;
	int r = find_input(plan, all->v[i], &path, err);

	if (r == 0)
		r = take_path(plan, DATA_INPUT, path, &real, &st, err);
	if (r < 0)
		return r;
	place("/input", all->n, all->v[i], dst, sizeof(dst));
	d = data_items_add(&plan->data, DATA_INPUT, real, dst, err);
	if (!d)
		return -ENOMEM;
	d->ro = true;
	if (S_ISDIR(st.st_mode)) {
		r = need_dir(DATA_INPUT, real, &st, R_OK, err);
		return r < 0 ? r : share(plan, d, err);
	}
	snprintf(d->tag, sizeof(d->tag), "input%zu", i);
	d->by = BY_DISK;
	r = need_squashfs(real, err);
	if (r < 0)
		return errmsg_prefix(err, r, "--vm-input");
	return plan_data_disk(real, d->tag, plan, err);
}

/* -- --vm-output, --vm-mounts, --vm-scratch -------------------------------- */

/* It may be new, but not the directory it is in. */
static int take_output(const struct qemu_plan *plan, const char *path,
		       char **ret, struct errmsg *err)
{
	bool made = mkdir(path, 0777) == 0;
	struct stat st;
	int r;

	if (!made && errno != EEXIST)
		return errmsg_set(err, -errno, "--vm-output=%s on %s", path,
				  plan->task->node);
	r = take_path(plan, DATA_OUTPUT, path, ret, &st, err);
	if (r == 0)
		r = need_dir(DATA_OUTPUT, *ret, &st, R_OK | W_OK, err);
	if (made && (r < 0 || plan->spec->dry_run))
		rmdir(path);
	return r;
}

static int output(struct qemu_plan *plan, size_t i, struct errmsg *err)
{
	const struct strings *all = &plan->spec->outputs;
	_cleanup_free_ char *real = NULL;
	char dst[PATH_MAX];
	struct data_item *d;
	int r = take_output(plan, all->v[i], &real, err);

	if (r < 0)
		return r;
	place("/output", all->n, real, dst, sizeof(dst));
	d = data_items_add(&plan->data, DATA_OUTPUT, real, dst, err);
	return d ? share(plan, d, err) : -ENOMEM;
}

static int mount(struct qemu_plan *plan, const struct mountspec *m,
		 struct errmsg *err)
{
	_cleanup_free_ char *real = NULL;
	struct data_item *d;
	struct stat st;
	int r = take_path(plan, DATA_MOUNT, m->src, &real, &st, err);

	if (r == 0)
		r = need_dir(DATA_MOUNT, real, &st, m->ro ? R_OK : 0, err);
	if (r < 0)
		return r;
	d = data_items_add(&plan->data, DATA_MOUNT, real, m->dst, err);
	if (!d)
		return -ENOMEM;
	d->ro = m->ro;
	return share(plan, d, err);
}

static int scratch(struct qemu_plan *plan, unsigned int i, struct errmsg *err)
{
	char dst[32] = "/scratch";
	struct data_item *d;

	if (i)
		snprintf(dst, sizeof(dst), "/scratch%u", i);
	d = data_items_add(&plan->data, DATA_SCRATCH, NULL, dst, err);
	if (!d)
		return -ENOMEM;
	d->by = BY_DISK;
	snprintf(d->tag, sizeof(d->tag), "scratch%u", i);
	return 0;
}

/* Mounts first: an input may lie below one. */
int plan_data(struct qemu_plan *plan, struct errmsg *err)
{
	const struct spec *s = plan->spec;
	int r = 0;

	for (size_t i = 0; i < s->mounts.n && r == 0; i++)
		r = mount(plan, &s->mounts.v[i], err);
	for (size_t i = 0; i < s->inputs.n && r == 0; i++)
		r = input(plan, i, err);
	for (size_t i = 0; i < s->outputs.n && r == 0; i++)
		r = output(plan, i, err);
	for (unsigned int i = 0; i < s->scratch.n && r == 0; i++)
		r = scratch(plan, i, err);
	return r;
}
