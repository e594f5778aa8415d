#include <config.h>

#include "save.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "child.h"
#include "cleanup.h"
#include "copyfile.h"
#include "disk.h"
#include "made.h"
#include "newfile.h"
#include "relpath.h"
#include "together.h"
#include "work.h"

#define TOOL_MS INT_MAX /* Slurm's time limit is the one that counts */

struct save {
	const struct task *task;
	const struct spec *spec;
	char *dir, *name; /* owned; where it goes, without links */
	char *base;	  /* owned; what the overlay is above; NULL: none */
	const char *base_format;
	char *source;	    /* owned; the disk, where it is no overlay */
	const char *format; /* of the disk */
	int fd;		    /* owned; the overlay, or -1 */
	struct work *work;
	save_done_fn done;
	void *arg;
};

/* -- before the boot ------------------------------------------------------- */

static int find_place(struct save *sv, struct errmsg *err)
{
	const char *path = sv->spec->save, *slash = strrchr(path, '/');
	_cleanup_free_ char *dir =
		slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
	struct stat st;

	if (!dir)
		return errmsg_set(err, -ENOMEM, "%s", path);
	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return errmsg_say(
			err, -EISDIR,
			"%s is a directory: name a file in it, one for each task by %%t",
			path);
	sv->dir = realpath(dir, NULL);
	if (!sv->dir || access(sv->dir, W_OK | X_OK) < 0)
		return errmsg_set(err, -errno, "%s", dir);
	sv->name = strdup(slash ? slash + 1 : path);
	if (!sv->name)
		return errmsg_set(err, -ENOMEM, "%s", path);
	if (!*sv->name)
		return errmsg_say(err, -EISDIR, "%s names no file", path);
	return 0;
}

static int check_base(const struct save *sv, const struct qemu_disk *d,
		      struct errmsg *err)
{
	struct stat a, b;

	if (sv->spec->save_full)
		return 0;
	if (!d->base)
		return errmsg_say(
			err, -EINVAL,
			"%s: the guest writes to its copy, there is no overlay to save: add ,full",
			d->path);
	if (d->base_goes)
		return errmsg_say(
			err, -EINVAL,
			"%s, which the saved overlay would need, is removed at the end: add ,full",
			d->base);
	if (stat(sv->spec->save, &a) == 0 && stat(d->base, &b) == 0 &&
	    a.st_dev == b.st_dev && a.st_ino == b.st_ino)
		return errmsg_say(
			err, -EINVAL,
			"%s is the image itself: name another file, or add ,full",
			d->base);
	return 0;
}

static int check_disk(const struct save *sv, const struct qemu_plan *plan,
		      struct errmsg *err)
{
	const struct qemu_disk *d = plan->disk;

	if (!plan->n_disks || d->drive)
		return errmsg_say(
			err, -EINVAL,
			"the VM has no disk of an image's that could be saved");
	if (d->read_only)
		return errmsg_say(
			err, -EINVAL,
			"%s is write-protected: there is nothing to save",
			d->path);
	if (!d->base && !d->copied)
		return errmsg_say(
			err, -EINVAL,
			"the first disk is written itself (ctl=w), or a scratch disk: there is nothing to save");
	return check_base(sv, d, err);
}

static int take_disk(struct save *sv, const struct qemu_disk *d,
		     struct errmsg *err)
{
	sv->format = d->format;
	sv->base_format = image_format_name(d->base_kind);
	if (d->base)
		sv->base = strdup(d->base);
	else
		sv->source = strdup(d->path);
	return sv->base || sv->source ? 0 : errmsg_set(err, -ENOMEM, "disk");
}

int save_new(const struct task *t, const struct spec *s,
	     const struct qemu_plan *plan, struct save **ret,
	     struct errmsg *err)
{
	struct save *sv;
	int r;

	*ret = NULL;
	if (!s->save)
		return 0;
	sv = calloc(1, sizeof(*sv));
	if (!sv)
		return errmsg_set(err, -ENOMEM, "--vm-save");
	*sv = (struct save){ .task = t, .spec = s, .fd = -1 };
	r = check_disk(sv, plan, err);
	if (r == 0)
		r = find_place(sv, err);
	if (r == 0)
		r = together_check_save(t, s->save, sv->dir, err);
	if (r == 0)
		r = take_disk(sv, plan->disk, err);
	if (r < 0 || s->dry_run)
		save_free(sv);
	else
		*ret = sv;
	return r < 0 ? errmsg_prefix(err, r, "--vm-save") : 0;
}

/* -- in the process -------------------------------------------------------- */

static int run_tool(const struct save *sv, const char *const *args, int fd,
		    struct errmsg *err)
{
	char tool[PATH_MAX];
	const char *argv[16] = { tool };

	disk_tool(sv->task->qemu, tool, sizeof(tool));
	for (size_t i = 0; args[i]; i++)
		argv[i + 1] = args[i];
	return child_run(argv, fd, TOOL_MS, err);
}

static int write_whole(const struct save *sv, const char *temp,
		       struct errmsg *err)
{
	char fd[64];
	const char *args[] = { "convert", "-q", "-f", sv->format, "-O",
			       "qcow2",	  fd,	temp, NULL };

	snprintf(fd, sizeof(fd), "/proc/self/fd/%d", sv->fd);
	if (sv->source)
		args[6] = sv->source;
	return run_tool(sv, args, sv->fd, err);
}

static int write_overlay(const struct save *sv, int to, const char *temp,
			 struct errmsg *err)
{
	_cleanup_free_ char *below = relpath(sv->dir, sv->base);
	const char *args[] = {
		"rebase",	 "-q", "-u",  "-f", "qcow2", "-F",
		sv->base_format, "-b", below, temp, NULL
	};
	int r;

	if (!below)
		return errmsg_set(err, -ENOMEM, "%s", sv->base);
	r = copyfile(sv->fd, to, 0, NULL, NULL, err);
	return r < 0 ? r : run_tool(sv, args, -1, err);
}

/* As open(2) would have made it. */
static mode_t usual_mode(void)
{
	mode_t mask = umask(0);

	umask(mask);
	return 0666 & ~mask;
}

static int give_name(const struct save *sv, int fd, const char *temp,
		     struct errmsg *err)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_close_ int dir =
		open(sv->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (asprintf(&path, "%s/%s", sv->dir, sv->name) < 0) {
		path = NULL;
		return errmsg_set(err, -ENOMEM, "%s", sv->name);
	}
	if (fchmod(fd, usual_mode()) < 0 || fsync(fd) < 0 ||
	    rename(temp, path) < 0)
		return errmsg_set(err, -errno, "%s", path);
	/* some file systems have no such thing */
	if (dir < 0 || (fsync(dir) < 0 && errno != EINVAL))
		return errmsg_set(err, -errno, "%s", sv->dir);
	return 0;
}

static int write_disk(size_t i, const void *what, struct errmsg *err)
{
	const struct save *sv = what;
	_cleanup_free_ char *temp = NULL;
	_cleanup_close_ int fd = -1;
	char name[NEWFILE_NAME];
	int r;

	newfile_temp_name(name);
	if (asprintf(&temp, "%s/%s", sv->dir, name) < 0) {
		temp = NULL;
		return errmsg_set(err, -ENOMEM, "%s", sv->name);
	}
	r = made_record(sv->task, temp, err);
	if (r < 0)
		return r;
	fd = open(temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return errmsg_set(err, -errno, "%s", temp);
	r = sv->spec->save_full ? write_whole(sv, temp, err)
				: write_overlay(sv, fd, temp, err);
	if (r == 0)
		r = give_name(sv, fd, temp, err);
	if (r < 0)
		unlink(temp);
	return r;
}

/* -- in the helper --------------------------------------------------------- */

static void on_done(const char *error, const int *fds, void *arg)
{
	struct save *sv = arg;
	struct errmsg words;

	if (error)
		errmsg_say(&words, 0, "the disk is not saved as %s/%s: %s",
			   sv->dir, sv->name, error);
	work_free(TAKE_PTR(sv->work));
	sv->done(error ? words.text : NULL, sv->arg);
}

int save_keep(struct save *sv, int fd, struct errmsg *err)
{
	if (fd < 0)
		return 0;
	sv->fd = fcntl(fd, F_DUPFD_CLOEXEC, 10);
	return sv->fd < 0 ? errmsg_set(err, -errno, "--vm-save") : 0;
}

int save_start(struct save *sv, struct loop *l, save_done_fn done, void *arg,
	       struct errmsg *err)
{
	sv->done = done;
	sv->arg = arg;
	return work_start(l, write_disk, sv, 1, on_done, sv, &sv->work, err);
}

void save_free(struct save *sv)
{
	if (!sv)
		return;
	work_free(sv->work);
	if (sv->fd >= 0)
		close(sv->fd);
	free(sv->dir);
	free(sv->name);
	free(sv->base);
	free(sv->source);
	free(sv);
}
