#include <config.h>

#include "savedir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "made.h"
#include "newfile.h"
#include "statefile.h"

struct savedir {
	const struct task *task;
	char *parent, *path, *temp; /* owned */
	bool there;		    /* temp is */
};

static bool is_empty(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *e;
	bool empty = dir;

	while (dir && (e = readdir(dir)))
		empty = empty && (strcmp(e->d_name, ".") == 0 ||
				  strcmp(e->d_name, "..") == 0);
	if (dir)
		closedir(dir);
	return empty;
}

/* @path in two, the first without links. */
static int find_place(struct savedir *d, const char *path, struct errmsg *err)
{
	_cleanup_free_ char *copy = strdup(path), *name = NULL;
	struct stat st;
	size_t len = copy ? strlen(copy) : 0;
	char *slash;

	while (len > 1 && copy[len - 1] == '/')
		copy[--len] = '\0';
	slash = copy ? strrchr(copy, '/') : NULL;
	if (!slash)
		return errmsg_set(err, -ENOMEM, "%s", path);
	name = strdup(slash + 1);
	slash[slash == copy] = '\0'; /* of "/a" the first stays */
	if (!name || !*name || strcmp(name, ".") == 0 ||
	    strcmp(name, "..") == 0)
		return errmsg_say(err, -EINVAL, "%s names no new directory",
				  path);
	d->parent = realpath(copy, NULL);
	if (!d->parent)
		return errmsg_set(err, -errno, "%s", copy);
	if (asprintf(&d->path, "%s/%s", d->parent, name) < 0) {
		d->path = NULL;
		return errmsg_set(err, -ENOMEM, "%s", path);
	}
	if (lstat(d->path, &st) == 0 && !is_empty(d->path))
		return errmsg_say(err, -EEXIST,
				  "%s is there already: name a new directory",
				  d->path);
	return 0;
}

static int make_temp(struct savedir *d, struct errmsg *err)
{
	int r;

	if (asprintf(&d->temp, "%s/" NEWFILE_DIR "XXXXXX", d->parent) < 0) {
		d->temp = NULL;
		return errmsg_set(err, -ENOMEM, "%s", d->path);
	}
	if (!mkdtemp(d->temp))
		return errmsg_set(err, -errno, "a new directory in %s",
				  d->parent);
	d->there = true;
	r = made_record(d->task, d->temp, err);
	if (r < 0)
		savedir_drop(d);
	return r;
}

int savedir_new(const char *path, const struct task *t, struct savedir **ret,
		struct errmsg *err)
{
	struct savedir *d = calloc(1, sizeof(*d));
	int r = d ? 0 : errmsg_set(err, -ENOMEM, "%s", path);

	if (r == 0) {
		d->task = t;
		r = find_place(d, path, err);
	}
	if (r == 0)
		r = make_temp(d, err);
	if (r < 0)
		savedir_free(d);
	else
		*ret = d;
	return r;
}

void savedir_free(struct savedir *d)
{
	if (!d)
		return;
	free(d->parent);
	free(d->path);
	free(d->temp);
	free(d);
}

const char *savedir_path(const struct savedir *d)
{
	return d->path;
}

const char *savedir_temp(const struct savedir *d)
{
	return d->temp;
}

/* -- the end --------------------------------------------------------------- */

static int write_step(const struct savedir *d, const struct task *t,
		      struct errmsg *err)
{
	_cleanup_free_ char *path =
		statefile_path(d->temp, "step.json", TASK_ANY_RANK);
	json_t *o = json_pack("{s:i, s:s, s:i, s:s, s:I}", "format",
			      STATEFILE_FORMAT, "vmstep", PACKAGE_VERSION,
			      "tasks", (int)t->ranks, "step", t->step, "saved",
			      (json_int_t)time(NULL));
	_cleanup_free_ char *text = o ? json_dumps(o, JSON_INDENT(1)) : NULL;

	json_decref(o);
	return path && text ? statefile_write(path, text, err)
			    : errmsg_set(err, -ENOMEM, "%s", d->path);
}

/* What the step was started with, but for what it was restored from. */
static int write_options(const struct savedir *d, const struct task *t,
			 struct errmsg *err)
{
	_cleanup_free_ char *path =
		statefile_path(d->temp, "options", TASK_ANY_RANK);
	_cleanup_free_ char *text = NULL;
	struct optset set = { 0 };
	int r = optset_inherit(&set, &t->options, err);

	optset_clear(&set, OPT_RESTORE);
	text = optset_encode(&set);
	optset_done(&set);
	if (r == 0 && (!path || !text))
		r = errmsg_set(err, -ENOMEM, "%s", d->path);
	return r < 0 ? r : statefile_write(path, text, err);
}

/* Some file systems have no such thing. */
static int sync_dir(const char *path, struct errmsg *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || (fsync(fd) < 0 && errno != EINVAL))
		return errmsg_set(err, -errno, "%s", path);
	return 0;
}

int savedir_finish(struct savedir *d, const struct task *t, struct errmsg *err)
{
	int r = write_options(d, t, err);

	if (r == 0)
		r = write_step(d, t, err);
	if (r == 0)
		r = sync_dir(d->temp, err);
	if (r == 0 && rename(d->temp, d->path) < 0)
		r = errmsg_set(err, -errno, "%s", d->path);
	if (r < 0)
		return r;
	d->there = false;
	made_forget(d->task, d->temp);
	return sync_dir(d->parent, err);
}

void savedir_drop(struct savedir *d)
{
	DIR *dir = d->there ? opendir(d->temp) : NULL;
	struct dirent *e;

	while (dir && (e = readdir(dir)))
		if (e->d_name[0] != '.')
			unlinkat(dirfd(dir), e->d_name, 0);
	if (dir)
		closedir(dir);
	if (d->there && rmdir(d->temp) == 0)
		made_forget(d->task, d->temp);
	d->there = false;
}
