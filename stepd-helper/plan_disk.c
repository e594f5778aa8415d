#include <config.h>

#include "plan_disk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chain.h"
#include "cleanup.h"
#include "disk.h"
#include "log.h"
#include "made.h"
#include "restore.h"
#include "rootfs.h"
#include "value.h"

/* NULL with @err where there are too many. */
static struct qemu_disk *new_disk(struct qemu_plan *plan, struct errmsg *err)
{
	if (plan->n_disks < QEMU_DISKS_MAX)
		return &plan->disk[plan->n_disks++];
	errmsg_say(
		err, -E2BIG,
		"--vm-image, --vm-scratch and --vm-input: more than %d disks",
		QEMU_DISKS_MAX);
	return NULL;
}

static int take_text(char **at, const char *text, struct errmsg *err)
{
	*at = strdup(text);
	return *at ? 0 : errmsg_set(err, -ENOMEM, "machine");
}

/* QEMU opens the file itself. */
static int take_file(const struct image *im, unsigned int ctl,
		     struct qemu_disk *d, struct errmsg *err)
{
	d->format = image_format_name(im->kind);
	d->read_only = ctl & CTL_PROTECT;
	d->lasts = ctl & CTL_WRITE;
	return take_text(&d->path, im->path, err);
}

static int make_overlay(const char *path, enum image_kind kind,
			struct qemu_plan *plan, unsigned int disk,
			struct errmsg *err)
{
	int *fd = &plan->fd[QEMU_FD_DISK + disk];

	*fd = disk_overlay(path, kind, plan->spec->rundir, plan->task->qemu,
			   err);
	return *fd < 0 ? *fd : 0;
}

static int note_base(struct qemu_disk *d, const char *path,
		     enum image_kind kind, struct errmsg *err)
{
	d->base_kind = kind;
	return take_text(&d->base, path, err);
}

/* Of a step that was saved: what is above @kind of file @path. */
static int take_saved(struct qemu_plan *plan, struct qemu_disk *d,
		      enum image_kind kind, struct errmsg *err)
{
	unsigned int n = (unsigned int)(d - plan->disk);
	_cleanup_free_ char *path = NULL;
	struct strings files = { 0 };
	int r = restore_disk(plan->restore, n, &kind, &path, err);

	if (r == 0)
		r = chain_check(path, kind, plan->task->allow_images, &files,
				err);
	if (r == 0 && !plan->spec->dry_run)
		r = hold_files(&plan->hold, &files, false, err);
	if (r == 0)
		r = note_base(d, path, kind, err);
	d->format = image_format_name(IMAGE_QCOW2);
	if (r == 0 && !plan->spec->dry_run)
		r = make_overlay(path, kind, plan, n, err);
	strings_done(&files);
	return r;
}

static int take_overlay(const struct image *im, struct qemu_plan *plan,
			struct qemu_disk *d, struct errmsg *err)
{
	int r;

	if (plan->restore)
		return take_saved(plan, d, IMAGE_QCOW2, err);
	r = note_base(d, im->path, im->kind, err);
	d->format = image_format_name(IMAGE_QCOW2);
	if (r < 0 || plan->spec->dry_run)
		return r;
	return make_overlay(im->path, im->kind, plan,
			    (unsigned int)(d - plan->disk), err);
}

/* -- copies ---------------------------------------------------------------- */

static int copy_path(const struct task *t, const struct spec *s,
		     unsigned int ctl, const struct image *im, char **ret,
		     struct errmsg *err)
{
	_cleanup_free_ char *dir = realpath(s->rundir, NULL);
	char tail[32];

	if (!dir)
		return errmsg_set(
			err, -errno,
			"run directory (--vm-rundir, or the site's rundir): %s",
			s->rundir);
	imagespec_tail(ctl & CTL_COPY_JOB, ctl & CTL_COPY_RANK, t->job, t->rank,
		       tail);
	if (asprintf(ret, "%s%s%s", dir, strrchr(im->path, '/'), tail) < 0) {
		*ret = NULL;
		return errmsg_set(err, -ENOMEM, "copy of %s", im->path);
	}
	return 0;
}

/* Two images, or an image and its copy, by one name? */
static int check_copy(const struct qemu_plan *plan, const struct diskcopy *c,
		      struct errmsg *err)
{
	if (strcmp(c->from, c->to) == 0)
		return errmsg_say(
			err, -EINVAL,
			"%s: its copy would have its own name: add j or r to ctl=, or name another directory by --vm-rundir",
			c->from);
	for (unsigned int i = 0; i < plan->n_copies; i++)
		if (strcmp(plan->copy[i].to, c->to) == 0 &&
		    (c->own || strcmp(plan->copy[i].from, c->from) != 0))
			return errmsg_say(
				err, -EINVAL,
				"%s and %s would have one name for their copies, %s: rename one of them",
				plan->copy[i].from, c->from, c->to);
	return 0;
}

static int record(const struct task *t, const struct diskcopy *c,
		  struct errmsg *err)
{
	_cleanup_free_ char *part = diskcopy_part(c, err);
	int r = part ? made_record(t, part, err) : -EIO;

	return r == 0 && c->removed ? made_record(t, c->to, err) : r;
}

/* Without r, or where the guest does not write to it, tasks share the copy. */
static int take_copy(const struct imagespec *spec, const struct image *im,
		     struct qemu_plan *plan, struct qemu_disk *d,
		     struct errmsg *err)
{
	const unsigned int ctl = spec->ctl;
	unsigned int n = plan->n_copies;
	struct diskcopy *c = &plan->copy[n];
	int r;

	*c = (struct diskcopy){ .kind = im->kind,
				.own = (ctl & CTL_COPY_RANK) &&
				       !(ctl & (CTL_PROTECT | CTL_SNAPSHOT)),
				.removed = ctl & CTL_COPY_REMOVE };
	r = take_text(&c->from, im->path, err);
	if (r == 0)
		r = copy_path(plan->task, plan->spec, ctl, im, &c->to, err);
	if (r == 0)
		r = check_copy(plan, c, err);
	plan->n_copies++;
	plan->copy_disk[n] = (unsigned int)(d - plan->disk);
	plan->copy_overlay[n] = !c->own && !(ctl & CTL_PROTECT);
	d->format = image_format_name(plan->copy_overlay[n] ? IMAGE_QCOW2
							    : im->kind);
	d->read_only = ctl & CTL_PROTECT;
	d->lasts = c->own && !c->removed;
	d->copied = true;
	d->base_goes = c->removed;
	if (r == 0)
		r = plan->copy_overlay[n] ? note_base(d, c->to, c->kind, err)
					  : take_text(&d->path, c->to, err);
	if (r < 0 || plan->spec->dry_run)
		return r;
	return record(plan->task, c, err);
}

/* The tasks of a node share it, and with c in ctl= it stays for other steps. */
static int take_squash(const struct imagespec *spec, const struct image *im,
		       struct qemu_plan *plan, struct qemu_disk *d,
		       struct errmsg *err)
{
	_cleanup_free_ char *dir = realpath(plan->spec->rundir, NULL);
	unsigned int n = plan->n_copies++;
	struct diskcopy *c = &plan->copy[n];
	uint64_t fingerprint;
	int r = dir ? 0
		    : errmsg_set(err, -errno, "run directory %s",
				 plan->spec->rundir);

	*c = (struct diskcopy){ .kind = IMAGE_RAW,
				.removed = !(spec->ctl & CTL_COPY),
				.squash = true };
	plan->copy_disk[n] = (unsigned int)(d - plan->disk);
	plan->copy_overlay[n] = false;
	if (r == 0)
		r = take_text(&c->from, im->path, err);
	if (r == 0)
		r = rootfs_fingerprint(im->path, &fingerprint, err);
	if (r == 0 &&
	    asprintf(&c->to, "%s%s.%016llx.sqsh", dir, strrchr(im->path, '/'),
		     (unsigned long long)fingerprint) < 0) {
		c->to = NULL;
		r = errmsg_set(err, -ENOMEM, "%s", im->path);
	}
	d->format = image_format_name(IMAGE_RAW);
	d->read_only = true;
	d->copied = true;
	if (r == 0)
		r = take_text(&d->path, c->to, err);
	if (r < 0 || plan->spec->dry_run)
		return r;
	return record(plan->task, c, err);
}

int plan_copied(struct qemu_plan *plan, const int *fds, struct errmsg *err)
{
	int r = 0;

	for (unsigned int i = 0; i < plan->n_copies; i++)
		plan->copy_fd[i] = fds[i];
	for (unsigned int i = 0; i < plan->n_copies && r == 0; i++)
		if (plan->copy_overlay[i])
			r = make_overlay(plan->copy[i].to, plan->copy[i].kind,
					 plan, plan->copy_disk[i], err);
	return r;
}

void plan_clean(struct qemu_plan *plan, bool has_run)
{
	for (unsigned int i = 0; i < plan->n_copies; i++)
		if (plan->copy[i].removed && plan->copy_fd[i] >= 0)
			diskcopy_remove(&plan->copy[i], plan->copy_fd[i]);
	for (size_t i = 0; i < plan->to_remove.n && has_run; i++)
		if (unlink(plan->to_remove.v[i]) < 0)
			log_warn("%s: cannot remove the image (ctl=D): %m",
				 plan->to_remove.v[i]);
}

/* -- any disk -------------------------------------------------------------- */

/* A copy is a VM's business, its image is for the time of copying only. */
static int hold_image(const struct imagespec *spec, const struct image *im,
		      struct qemu_plan *plan, struct errmsg *err)
{
	struct strings below = { .v = im->files.v + 1, .n = im->files.n - 1 };

	if (plan->spec->dry_run)
		return 0;
	if (spec->ctl & CTL_COPY)
		return hold_files(&plan->hold, &below, false, err);
	return hold_files(&plan->hold, &im->files, spec->ctl & CTL_WRITE, err);
}

/* The file itself, not a link to it. */
static int note_removal(const struct image *im, struct qemu_plan *plan,
			struct errmsg *err)
{
	int r = strings_add(&plan->to_remove, im->path, strlen(im->path));

	return r < 0 ? errmsg_set(err, r, "%s", im->path) : 0;
}

int plan_disk(const struct imagespec *spec, const struct image *im,
	      struct qemu_plan *plan, struct errmsg *err)
{
	struct qemu_disk *d = new_disk(plan, err);
	int r = 0;

	if (!d)
		return -E2BIG;
	d->bus = spec->bus;
	d->cache = spec->cache;
	d->cdrom = spec->cdrom;
	if (spec->serial)
		r = take_text(&d->serial, spec->serial, err);
	if (r == 0 && im->kind == IMAGE_DIR)
		return take_squash(spec, im, plan, d, err);
	if (r == 0)
		r = hold_image(spec, im, plan, err);
	if (r == 0 && (spec->ctl & CTL_REMOVE))
		r = note_removal(im, plan, err);
	d->base_goes = spec->ctl & CTL_REMOVE;
	if (r < 0)
		return r;
	if (spec->ctl & CTL_COPY)
		return take_copy(spec, im, plan, d, err);
	if (spec->ctl & (CTL_WRITE | CTL_PROTECT))
		return take_file(im, spec->ctl, d, err);
	return take_overlay(im, plan, d, err);
}

int plan_empty(const char *serial, uint64_t bytes, struct qemu_plan *plan,
	       struct errmsg *err)
{
	struct qemu_disk *d = new_disk(plan, err);
	int *fd, r;

	if (!d)
		return -E2BIG;
	d->format = image_format_name(IMAGE_QCOW2);
	r = take_text(&d->serial, serial, err);
	if (r == 0 && plan->restore)
		return take_saved(plan, d, IMAGE_QCOW2, err);
	if (r < 0 || plan->spec->dry_run)
		return r;
	fd = &plan->fd[QEMU_FD_DISK + (d - plan->disk)];
	*fd = disk_empty(bytes, plan->spec->rundir, plan->task->qemu, err);
	return *fd < 0 ? *fd : 0;
}

static int scratch(struct qemu_plan *plan, unsigned int i, struct errmsg *err)
{
	char serial[24];
	uint64_t bytes;
	int r = value_size(plan->spec->scratch.v[i], &bytes, err);

	snprintf(serial, sizeof(serial), "scratch%u", i);
	if (r == 0)
		r = plan_empty(serial, bytes, plan, err);
	return r < 0 ? errmsg_prefix(err, r, "--vm-scratch") : 0;
}

int plan_data_disk(const char *path, const char *serial, struct qemu_plan *plan,
		   struct errmsg *err)
{
	struct qemu_disk *d = new_disk(plan, err);
	int r;

	if (!d)
		return -E2BIG;
	d->format = image_format_name(IMAGE_RAW);
	d->read_only = true;
	r = take_text(&d->serial, serial, err);
	return r < 0 ? r : take_text(&d->path, path, err);
}

int plan_scratch(struct qemu_plan *plan, struct errmsg *err)
{
	int r = 0;

	for (unsigned int i = 0; i < plan->spec->scratch.n && r == 0; i++)
		r = scratch(plan, i, err);
	return r;
}

int plan_drive(const struct imagespec *spec, struct qemu_plan *plan,
	       struct errmsg *err)
{
	struct qemu_disk *d;

	if (!plan->task->allow_qemu_args)
		return errmsg_say(
			err, -EPERM,
			"--vm-image=%s: the site does not allow arguments for QEMU's -drive (allow_qemu_args): give the image's path first, without file=",
			spec->drive);
	d = new_disk(plan, err);
	return d ? take_text(&d->drive, spec->drive, err) : -E2BIG;
}
