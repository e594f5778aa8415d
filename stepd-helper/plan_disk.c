#include <config.h>

#include "plan_disk.h"

#include <errno.h>
#include <string.h>

#include "cleanup.h"
#include "disk.h"

/* NULL with @err where there are too many. */
static struct qemu_disk *new_disk(struct qemu_plan *plan, struct errmsg *err)
{
	if (plan->n_disks < QEMU_DISKS_MAX)
		return &plan->disk[plan->n_disks++];
	errmsg_say(err, -E2BIG, "more than %d disks", QEMU_DISKS_MAX);
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

static int take_overlay(const struct task *t, const struct spec *s,
			const struct image *im, struct qemu_plan *plan,
			struct qemu_disk *d, struct errmsg *err)
{
	int *fd = &plan->fd[QEMU_FD_DISK + (d - plan->disk)];

	d->format = image_format_name(IMAGE_QCOW2);
	if (s->dry_run)
		return 0;
	*fd = disk_overlay(im->path, im->kind, s->rundir, t->qemu, err);
	return *fd < 0 ? *fd : 0;
}

int plan_disk(const struct task *t, const struct spec *s,
	      const struct imagespec *spec, const struct image *im,
	      struct qemu_plan *plan, struct errmsg *err)
{
	struct qemu_disk *d = new_disk(plan, err);
	int r = 0;

	if (!d)
		return -E2BIG;
	if (spec->ctl & (CTL_COPY | CTL_REMOVE))
		return errmsg_say(
			err, -ENOTSUP,
			"ctl=c and ctl=D are not in this version yet");
	d->bus = spec->bus;
	d->cache = spec->cache;
	d->cdrom = spec->cdrom;
	if (spec->serial)
		r = take_text(&d->serial, spec->serial, err);
	if (r == 0 && !s->dry_run)
		r = hold_files(&plan->hold, &im->files, spec->ctl & CTL_WRITE,
			       err);
	if (r < 0)
		return r;
	if (spec->ctl & (CTL_WRITE | CTL_PROTECT))
		return take_file(im, spec->ctl, d, err);
	return take_overlay(t, s, im, plan, d, err);
}

int plan_drive(const struct task *t, const struct imagespec *spec,
	       struct qemu_plan *plan, struct errmsg *err)
{
	struct qemu_disk *d;

	if (!t->allow_qemu_args)
		return errmsg_say(
			err, -EPERM,
			"%s: the site does not allow arguments for QEMU's -drive (allow_qemu_args): give the image's path first, without file=",
			spec->drive);
	d = new_disk(plan, err);
	return d ? take_text(&d->drive, spec->drive, err) : -E2BIG;
}
