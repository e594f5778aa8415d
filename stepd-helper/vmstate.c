#include <config.h>

#include "vmstate.h"

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
#include "qemu.h"
#include "relpath.h"
#include "statefile.h"
#include "work.h"

#define FD_NAME "state"
#define TOOL_MS INT_MAX /* Slurm's time limit is the one that counts */
/* QEMU takes care of a network that others use, too; this is none. */
#define BYTES_PER_S (1LL << 50)

struct vmstate {
	struct loop *loop;
	const struct task *task;
	struct machine *machine;
	char *dir, *text; /* owned; of task.json */
	int memory;	  /* owned */
	bool failing;	  /* QEMU is asked why */
	struct work *work;
	vmstate_fn fn;
	void *arg;
};

static void end(struct vmstate *v, const char *error, uint64_t bytes)
{
	machine_watch_migration(v->machine, NULL, NULL);
	v->fn(error, bytes, v->arg);
}

/* -- in the process -------------------------------------------------------- */

static int new_file(const struct vmstate *v, const char *name, char **ret_path,
		    struct errmsg *err)
{
	int fd;

	*ret_path = statefile_path(v->dir, name, v->task->rank);
	if (!*ret_path)
		return errmsg_set(err, -ENOMEM, "%s", name);
	fd = open(*ret_path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	return fd < 0 ? errmsg_set(err, -errno, "%s", *ret_path) : fd;
}

/* The way to what is below has to be right where the file is now. */
static int name_base(const struct vmstate *v, const struct qemu_disk *d,
		     const char *path, struct errmsg *err)
{
	_cleanup_free_ char *below = relpath(v->dir, d->base);
	char tool[PATH_MAX];
	const char *argv[] = {
		tool, "rebase", "-q", "-u",
		"-f", "qcow2",	"-F", image_format_name(d->base_kind),
		"-b", below,	path, NULL
	};

	if (!below)
		return errmsg_set(err, -ENOMEM, "%s", d->base);
	disk_tool(v->task->qemu, tool, sizeof(tool));
	return child_run(argv, -1, TOOL_MS, err);
}

static int copy_file(const struct vmstate *v, int from, const char *name,
		     const struct qemu_disk *d, struct errmsg *err)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_close_ int fd = new_file(v, name, &path, err);
	int r;

	if (fd < 0)
		return fd;
	r = copyfile(from, fd, 0, NULL, NULL, err);
	if (r == 0 && d && d->base)
		r = name_base(v, d, path, err);
	if (r == 0 && fsync(fd) < 0)
		r = errmsg_set(err, -errno, "%s", path);
	return r;
}

static int copy_disk(const struct vmstate *v, unsigned int i,
		     struct errmsg *err)
{
	const struct qemu_plan *p = machine_plan(v->machine);
	char name[16];

	snprintf(name, sizeof(name), "disk%u", i);
	return copy_file(v, p->fd[QEMU_FD_DISK + i], name, &p->disk[i], err);
}

static int write_files(size_t unused, const void *what, struct errmsg *err)
{
	const struct vmstate *v = what;
	const struct qemu_plan *p = machine_plan(v->machine);
	_cleanup_free_ char *path =
		statefile_path(v->dir, "task.json", v->task->rank);
	int r = path ? 0 : errmsg_set(err, -ENOMEM, "%s", v->dir);

	for (unsigned int i = 0; i < p->n_disks && r == 0; i++)
		if (statefile_saves(p, i))
			r = copy_disk(v, i, err);
	if (r == 0 && p->fd[QEMU_FD_SEED] >= 0)
		r = copy_file(v, p->fd[QEMU_FD_SEED], "seed", NULL, err);
	if (r == 0 && fsync(v->memory) < 0)
		r = errmsg_set(err, -errno, "%s: memory.%u", v->dir,
			       v->task->rank);
	return r < 0 ? r : statefile_write(path, v->text, err);
}

/* -- in the helper --------------------------------------------------------- */

static uint64_t bytes_of(const struct vmstate *v, const char *name)
{
	_cleanup_free_ char *path = statefile_path(v->dir, name, v->task->rank);
	struct stat st;

	return path && stat(path, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

static uint64_t all_bytes(const struct vmstate *v)
{
	uint64_t n = bytes_of(v, "memory") + bytes_of(v, "seed");
	char name[16];

	for (unsigned int i = 0; i < machine_plan(v->machine)->n_disks; i++) {
		snprintf(name, sizeof(name), "disk%u", i);
		n += bytes_of(v, name);
	}
	return n;
}

static void on_written(const char *error, const int *fds, void *arg)
{
	struct vmstate *v = arg;

	work_free(TAKE_PTR(v->work));
	end(v, error, error ? 0 : all_bytes(v));
}

static void on_why(json_t *result, const char *error, void *arg)
{
	const char *text =
		json_string_value(json_object_get(result, "error-desc"));

	end(arg, text ? text : "QEMU cannot write its state", 0);
}

static void on_status(const char *status, void *arg)
{
	struct vmstate *v = arg;
	struct errmsg err;

	if (!status)
		return;
	if (strcmp(status, "failed") == 0 || strcmp(status, "cancelled") == 0) {
		machine_watch_migration(v->machine, NULL, NULL);
		v->failing = true;
		if (machine_qmp(v->machine, "query-migrate", NULL, on_why, v) <
		    0)
			end(v, "QEMU takes no orders any more", 0);
	} else if (strcmp(status, "completed") == 0 &&
		   work_start(v->loop, write_files, v, 1, on_written, v,
			      &v->work, &err) < 0) {
		end(v, err.text, 0);
	}
}

/* What QEMU will not do it says at once. */
static void on_migrate(json_t *result, const char *error, void *arg)
{
	const struct vmstate *v = arg;

	if (error && !v->failing)
		end(arg, error, 0);
}

static int ask_qemu(struct vmstate *v)
{
	struct machine *m = v->machine;
	int r;

	machine_watch_migration(m, on_status, v);
	r = machine_qmp(m, "migrate-set-capabilities",
			json_pack("{s:[{s:s, s:b}]}", "capabilities",
				  "capability", "events", "state", 1),
			NULL, NULL);
	if (r == 0)
		r = machine_qmp(m, "migrate-set-parameters",
				json_pack("{s:I}", "max-bandwidth",
					  (json_int_t)BYTES_PER_S),
				NULL, NULL);
	if (r == 0)
		r = machine_qmp_fd(m, "getfd",
				   json_pack("{s:s}", "fdname", FD_NAME),
				   v->memory, NULL, NULL);
	if (r == 0)
		r = machine_qmp(m, "migrate",
				json_pack("{s:s}", "uri", "fd:" FD_NAME),
				on_migrate, v);
	return r;
}

/* -- what the VM is -------------------------------------------------------- */

static json_t *disks_json(const struct qemu_plan *p)
{
	json_t *list = json_array();

	for (unsigned int i = 0; i < p->n_disks; i++)
		json_array_append_new(list,
				      statefile_saves(p, i)
					      ? json_pack("{s:s}", "format",
							  p->disk[i].format)
					      : json_null());
	return list;
}

static json_t *key_json(const struct machine *m)
{
	const uint8_t *key = machine_seed_key(m);
	char hex[2 * NETCTL_KEY_LEN + 1];
	json_t *text;

	if (!key)
		return json_null();
	for (size_t i = 0; i < NETCTL_KEY_LEN; i++)
		snprintf(hex + 2 * i, 3, "%02x", key[i]);
	text = json_string(hex);
	explicit_bzero(hex, sizeof(hex));
	return text;
}

static int describe(struct vmstate *v, const json_t *command,
		    struct errmsg *err)
{
	const struct qemu_plan *p = machine_plan(v->machine);
	json_t *images = statefile_images(p, err), *o;

	if (!images)
		return -EIO;
	o = json_pack("{s:o, s:o, s:o, s:o, s:O, s:s}", "machine",
		      statefile_describe(p), "images", images, "disks",
		      disks_json(p), "key", key_json(v->machine), "command",
		      command, "node", v->task->node);
	v->text = o ? json_dumps(o, JSON_INDENT(1)) : NULL;
	json_decref(o);
	return v->text ? 0 : errmsg_set(err, -ENOMEM, "the VM's description");
}

int vmstate_save(struct loop *l, const struct task *t, struct machine *m,
		 const char *dir, const json_t *command, vmstate_fn fn,
		 void *arg, struct vmstate **ret, struct errmsg *err)
{
	struct vmstate *v = calloc(1, sizeof(*v));
	_cleanup_free_ char *path = NULL;
	int r = v ? 0 : -ENOMEM;

	if (r < 0)
		return errmsg_set(err, r, "saving");
	*v = (struct vmstate){ .loop = l,
			       .task = t,
			       .machine = m,
			       .dir = strdup(dir),
			       .memory = -1,
			       .fn = fn,
			       .arg = arg };
	r = v->dir ? describe(v, command, err)
		   : errmsg_set(err, -ENOMEM, "saving");
	if (r == 0) {
		v->memory = new_file(v, "memory", &path, err);
		r = v->memory < 0 ? v->memory : 0;
	}
	if (r == 0) {
		r = ask_qemu(v);
		if (r < 0)
			errmsg_set(err, r, "QEMU takes no orders");
	}
	if (r < 0)
		vmstate_free(v);
	else
		*ret = v;
	return r;
}

void vmstate_free(struct vmstate *v)
{
	if (!v)
		return;
	machine_watch_migration(v->machine, NULL, NULL);
	work_free(v->work);
	if (v->memory >= 0)
		close(v->memory);
	if (v->text)
		explicit_bzero(v->text, strlen(v->text));
	free(v->text);
	free(v->dir);
	free(v);
}
