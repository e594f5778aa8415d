#include <config.h>

#include "plan.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "accel.h"
#include "cleanup.h"
#include "disk.h"
#include "image.h"
#include "value.h"

static int add_disk(const struct task *t, const struct spec *s,
		    const struct image *im, struct qemu_plan *plan,
		    struct errmsg *err)
{
	int *fd = &plan->fd[QEMU_FD_DISK + plan->n_disks];

	if (plan->n_disks == QEMU_DISKS_MAX)
		return errmsg_say(err, -E2BIG, "--vm-image: more than %d disks",
				  QEMU_DISKS_MAX);
	plan->n_disks++;
	if (s->dry_run)
		return 0;
	*fd = disk_overlay(im, s->rundir, t->qemu, err);
	return *fd < 0 ? *fd : 0;
}

static int take_text(char **at, const char *text, struct errmsg *err)
{
	free(*at);
	*at = strdup(text);
	return *at ? 0 : errmsg_set(err, -ENOMEM, "machine");
}

static int take_bundle(const struct task *t, const struct spec *s,
		       const struct image *im, struct qemu_plan *plan,
		       struct errmsg *err)
{
	char least[16], have[16];
	int r = 0;

	if (im->mem_min > s->mem_bytes) {
		value_size_text(im->mem_min, least);
		value_size_text(s->mem_bytes, have);
		return errmsg_say(
			err, -ERANGE,
			"%s wants %s of memory at the least, the VM would have %s: ask for more by --vm-mem or the step's --mem",
			im->path, least, have);
	}
	if (im->kernel)
		r = take_text(&plan->kernel, im->kernel, err);
	if (r == 0 && im->initrd)
		r = take_text(&plan->initrd, im->initrd, err);
	if (r == 0 && im->append)
		r = take_text(&plan->append, im->append, err);
	for (size_t i = 0; i < im->disks.n && r == 0; i++) {
		struct image disk;

		r = image_bundle_disk(im, i, &disk, err);
		if (r == 0) {
			r = add_disk(t, s, &disk, plan, err);
			image_done(&disk);
		}
	}
	return r;
}

static int take_image(const struct task *t, const struct spec *s, size_t i,
		      struct qemu_plan *plan, struct errmsg *err)
{
	struct image im;
	int r = image_find(s->images.v[i], t->image_path, &im, err);

	if (r < 0)
		return errmsg_prefix(err, r, "--vm-image");
	if (im.kind == IMAGE_BUNDLE && i > 0)
		r = errmsg_say(
			err, -EINVAL,
			"--vm-image: %s is a bundle: it can be the first image of a task only",
			im.path);
	else if (im.kind == IMAGE_BUNDLE)
		r = take_bundle(t, s, &im, plan, err);
	else
		r = add_disk(t, s, &im, plan, err);
	if (i == 0)
		plan->seed = s->cloud_init && im.kind != IMAGE_BUNDLE;
	image_done(&im);
	return r;
}

static int readable(const char *path, const char *option, struct errmsg *err)
{
	if (access(path, R_OK) == 0)
		return 0;
	return errmsg_set(err, -errno, "%s=%s", option, path);
}

/* What --vm-kernel and its like say beats what a bundle brings; --vm-append
 * adds to it. */
static int take_kernel(const struct spec *s, struct qemu_plan *plan,
		       struct errmsg *err)
{
	_cleanup_free_ char *both = NULL;
	int r = 0;

	if (s->kernel) {
		r = readable(s->kernel, "--vm-kernel", err);
		if (r == 0)
			r = take_text(&plan->kernel, s->kernel, err);
		if (r == 0)
			r = take_text(&plan->append, "console=ttyS0", err);
		free(plan->initrd);
		plan->initrd = NULL;
	}
	if (r == 0 && s->initrd) {
		r = readable(s->initrd, "--vm-initrd", err);
		if (r == 0)
			r = take_text(&plan->initrd, s->initrd, err);
	}
	if (r < 0 || !s->append)
		return r;
	if (!plan->kernel)
		return errmsg_say(
			err, -EINVAL,
			"--vm-append needs a kernel: this image boots by itself; name one by --vm-kernel");
	if (asprintf(&both, "%s %s", plan->append ? plan->append : "",
		     s->append) < 0) {
		both = NULL;
		return errmsg_set(err, -ENOMEM, "machine");
	}
	return take_text(&plan->append, both, err);
}

int plan_prepare(const struct task *t, const struct spec *s,
		 struct qemu_plan *plan, struct errmsg *err)
{
	int r = 0;

	plan->task = t;
	plan->spec = s;
	for (size_t i = 0; i < s->images.n && r == 0; i++)
		r = take_image(t, s, i, plan, err);
	if (r < 0)
		return r;
	return take_kernel(s, plan, err);
}

int plan_accel(const struct task *t, const struct spec *s,
	       struct qemu_plan *plan, struct errmsg *why_not,
	       struct errmsg *err)
{
	int r = s->accel == ACCEL_TCG ? -ENODEV : accel_kvm_usable(why_not);

	plan->kvm = r == 0;
	if (r == 0)
		return 0;
	if (s->accel == ACCEL_KVM)
		return errmsg_say(
			err, r,
			"--vm-accel=kvm: %s on %s; say --vm-accel=tcg to run without, some 20 times slower",
			why_not->text, t->node);
	if (!t->allow_tcg)
		return errmsg_say(
			err, -EPERM,
			"KVM cannot be used on %s (%s), and the site does not allow VMs without it (allow_tcg)",
			t->node,
			s->accel == ACCEL_TCG ? "--vm-accel=tcg"
					      : why_not->text);
	return 0;
}

/* As a shell would need it written. */
static void print_quoted(const char *arg)
{
	if (*arg &&
	    strspn(arg,
		   "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=,./:+@%") ==
		    strlen(arg)) {
		printf(" %s", arg);
		return;
	}
	printf(" '");
	for (; *arg; arg++)
		if (*arg == '\'')
			printf("'\\''");
		else
			putchar(*arg);
	putchar('\'');
}

static void print_address(const struct qemu_plan *plan)
{
	const struct spec *s = plan->spec;
	char mac[18], ip[INET_ADDRSTRLEN];

	addr_mac_text(plan->task->rank, mac);
	addr_ip_text(addr_ip(&s->cidr, plan->task->rank), ip);
	printf("vm[%u]@%s: %s", plan->task->rank, plan->task->node,
	       s->hostname);
	if (s->net != NET_NONE)
		printf(" %s/%d %s", ip, s->cidr.prefix, mac);
	putchar('\n');
}

int plan_print(const struct qemu_plan *plan, const char *qemu)
{
	struct strings args = { 0 };
	int r = qemu_args(plan, qemu, &args);

	print_address(plan);
	printf("vm[%u]@%s:", plan->task->rank, plan->task->node);
	for (size_t i = 0; i < args.n; i++)
		print_quoted(args.v[i]);
	putchar('\n');
	strings_done(&args);
	return fflush(stdout) == 0 ? r : -errno;
}
