#include <config.h>

#include "plan_root.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "plan_disk.h"

/* As the tiny bundle boots (contrib/mkimage.d/tiny.sh has the reasons). */
#define ROOT_APPEND                                                      \
	"console=ttyS0 quiet panic=-1 no_timer_check cryptomgr.notests " \
	"rdinit=/sbin/vmstep-root"
#define ROOT_SERIAL    "root"
#define OVERLAY_SERIAL "overlay"

static int check_keys(const struct imagespec *spec, const struct image *im,
		      struct errmsg *err)
{
	if (spec->ctl & CTL_WRITE)
		return errmsg_say(
			err, -EINVAL,
			"%s is a root file system that cannot be written to: leave w out of ctl=",
			im->path);
	if (spec->serial || spec->bus != BUS_VIRTIO)
		return errmsg_say(
			err, -EINVAL,
			"%s is a root file system: it has neither if=, media= nor serial=",
			im->path);
	return 0;
}

/* One of the two that boot it: the user's are looked at elsewhere. */
static int take_site(const char *key, const char *path, const struct image *im,
		     char **ret, struct errmsg *err)
{
	if (!*path)
		return errmsg_say(
			err, -ENOENT,
			"%s is a root file system, and the site has no %s for these (vmstep.conf): name both by --vm-kernel and --vm-initrd, as a bundle of contrib/mkimage tiny has them",
			im->path, key);
	if (access(path, R_OK) < 0)
		return errmsg_set(err, -errno, "the site's %s %s", key, path);
	*ret = strdup(path);
	return *ret ? 0 : errmsg_set(err, -ENOMEM, "machine");
}

static int take_kernel(const struct image *im, struct qemu_plan *plan,
		       struct errmsg *err)
{
	const struct task *t = plan->task;
	const struct spec *s = plan->spec;
	int r = 0;

	plan->root = true;
	plan->append = strdup(ROOT_APPEND);
	if (!plan->append)
		return errmsg_set(err, -ENOMEM, "machine");
	if (s->kernel && !s->initrd)
		return errmsg_say(
			err, -EINVAL,
			"--vm-kernel=%s: a root file system needs the kernel's own --vm-initrd, too, as contrib/mkimage tiny makes it",
			s->kernel);
	if (s->kernel)
		return 0;
	r = take_site("kernel", t->kernel, im, &plan->kernel, err);
	return r < 0 ? r
		     : take_site("initrd", t->initrd, im, &plan->initrd, err);
}

static int take_overlay(uint64_t bytes, struct qemu_plan *plan,
			struct errmsg *err)
{
	static const char word[] = " vmstep.overlay=" OVERLAY_SERIAL;
	char *append;
	int r;

	if (!bytes)
		return 0;
	append = realloc(plan->append, strlen(plan->append) + sizeof(word));
	if (!append)
		return errmsg_set(err, -ENOMEM, "machine");
	strcat(append, word);
	plan->append = append;
	r = plan_empty(OVERLAY_SERIAL, bytes, plan, err);
	return r < 0 ? errmsg_prefix(err, r, "overlay=") : 0;
}

int plan_root(const struct imagespec *spec, const struct image *im,
	      struct qemu_plan *plan, struct errmsg *err)
{
	struct imagespec root = *spec; /* borrows all of it */
	int r = check_keys(spec, im, err);

	root.serial = (char *)(uintptr_t)ROOT_SERIAL;
	if (im->kind != IMAGE_DIR) {
		root.ctl |= CTL_PROTECT;
		root.ctl &= ~(unsigned int)CTL_SNAPSHOT;
	}
	if (r == 0)
		r = take_kernel(im, plan, err);
	if (r == 0)
		r = plan_disk(&root, im, plan, err);
	return r < 0 ? r : take_overlay(spec->overlay_bytes, plan, err);
}
