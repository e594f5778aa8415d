#include <config.h>

#include "plan_install.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "chain.h"
#include "child.h"
#include "cleanup.h"
#include "disk.h"
#include "isofile.h"
#include "made.h"
#include "newfile.h"
#include "plan_data.h"
#include "plan_disk.h"

#define QEMU_IMG_MS 60000

/* -- a new disk ------------------------------------------------------------ */

static enum image_kind new_kind(const struct imagespec *spec)
{
	const char *dot = strrchr(spec->name, '.');

	if (spec->format)
		return spec->format;
	return dot && (strcmp(dot, ".raw") == 0 || strcmp(dot, ".img") == 0)
		       ? IMAGE_RAW
		       : IMAGE_QCOW2;
}

/* Its directory and its name, both to be freed. */
static int new_place(const struct imagespec *spec,
		     const struct image_place *place, char **dir, char **name,
		     struct errmsg *err)
{
	const char *slash = strrchr(spec->name, '/');
	_cleanup_free_ char *given =
		slash ? strndup(spec->name, (size_t)(slash - spec->name) + 1)
		      : strdup(".");
	char tail[32];

	imagespec_tail(spec->ctl & CTL_JOB, spec->ctl & CTL_RANK, place->job,
		       place->rank, tail);
	if (!given ||
	    asprintf(name, "%s%s", slash ? slash + 1 : spec->name, tail) < 0) {
		*name = NULL;
		return errmsg_set(err, -ENOMEM, "%s", spec->name);
	}
	*dir = realpath(given, NULL);
	if (!*dir)
		return errmsg_set(err, -errno, "%s", given);
	return 0;
}

static int make_image(const char *path, const char *temp, enum image_kind kind,
		      uint64_t bytes, const char *qemu, struct errmsg *err)
{
	char tool[PATH_MAX], size[32];
	const char *argv[] = {
		tool, "create", "-q", "-f", image_format_name(kind),
		temp, size,	NULL
	};
	int r;

	disk_tool(qemu, tool, sizeof(tool));
	snprintf(size, sizeof(size), "%llu", (unsigned long long)bytes);
	r = child_run(argv, -1, QEMU_IMG_MS, err);
	/* a link takes no other's place: who came first has made it */
	if (r == 0 && link(temp, path) < 0 && errno != EEXIST)
		r = errmsg_set(err, -errno, "%s", path);
	unlink(temp);
	return r < 0 ? errmsg_prefix(err, r, "new disk %s", path) : 0;
}

int plan_new_image(const struct imagespec *spec,
		   const struct image_place *place,
		   const struct qemu_plan *plan, struct errmsg *err)
{
	_cleanup_free_ char *there =
		spec->size_bytes ? image_look_up(spec, place) : NULL;
	_cleanup_free_ char *dir = NULL, *name = NULL, *path = NULL;
	_cleanup_free_ char *temp = NULL;
	char temp_name[NEWFILE_NAME];
	int r;

	if (!spec->size_bytes || there)
		return 0;
	r = new_place(spec, place, &dir, &name, err);
	newfile_temp_name(temp_name);
	if (r == 0 && asprintf(&path, "%s/%s", dir, name) < 0)
		path = NULL;
	if (r == 0 && asprintf(&temp, "%s/%s", dir, temp_name) < 0)
		temp = NULL;
	if (r == 0 && (!path || !temp))
		r = errmsg_set(err, -ENOMEM, "%s", spec->name);
	if (r == 0)
		r = chain_allowed(path, place->allow, err);
	if (r == 0 && plan->spec->dry_run)
		return 1;
	if (r == 0)
		r = made_record(plan->task, temp, err);
	if (r == 0)
		r = make_image(path, temp, new_kind(spec), spec->size_bytes,
			       plan->task->qemu, err);
	return r;
}

int plan_unmade(const struct imagespec *spec, struct qemu_plan *plan,
		struct errmsg *err)
{
	char *path = spec->name; /* borrowed */
	const struct image im = { .kind = new_kind(spec),
				  .path = path,
				  .files = { .v = &path, .n = 1 } };

	return plan_disk(spec, &im, plan, err);
}

/* -- media ----------------------------------------------------------------- */

static int take_media(struct qemu_plan *plan, struct errmsg *err)
{
	const struct task *t = plan->task;
	const struct image_place place = { .search = t->image_path,
					   .allow = t->allow_images };
	const struct imagespec spec = {
		.name = plan->spec->install,
		.format = IMAGE_RAW,
		.ctl = CTL_PROTECT,
		.bus = BUS_IDE,
		.cdrom = true,
	};
	struct qemu_disk *d;
	struct image im;
	int r = image_find(&spec, &place, &im, err);

	if (r < 0)
		return r;
	r = plan_disk(&spec, &im, plan, err);
	image_done(&im);
	if (r < 0)
		return r;
	d = &plan->disk[plan->n_disks - 1];
	d->id = INSTALL_ID;
	d->bootindex = 1;
	plan->install = true;
	return 0;
}

/* -- what comes with it ---------------------------------------------------- */

/* The label by which an installer finds its answers by itself. */
static const char *label_of(const char *dir)
{
	static const struct {
		const char *file, *label;
	} labels[] = {
		{ "user-data", "CIDATA" }, /* cloud-init's autoinstall */
		{ "ks.cfg", "OEMDRV" },	   /* kickstart */
	};
	char path[PATH_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(labels); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, labels[i].file);
		if (access(path, F_OK) == 0)
			return labels[i].label;
	}
	return "install";
}

static int write_answers(int fd, const char *dir, struct errmsg *err)
{
	struct archive *a = isofile_new(fd, label_of(dir), err);

	return a ? isofile_end(a, isofile_put_tree(a, dir, err), err) : -EIO;
}

/* As an installer's script mounts it. */
static int share_answers(struct qemu_plan *plan, const char *dir,
			 struct errmsg *err)
{
	struct share *s = &plan->share[plan->n_shares];

	if (plan->n_shares == SHARES_MAX)
		return errmsg_say(
			err, -E2BIG,
			"more than %d directories of the node in a guest",
			SHARES_MAX);
	plan->n_shares++;
	snprintf(s->tag, sizeof(s->tag), "install");
	s->ro = true;
	s->path = strdup(dir);
	return s->path ? 0 : errmsg_set(err, -ENOMEM, "%s", dir);
}

/* As a disk, too: few installers know 9p. */
static int add_answers(struct qemu_plan *plan, const char *dir,
		       struct errmsg *err)
{
	_cleanup_close_ int fd = -1;
	struct qemu_disk *d;
	int r;

	if (plan->n_disks == QEMU_DISKS_MAX)
		return errmsg_say(err, -E2BIG, "more than %d disks",
				  QEMU_DISKS_MAX);
	d = &plan->disk[plan->n_disks++];
	d->format = image_format_name(IMAGE_RAW);
	d->read_only = true;
	d->serial = strdup("unattended");
	if (!d->serial)
		return errmsg_set(err, -ENOMEM, "%s", dir);
	if (plan->spec->dry_run)
		return 0;
	fd = disk_anonymous(plan->spec->rundir, err);
	r = fd < 0 ? fd : write_answers(fd, dir, err);
	if (r == 0)
		r = isofile_reopen(fd, err);
	if (r < 0)
		return r;
	plan->fd[QEMU_FD_DISK + (d - plan->disk)] = r;
	return 0;
}

static int take_answers(struct qemu_plan *plan, struct errmsg *err)
{
	_cleanup_free_ char *dir = NULL;
	struct stat st;
	int r = plan_data_path(plan->task, "unattended", plan->spec->unattended,
			       "", &dir, &st, err);

	if (r == 0 && !S_ISDIR(st.st_mode))
		r = errmsg_set(err, -ENOTDIR, "unattended=%s", dir);
	if (r == 0)
		r = share_answers(plan, dir, err);
	return r < 0 ? r : add_answers(plan, dir, err);
}

int plan_install(struct qemu_plan *plan, struct errmsg *err)
{
	const struct spec *s = plan->spec;
	int r;

	if (!s->install)
		return 0;
	if (plan->root || plan->kernel || !plan->n_disks)
		return errmsg_say(
			err, -EINVAL,
			"--vm-install needs a disk to install to as --vm-image, as in new.qcow2,ctl=w,size=20G");
	for (unsigned int i = 0; i < plan->n_disks; i++)
		plan->disk[i].bootindex = plan->disk[i].drive ? 0 : i + 2;
	plan->seed = s->cloud_from; /* not to the installer unless asked for */
	r = take_media(plan, err);
	if (r == 0 && s->unattended)
		r = take_answers(plan, err);
	return r < 0 ? errmsg_prefix(err, r, "--vm-install") : 0;
}
