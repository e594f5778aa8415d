#include <config.h>

#include "restore.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "netctl.h"
#include "qemu.h"
#include "statefile.h"

struct restore {
	char *dir; /* owned; without links */
	uint32_t rank;
	json_t *task;
	uint8_t key[NETCTL_KEY_LEN];
	bool has_key;
};

/* -- reading it ------------------------------------------------------------ */

static json_t *read_json(const struct restore *rs, const char *name,
			 uint32_t rank, struct errmsg *err)
{
	_cleanup_free_ char *path = statefile_path(rs->dir, name, rank);

	if (path)
		return statefile_read(path, err);
	errmsg_set(err, -ENOMEM, "%s", rs->dir);
	return NULL;
}

/* QEMU trusts the memory that it loads, and we the description. */
static int check_owner(const struct restore *rs, struct errmsg *err)
{
	struct stat st;

	if (stat(rs->dir, &st) < 0)
		return errmsg_set(err, -errno, "%s", rs->dir);
	if (st.st_uid == geteuid() || st.st_uid == 0)
		return 0;
	return errmsg_say(
		err, -EPERM,
		"%s belongs to user %u: QEMU trusts what it loads; start from what you have saved",
		rs->dir, st.st_uid);
}

static int check_step(const struct restore *rs, const struct task *t,
		      struct errmsg *err)
{
	json_t *o = read_json(rs, "step.json", TASK_ANY_RANK, err);
	json_int_t tasks, format;

	if (!o)
		return -EINVAL;
	tasks = json_integer_value(json_object_get(o, "tasks"));
	format = json_integer_value(json_object_get(o, "format"));
	json_decref(o);
	if (format != STATEFILE_FORMAT)
		return errmsg_say(
			err, -EINVAL,
			"%s has format %lld, this version (%s) reads %d",
			rs->dir, (long long)format, PACKAGE_VERSION,
			STATEFILE_FORMAT);
	if (tasks != t->ranks)
		return errmsg_say(
			err, -EINVAL,
			"%s is a step of %lld tasks, this one has %u: start it with -n%lld",
			rs->dir, (long long)tasks, t->ranks, (long long)tasks);
	return 0;
}

/* In hexadecimal. */
static int take_key(struct restore *rs, struct errmsg *err)
{
	const char *hex = json_string_value(json_object_get(rs->task, "key"));

	if (!hex)
		return 0;
	if (strlen(hex) != 2 * sizeof(rs->key) ||
	    strspn(hex, "0123456789abcdef") != strlen(hex))
		return errmsg_say(err, -EINVAL, "%s: the key is damaged",
				  rs->dir);
	for (size_t i = 0; i < sizeof(rs->key); i++) {
		const char two[] = { hex[2 * i], hex[2 * i + 1], '\0' };

		rs->key[i] = (uint8_t)strtoul(two, NULL, 16);
	}
	rs->has_key = true;
	return 0;
}

int restore_new(const struct task *t, const struct spec *s,
		struct restore **ret, struct errmsg *err)
{
	struct restore *rs = calloc(1, sizeof(*rs));
	int r = rs ? 0 : errmsg_set(err, -ENOMEM, "--vm-restore");

	if (r == 0) {
		rs->rank = t->rank;
		rs->dir = realpath(s->restore, NULL);
		if (!rs->dir)
			r = errmsg_set(err, -errno, "%s", s->restore);
	}
	if (r == 0)
		r = check_owner(rs, err);
	if (r == 0)
		r = check_step(rs, t, err);
	if (r == 0) {
		rs->task = read_json(rs, "task.json", t->rank, err);
		r = rs->task ? take_key(rs, err) : -EINVAL;
	}
	if (r < 0) {
		restore_free(rs);
		return errmsg_prefix(err, r, "--vm-restore");
	}
	*ret = rs;
	return 0;
}

void restore_free(struct restore *rs)
{
	if (!rs)
		return;
	json_decref(rs->task);
	free(rs->dir);
	explicit_bzero(rs->key, sizeof(rs->key));
	free(rs);
}

/* -- what there is --------------------------------------------------------- */

int restore_open(const struct restore *rs, const char *name, struct errmsg *err)
{
	_cleanup_free_ char *path = statefile_path(rs->dir, name, rs->rank);
	struct stat st;
	int fd = path ? open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY)
		      : -1;

	if (!path)
		return errmsg_set(err, -ENOMEM, "--vm-restore");
	if (fd < 0)
		return errmsg_set(err, -errno, "--vm-restore: %s", path);
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		return fd;
	close(fd);
	return errmsg_say(err, -EINVAL, "--vm-restore: %s is no file", path);
}

static int kind_of(const char *format, enum image_kind *ret)
{
	static const enum image_kind kinds[] = { IMAGE_QCOW2, IMAGE_RAW };

	for (size_t i = 0; format && i < ARRAY_SIZE(kinds); i++)
		if (strcmp(format, image_format_name(kinds[i])) == 0) {
			*ret = kinds[i];
			return 0;
		}
	return -EINVAL;
}

int restore_disk(const struct restore *rs, unsigned int i,
		 enum image_kind *kind, char **ret_path, struct errmsg *err)
{
	const json_t *d = json_array_get(json_object_get(rs->task, "disks"), i);
	char name[16];

	snprintf(name, sizeof(name), "disk%u", i);
	if (kind_of(json_string_value(json_object_get(d, "format")), kind) < 0)
		return errmsg_say(
			err, -EINVAL,
			"--vm-restore: %s has no disk %u that the guest writes to: give the options that the step was started with",
			rs->dir, i);
	*ret_path = statefile_path(rs->dir, name, rs->rank);
	return *ret_path ? 0 : errmsg_set(err, -ENOMEM, "--vm-restore");
}

int restore_check(const struct restore *rs, const struct qemu_plan *plan,
		  struct errmsg *err)
{
	json_t *now;
	int r = statefile_check(plan, err);

	if (r < 0)
		return errmsg_prefix(err, r, "--vm-restore");
	now = statefile_describe(plan);
	r = now ? statefile_compare(json_object_get(rs->task, "machine"), now,
				    err)
		: errmsg_set(err, -ENOMEM, "the machine");
	json_decref(now);
	if (r == 0)
		r = statefile_check_images(json_object_get(rs->task, "images"),
					   err);
	if (r == 0)
		r = statefile_check_read_only(
			json_object_get(rs->task, "images"), plan, err);
	return r < 0 ? errmsg_prefix(err, r, "--vm-restore: %s", rs->dir) : 0;
}

const uint8_t *restore_key(const struct restore *rs)
{
	return rs->has_key ? rs->key : NULL;
}

const json_t *restore_command(const struct restore *rs)
{
	return json_object_get(rs->task, "command");
}
