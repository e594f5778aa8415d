#include <config.h>

#include "statefile.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "chain.h"
#include "cleanup.h"
#include "value.h"
#include "writeall.h"

char *statefile_path(const char *dir, const char *name, uint32_t rank)
{
	char *path;
	int n = rank == TASK_ANY_RANK
			? asprintf(&path, "%s/%s", dir, name)
			: asprintf(&path, "%s/%s.%" PRIu32, dir, name, rank);

	return n < 0 ? NULL : path;
}

/* -- what cannot be saved -------------------------------------------------- */

static int no(struct errmsg *err, const char *option, const char *what,
	      const char *cure)
{
	return errmsg_say(err, -EOPNOTSUPP,
			  "%s: %s: a VM that has this cannot be saved; %s",
			  option, what, cure);
}

static int check_data(const struct qemu_plan *plan, struct errmsg *err)
{
	for (size_t i = 0; i < plan->data.n; i++) {
		const struct data_item *d = &plan->data.v[i];

		if (d->by != BY_DISK)
			return no(
				err, data_option(d->kind),
				d->src ? d->src : d->dst,
				"the guest is tied to the node by it: leave it out, or give data as a SquashFS");
	}
	return 0;
}

static int check_disk(const struct qemu_disk *d, struct errmsg *err)
{
	const char *name = d->base ? d->base : d->path;

	if (d->drive)
		return no(err, "--vm-image", d->drive,
			  "name the image itself instead of file=");
	if (d->copied || d->base_goes)
		return no(
			err, "--vm-image", name,
			"its copy is this step's own: leave c, d and D out of ctl=, and take a .sqsh instead of a directory");
	if (!d->read_only && d->path)
		return no(err, "--vm-image", name,
			  "the image itself is written: leave w out of ctl=");
	return 0;
}

int statefile_check_machine(const struct qemu_plan *plan, struct errmsg *err)
{
	int r = check_data(plan, err);

	if (r == 0 && plan->devices.n)
		r = no(err, "--gres", plan->devices.v[0],
		       "leave out the device that is passed to it");
	if (r == 0 && plan->firmware.code)
		r = no(err, "--vm-firmware", "uefi",
		       "an image that boots by BIOS can be");
	if (r == 0 && plan->spec->fam.bytes)
		r = no(err, "--vm-fam", "memory that others share",
		       "leave it out");
	return r;
}

int statefile_check(const struct qemu_plan *plan, struct errmsg *err)
{
	int r = statefile_check_machine(plan, err);

	for (unsigned int i = 0; i < plan->n_disks && r == 0; i++)
		r = check_disk(&plan->disk[i], err);
	return r;
}

/* -- the machine ----------------------------------------------------------- */

/* What these say the guest does not see, or it is told apart otherwise. */
static bool is_the_nodes(const char *option)
{
	static const char *const options[] = {
		"-name",     "-uuid",	 "-add-fd", "-blockdev",
		"-accel",    "-kernel",	 "-initrd", "-vnc",
		"-incoming", "-chardev", NULL
	};

	for (size_t i = 0; options[i]; i++)
		if (strcmp(option, options[i]) == 0)
			return true;
	return false;
}

/* Of memory it is the node's business where it is. */
static void add_guests_part(json_t *list, const char *text)
{
	const char *last = json_string_value(
		json_array_get(list, json_array_size(list) - 1));
	const char *bound = strstr(text, ",host-nodes=");
	int len = (int)(bound ? (size_t)(bound - text) : strlen(text));
	_cleanup_free_ char *both = NULL;

	if (*text == '-' || !last) { /* an option, whose value follows */
		json_array_append_new(list, json_string(text));
		return;
	}
	if (asprintf(&both, "%s %.*s", last, len, text) < 0)
		both = NULL;
	json_array_set_new(list, json_array_size(list) - 1,
			   json_string(both ? both : text));
}

static json_t *arguments(const struct qemu_plan *plan)
{
	struct strings args = { 0 };
	json_t *list = json_array();

	if (qemu_args(plan, "qemu", &args) < 0) {
		json_decref(list);
		list = NULL;
	}
	for (size_t i = 1; i < args.n && list; i++) {
		if (is_the_nodes(args.v[i]))
			i++;
		else
			add_guests_part(list, args.v[i]);
	}
	strings_done(&args);
	return list;
}

/* With KVM a guest sees the node's own CPU. */
static void node_cpu(const struct qemu_plan *plan, char *ret, size_t size)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/cpuinfo", "re");
	char line[512];

	snprintf(ret, size, "any");
	while (plan->kvm && !plan->spec->cpu && f &&
	       fgets(line, sizeof(line), f))
		if (strncmp(line, "model name", 10) == 0) {
			line[strcspn(line, "\n")] = '\0';
			snprintf(ret, size, "%.200s", line);
			return;
		}
}

json_t *statefile_describe(const struct qemu_plan *plan)
{
	const struct spec *s = plan->spec;
	char cpu[256], net[INET_ADDRSTRLEN], cidr[64], mem[16];

	node_cpu(plan, cpu, sizeof(cpu));
	addr_ip_text(addr_ip(&s->cidr, plan->task->rank), net);
	snprintf(cidr, sizeof(cidr), "%s/%d", net, s->cidr.prefix);
	value_size_text(s->mem_bytes, mem);
	return json_pack("{s:s, s:s, s:i, s:s, s:s, s:s, s:o}", "accel",
			 plan->kvm ? "kvm" : "tcg", "machine", s->machine,
			 "cpus", (int)s->cpus, "mem", mem, "node_cpu", cpu,
			 "address", s->net == NET_NONE ? "none" : cidr, "args",
			 arguments(plan));
}

static void text_of(const json_t *value, char *ret, size_t size)
{
	_cleanup_free_ char *text =
		value ? json_dumps(value, JSON_ENCODE_ANY) : NULL;

	snprintf(ret, size, "%.160s", text ? text : "nothing");
}

static int differs(const json_t *saved, const json_t *now, const char *what,
		   const char *cure, struct errmsg *err)
{
	char a[200], b[200];

	text_of(saved, a, sizeof(a));
	text_of(now, b, sizeof(b));
	return errmsg_say(err, -EINVAL,
			  "the saved VM has %s %s, this one would have %s%s",
			  what, a, b, cure);
}

static int compare_args(const json_t *saved, const json_t *now,
			struct errmsg *err)
{
	size_t n = json_array_size(saved), m = json_array_size(now);

	for (size_t i = 0; i < n || i < m; i++)
		if (!json_equal(json_array_get(saved, i),
				json_array_get(now, i)))
			return differs(
				json_array_get(saved, i),
				json_array_get(now, i), "the argument of QEMU",
				": give the options that the step was started with",
				err);
	return 0;
}

int statefile_compare(const json_t *saved, const json_t *now,
		      struct errmsg *err)
{
	static const struct {
		const char *name, *what, *cure;
	} rows[] = {
		{ "accel", "the accelerator", ": --vm-accel says which" },
		{ "machine", "the machine type", ": --vm-machine says which" },
		{ "cpus", "as many CPUs as", ": --vm-cpus says how many" },
		{ "mem", "memory of", ": --vm-mem says how much" },
		{ "node_cpu", "a node's CPU,",
		  ": take nodes of that kind, or a model by --vm-cpu before it is saved" },
		{ "address", "the address",
		  ": --vm-net and --vm-net-cidr say which" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const json_t *a = json_object_get(saved, rows[i].name);
		const json_t *b = json_object_get(now, rows[i].name);

		if (!json_equal(a, b))
			return differs(a, b, rows[i].what, rows[i].cure, err);
	}
	return compare_args(json_object_get(saved, "args"),
			    json_object_get(now, "args"), err);
}

/* -- images ---------------------------------------------------------------- */

bool statefile_saves(const struct qemu_plan *plan, unsigned int i)
{
	return !plan->disk[i].read_only;
}

static int add_image(json_t *list, const char *path, struct errmsg *err)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return errmsg_set(err, -errno, "%s", path);
	return json_array_append_new(
		       list,
		       json_pack("{s:s, s:I, s:I}", "path", path, "bytes",
				 (json_int_t)st.st_size, "mtime_ns",
				 (json_int_t)st.st_mtim.tv_sec * 1000000000 +
					 st.st_mtim.tv_nsec)) < 0
		       ? errmsg_set(err, -EINVAL, "%s", path)
		       : 0;
}

static int add_images(json_t *list, const struct qemu_disk *d,
		      struct errmsg *err)
{
	struct strings files = { 0 };
	int r = 0;

	if (d->base)
		r = chain_check(d->base, d->base_kind, "", &files, err);
	else if (d->path)
		r = add_image(list, d->path, err);
	for (size_t i = 0; i < files.n && r == 0; i++)
		r = add_image(list, files.v[i], err);
	strings_done(&files);
	return r;
}

json_t *statefile_images(const struct qemu_plan *plan, struct errmsg *err)
{
	json_t *list = json_array();
	int r = 0;

	for (unsigned int i = 0; i < plan->n_disks && r == 0; i++)
		r = add_images(list, &plan->disk[i], err);
	if (r == 0)
		return list;
	json_decref(list);
	return NULL;
}

int statefile_check_images(const json_t *images, struct errmsg *err)
{
	json_t *now = json_array();
	const char *path;
	json_t *one;
	size_t i;
	int r = 0;

	json_array_foreach ((json_t *)(uintptr_t)images, i, one) {
		path = json_string_value(json_object_get(one, "path"));
		r = path ? add_image(now, path, err)
			 : errmsg_say(err, -EINVAL, "an image without a path");
		if (r == 0 && !json_equal(one, json_array_get(now, i)))
			r = errmsg_say(
				err, -ESTALE,
				"%s has changed since the step was saved (its size or its time), and what was saved needs it as it was",
				path);
		if (r < 0)
			break;
	}
	json_decref(now);
	return r;
}

static bool has_image(const json_t *images, const char *path)
{
	json_t *one;
	size_t i;

	json_array_foreach ((json_t *)(uintptr_t)images, i, one) {
		const char *p = json_string_value(json_object_get(one, "path"));

		if (p && strcmp(p, path) == 0)
			return true;
	}
	return false;
}

int statefile_check_read_only(const json_t *images,
			      const struct qemu_plan *plan, struct errmsg *err)
{
	for (unsigned int i = 0; i < plan->n_disks; i++) {
		const struct qemu_disk *d = &plan->disk[i];

		if (d->read_only && d->path && !d->base &&
		    !has_image(images, d->path))
			return errmsg_say(
				err, -EINVAL,
				"%s is none of the images that the saved VM had: give the options that the step was started with",
				d->path);
	}
	return 0;
}

/* -- files ----------------------------------------------------------------- */

json_t *statefile_read(const char *path, struct errmsg *err)
{
	/* a fifo would be waited for */
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	_cleanup_fclose_ FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
	json_error_t where;
	struct stat st;
	json_t *o;

	if (!f || fstat(fileno(f), &st) < 0) {
		errmsg_set(err, -errno, "%s", path);
		return NULL;
	}
	if (!S_ISREG(st.st_mode) || st.st_size > STATEFILE_MAX) {
		errmsg_say(err, -EINVAL, "%s is no description of a saved VM",
			   path);
		return NULL;
	}
	o = json_loadf(f, JSON_REJECT_DUPLICATES, &where);
	if (json_is_object(o))
		return o;
	json_decref(o);
	errmsg_say(err, -EINVAL, "%s:%d: is damaged: %s", path, where.line,
		   where.text);
	return NULL;
}

int statefile_write(const char *path, const char *text, struct errmsg *err)
{
	_cleanup_close_ int fd =
		open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int r;

	if (fd < 0)
		return errmsg_set(err, -errno, "%s", path);
	r = write_all(fd, text, strlen(text));
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	return r < 0 ? errmsg_set(err, r, "%s", path) : 0;
}
