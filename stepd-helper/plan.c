#include <config.h>

#include "plan.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "accel.h"
#include "chain.h"
#include "cleanup.h"
#include "fam.h"
#include "image.h"
#include "log.h"
#include "plan_data.h"
#include "plan_disk.h"
#include "plan_install.h"
#include "plan_root.h"
#include "restore.h"
#include "together.h"
#include "value.h"
#include "vfio.h"

static int take_text(char **at, const char *text, struct errmsg *err)
{
	free(*at);
	*at = strdup(text);
	return *at ? 0 : errmsg_set(err, -ENOMEM, "machine");
}

static int take_bundle(const struct spec *s, const struct image *im,
		       const struct image_place *place, struct qemu_plan *plan,
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
	for (size_t i = 0; i < im->n_disks && r == 0; i++) {
		struct image disk;

		r = image_bundle_disk(im, i, place, &disk, err);
		if (r == 0) {
			r = plan_disk(&im->disks[i], &disk, plan, err);
			image_done(&disk);
		}
	}
	return r;
}

/* A SquashFS that is not booted is a disk to read. */
static int take_disk(const struct imagespec *spec, const struct image *im,
		     struct qemu_plan *plan, struct errmsg *err)
{
	struct imagespec read_only = *spec; /* borrows all of it */

	if (im->root && !(spec->ctl & CTL_WRITE))
		read_only.ctl |= CTL_PROTECT;
	return plan_disk(&read_only, im, plan, err);
}

static int take_found(const struct task *t, const struct spec *s, size_t i,
		      const struct imagespec *spec, struct qemu_plan *plan,
		      struct errmsg *err)
{
	const struct image_place place = { .search = t->image_path,
					   .allow = t->allow_images,
					   .job = t->job,
					   .rank = t->rank };
	struct image im;
	int r = plan_new_image(spec, &place, plan, err);

	if (r > 0) /* a dry run, and it would be made */
		return plan_unmade(spec, plan, err);
	if (r == 0)
		r = image_find(spec, &place, &im, err);
	if (r < 0)
		return errmsg_prefix(err, r, "--vm-image");
	if ((im.kind == IMAGE_BUNDLE || im.kind == IMAGE_DIR) && i > 0)
		r = errmsg_say(
			err, -EINVAL,
			"--vm-image: %s is a %s: it can be the first image of a task only",
			im.path, im.kind == IMAGE_DIR ? "directory" : "bundle");
	else if (spec->overlay_bytes && (!im.root || i > 0))
		r = errmsg_say(
			err, -EINVAL,
			"--vm-image: %s: overlay= is for the first image, and a root file system",
			im.path);
	else if (im.kind == IMAGE_BUNDLE)
		r = take_bundle(s, &im, &place, plan, err);
	else if (im.root && i == 0)
		r = plan_root(spec, &im, plan, err);
	else
		r = take_disk(spec, &im, plan, err);
	if (i == 0)
		plan->seed =
			s->cloud_from ||
			(s->cloud_init && im.kind != IMAGE_BUNDLE && !im.root);
	image_done(&im);
	return r;
}

static int take_image(const struct task *t, const struct spec *s, size_t i,
		      struct qemu_plan *plan, struct errmsg *err)
{
	struct imagespec spec;
	int r = imagespec_parse(s->images.v[i], &spec, err);

	if (r < 0)
		return errmsg_prefix(err, r, "--vm-image");
	if (spec.drive)
		r = plan_drive(&spec, plan, err);
	else
		r = take_found(t, s, i, &spec, plan, err);
	if (r == 0 && spec.drive && i == 0)
		plan->seed = s->cloud_init;
	imagespec_done(&spec);
	return r;
}

/* A kernel is a part of the image, as far as the site is concerned. */
static int readable(const struct task *t, const char *path, const char *option,
		    struct errmsg *err)
{
	_cleanup_free_ char *real = realpath(path, NULL);
	int r;

	if (!real || access(path, R_OK) < 0)
		return errmsg_set(err, -errno, "%s=%s", option, path);
	r = chain_allowed(real, t->allow_images, err);
	return r < 0 ? errmsg_prefix(err, r, "%s", option) : 0;
}

/* What --vm-kernel and its like say beats what a bundle brings; --vm-append
 * adds to it. */
static int take_kernel(const struct task *t, const struct spec *s,
		       struct qemu_plan *plan, struct errmsg *err)
{
	_cleanup_free_ char *both = NULL;
	int r = 0;

	if (s->kernel) {
		r = readable(t, s->kernel, "--vm-kernel", err);
		if (r == 0)
			r = take_text(&plan->kernel, s->kernel, err);
		if (r == 0 && !plan->root)
			r = take_text(&plan->append, "console=ttyS0", err);
		free(plan->initrd);
		plan->initrd = NULL;
	}
	if (r == 0 && s->initrd) {
		r = readable(t, s->initrd, "--vm-initrd", err);
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

/* A seed of the user's own: an image that is one, or what is to be in it. */
static int take_seed(const struct spec *s, struct qemu_plan *plan,
		     struct errmsg *err)
{
	struct stat st;
	int r;

	if (!s->cloud_from)
		return 0;
	if (stat(s->cloud_from, &st) < 0)
		return errmsg_set(err, -errno, "--vm-cloud-init=%s",
				  s->cloud_from);
	plan->seed_is_file = !S_ISDIR(st.st_mode);
	if (!plan->seed_is_file)
		r = seed_user_load(s->cloud_from, &plan->seed_user, err);
	else
		r = chain_open(s->cloud_from, &st, err);
	if (r < 0)
		return errmsg_prefix(err, r, "--vm-cloud-init");
	if (plan->seed_is_file)
		plan->fd[QEMU_FD_SEED] = r;
	return 0;
}

/* What its guest knows already. */
static int take_saved_seed(struct qemu_plan *plan, struct errmsg *err)
{
	int fd = restore_open(plan->restore, "seed", err);

	if (plan->fd[QEMU_FD_SEED] >= 0)
		close(plan->fd[QEMU_FD_SEED]);
	plan->fd[QEMU_FD_SEED] = fd < 0 ? -1 : fd;
	plan->seed_is_file = true;
	return fd < 0 ? fd : 0;
}

static int take_saved(const struct spec *s, struct qemu_plan *plan,
		      struct errmsg *err)
{
	int fd;

	if (!plan->restore || s->dry_run)
		return 0;
	fd = restore_open(plan->restore, "memory", err);
	plan->fd[QEMU_FD_STATE] = fd < 0 ? -1 : fd;
	if (fd < 0 || !plan->seed)
		return fd < 0 ? fd : 0;
	return take_saved_seed(plan, err);
}

/* Of what has no place in the order UEFI tries nothing but its own shell: from
 * the network nothing is booted without --vm-tftp, and to find that out takes
 * it minutes. */
static void order_disks(struct qemu_plan *plan)
{
	bool known = !plan->spec->install && /* which has an order of its own */
		     !plan->spec->tftp;

	for (unsigned int i = 0; i < plan->n_disks; i++)
		known = known && !plan->disk[i].drive;
	for (unsigned int i = 0; known && i < plan->n_disks; i++)
		plan->disk[i].bootindex = i + 1;
}

static int take_firmware(const struct task *t, const struct spec *s,
			 struct qemu_plan *plan, struct errmsg *err)
{
	int r;

	if (s->firmware != FIRMWARE_UEFI)
		return 0;
	if (plan->kernel)
		return errmsg_say(
			err, -EINVAL,
			"--vm-firmware=uefi boots a disk, and here %s is booted directly: leave it out",
			plan->kernel);
	order_disks(plan);
	r = firmware_find(FIRMWARE_DIRS, s->machine, &plan->firmware, err);
	if (r < 0 || s->dry_run)
		return r;
	r = firmware_vars(&plan->firmware, t->step_dir, err);
	if (r < 0)
		return errmsg_prefix(err, r, "--vm-firmware");
	plan->fd[QEMU_FD_VARS] = r;
	return 0;
}

static int take_fam(const struct task *t, const struct spec *s,
		    struct qemu_plan *plan, struct errmsg *err)
{
	int fd;

	if (!s->fam.bytes || s->dry_run)
		return 0;
	if (t->rank == 0 && t->local_tasks < t->ranks)
		log_info(
			"--vm-fam: windows are per node, and the step's VMs are on more than one: mem.* ops and vmfam.h reach the others'");
	fd = fam_open(t, s, err);
	plan->fd[QEMU_FD_FAM] = fd < 0 ? -1 : fd;
	return fd < 0 ? fd : 0;
}

/* As much as there may be, for QEMU inherits it. */
static uint64_t raise_lock_limit(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_MEMLOCK, &l) < 0)
		return 0;
	l.rlim_cur = l.rlim_max;
	setrlimit(RLIMIT_MEMLOCK, &l);
	return l.rlim_max == RLIM_INFINITY ? UINT64_MAX : l.rlim_max;
}

static int plan_devices(const struct task *t, const struct spec *s,
			struct qemu_plan *plan, struct errmsg *err)
{
	const char *given = getenv("SLURM_STEP_GPUS");
	const struct vfio_ask ask = {
		.sys = "/sys",
		.dev = "/dev",
		.node = t->node,
		.given = given ? given : getenv("SLURM_JOB_GPUS"),
		.on_node = getenv("SLURM_GPUS_ON_NODE"),
		.allowed = t->allow_devices,
		.local_id = t->local_id,
		.local_tasks = t->local_tasks,
		.mem_bytes = s->mem_bytes,
		.lock_bytes = raise_lock_limit(),
	};

	return vfio_devices(&ask, &plan->devices, err);
}

int plan_prepare(const struct task *t, const struct spec *s,
		 struct qemu_plan *plan, struct errmsg *err)
{
	int r;

	plan->task = t;
	plan->spec = s;
	r = together_check(t, s, err);
	if (r == 0 && s->restore)
		r = restore_new(t, s, &plan->restore, err);
	for (size_t i = 0; i < s->images.n && r == 0; i++)
		r = take_image(t, s, i, plan, err);
	if (r == 0)
		r = plan_scratch(plan, err);
	if (r == 0)
		r = take_fam(t, s, plan, err);
	if (r == 0)
		r = plan_devices(t, s, plan, err);
	if (r == 0)
		r = plan_data(plan, err);
	if (r == 0)
		r = plan_install(plan, err);
	if (r == 0)
		r = take_seed(s, plan, err);
	if (r == 0)
		r = take_kernel(t, s, plan, err);
	if (r == 0)
		r = take_firmware(t, s, plan, err);
	return r < 0 ? r : take_saved(s, plan, err);
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
