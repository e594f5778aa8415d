#include <config.h>

#include "fsmount.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "job.h"
#include "param.h"
#include "spawn.h"

/* In the order of kind_names. */
enum kind { KIND_DISK, KIND_VIRTIOFS, KIND_9P, KIND_DIR, KIND_READONLY };

static const char *const kind_names[] = { "disk", "virtiofs", "9p",
					  "dir",  "readonly", NULL };

struct request {
	int kind;
	char *path, *source; /* owned; source: serial number or tag */
	bool ro, format;     /* format: a disk that is empty */
};

static void request_done(struct request *q)
{
	free(q->path);
	free(q->source);
}

static int parse(const json_t *params, struct request *q, struct errmsg *err)
{
	int r = file_need(params, "path", &q->path, err);

	q->kind = -1;
	if (r == 0)
		r = param_word(params, "kind", kind_names, &q->kind, err);
	if (r == 0)
		r = param_text(params, "source", &q->source, err);
	if (r == 0)
		r = param_bool(params, "ro", &q->ro, err);
	if (r == 0)
		r = param_bool(params, "format", &q->format, err);
	if (r < 0)
		return r;
	if (*q->path != '/')
		return errmsg_say(err, -EINVAL, "path: %s is not one from /",
				  q->path);
	if (q->kind < 0)
		return errmsg_say(err, -EINVAL, "kind: is missing");
	if (q->kind <= KIND_9P &&
	    (!q->source || !*q->source || strchr(q->source, '/')))
		return errmsg_say(err, -EINVAL,
				  "source: has to be a serial number or a tag");
	return 0;
}

/* -- programs of the guest ------------------------------------------------- */

/* Its exit status; -ENOENT: there is none of that name; another -errno. */
static int run(const char *const *argv)
{
	static char path[] = "PATH=" SPAWN_PATH;
	char *env[] = { path, NULL };
	posix_spawn_file_actions_t files;
	int wstatus = 0, r;
	pid_t pid;

	setenv("PATH", SPAWN_PATH, 1); /* for posix_spawnp() itself */
	if (posix_spawn_file_actions_init(&files) != 0)
		return -ENOMEM;
	for (int fd = 0; fd < 3; fd++)
		posix_spawn_file_actions_addopen(&files, fd, "/dev/null",
						 O_RDWR, 0);
	r = posix_spawnp(&pid, argv[0], &files, NULL, (char *const *)argv, env);
	posix_spawn_file_actions_destroy(&files);
	if (r != 0)
		return -r;
	while (waitpid(pid, &wstatus, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(wstatus) ? WEXITSTATUS(wstatus) : 128;
}

/* What the kernel has built in needs none, and a guest may have no modprobe:
 * the mount tells. */
static void load_module(const char *name)
{
	const char *const argv[] = { "modprobe", "-q", name, NULL };

	run(argv);
}

/* -- disks ----------------------------------------------------------------- */

/* Is the serial number of block device @name this one? */
static bool has_serial(const char *name, const char *serial)
{
	char path[PATH_MAX], text[64] = "";
	_cleanup_fclose_ FILE *f = NULL;

	snprintf(path, sizeof(path), "/sys/block/%s/serial", name);
	f = fopen(path, "re");
	if (!f || !fgets(text, sizeof(text), f))
		return false;
	text[strcspn(text, "\n")] = '\0';
	return strcmp(text, serial) == 0;
}

static bool find_once(const char *serial, char path[300])
{
	DIR *d = opendir("/sys/block");
	struct dirent *e;
	bool found = false;

	while (d && !found && (e = readdir(d)))
		if (*e->d_name != '.' && has_serial(e->d_name, serial)) {
			snprintf(path, 300, "/dev/%s", e->d_name);
			found = access(path, F_OK) == 0;
		}
	if (d)
		closedir(d);
	return found;
}

#define FIND_TRIES   100
#define FIND_WAIT_NS 50000000

/* Its driver may be at work still. */
static int find_disk(const char *serial, char path[300], struct errmsg *err)
{
	const struct timespec moment = { 0, FIND_WAIT_NS };

	for (int i = 0; i < FIND_TRIES; i++) {
		if (find_once(serial, path))
			return 0;
		if (i == 0)
			load_module("virtio_blk");
		else
			nanosleep(&moment, NULL);
	}
	return errmsg_say(
		err, -ENOENT,
		"the guest has no disk with the serial number %s: does its kernel have virtio_blk?",
		serial);
}

#define EXT_MAGIC_AT 0x438

static bool has_ext(int fd)
{
	uint8_t magic[2];

	return pread(fd, magic, sizeof(magic), EXT_MAGIC_AT) == sizeof(magic) &&
	       magic[0] == 0x53 && magic[1] == 0xef;
}

/* e2fsprogs' writes its tables later; busybox's does it at once, so that a
 * large disk gets fewer inodes. */
static int make_fs(const char *disk, struct errmsg *err)
{
	const char *const ext4[] = { "mkfs.ext4", "-q", "-F", "-m",
				     "0",	  disk, NULL };
	const char *const ext2[] = { "mke2fs", "-F",	"-m", "0",
				     "-i",     "65536", disk, NULL };
	int r = run(ext4);

	if (r == -ENOENT)
		r = run(ext2);
	if (r == -ENOENT)
		return errmsg_say(
			err, -EOPNOTSUPP,
			"the guest has neither mkfs.ext4 nor mke2fs: it needs e2fsprogs or busybox");
	if (r != 0)
		return errmsg_say(err, -EIO,
				  "%s cannot be formatted: mkfs ended with %d",
				  disk, r);
	return 0;
}

/* What is on the disk; with @format, a file system of ours, which is not made
 * again. */
static int find_type(const char *disk, bool format, const char **ret,
		     struct errmsg *err)
{
	_cleanup_close_ int fd = open(disk, O_RDONLY | O_CLOEXEC);
	bool ext;

	if (fd < 0)
		return errmsg_set(err, -errno, "%s", disk);
	ext = has_ext(fd);
	*ret = ext || format ? "ext4" : "squashfs";
	return format && !ext ? make_fs(disk, err) : 0;
}

/* -- mounts ---------------------------------------------------------------- */

static bool is_mounted(const char *path)
{
	FILE *f = setmntent("/proc/self/mounts", "re");
	struct mntent *m;
	bool found = false;

	while (f && !found && (m = getmntent(f)))
		found = strcmp(m->mnt_dir, path) == 0;
	if (f)
		endmntent(f);
	return found;
}

static int mount_type(const char *from, const char *path, const char *type,
		      unsigned long flags, const char *options,
		      struct errmsg *err)
{
	if (mount(from, path, type, flags, options) == 0)
		return 0;
	if (errno == ENODEV)
		return errmsg_say(err, -EOPNOTSUPP,
				  "the guest's kernel has no %s", type);
	return errmsg_set(err, -errno, "%s cannot be mounted at %s as %s", from,
			  path, type);
}

static int mount_disk(const struct request *q, struct errmsg *err)
{
	const char *type = NULL;
	char disk[300];
	int r = find_disk(q->source, disk, err);

	if (r == 0)
		r = find_type(disk, q->format, &type, err);
	if (r < 0)
		return r;
	load_module(type);
	r = mount_type(disk, q->path, type,
		       MS_NODEV | MS_NOSUID | (q->ro ? MS_RDONLY : 0), NULL,
		       err);
	if (r == 0 && q->format && chmod(q->path, 01777) < 0)
		r = errmsg_set(err, -errno, "%s", q->path);
	return r;
}

/* What the host writes down is for the guest to believe no more than it needs:
 * no devices, no programs of another's rights. */
static int mount_share(const struct request *q, struct errmsg *err)
{
	const unsigned long flags =
		MS_NODEV | MS_NOSUID | (q->ro ? MS_RDONLY : 0);

	if (q->kind == KIND_VIRTIOFS) {
		load_module("virtiofs");
		return mount_type(q->source, q->path, "virtiofs", flags, NULL,
				  err);
	}
	load_module("9pnet_virtio");
	load_module("9p");
	return mount_type(q->source, q->path, "9p", flags,
			  "trans=virtio,version=9p2000.L,msize=262144", err);
}

static int make_readonly(const char *path, struct errmsg *err)
{
	if (mount(path, path, NULL, MS_BIND, NULL) < 0 ||
	    mount(NULL, path, NULL,
		  MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NODEV | MS_NOSUID,
		  NULL) < 0)
		return errmsg_set(err, -errno, "%s cannot be made read-only",
				  path);
	return 0;
}

static int mount_it(const struct request *q, struct errmsg *err)
{
	switch ((enum kind)q->kind) {
	case KIND_DISK:
		return mount_disk(q, err);
	case KIND_VIRTIOFS:
	case KIND_9P:
		return mount_share(q, err);
	case KIND_READONLY:
		return make_readonly(q->path, err);
	case KIND_DIR: /* for all of the guest */
		if (chmod(q->path, 01777) < 0)
			return errmsg_set(err, -errno, "%s", q->path);
		return 0;
	}
	return -EINVAL;
}

static int do_mount(struct job_child *c, const json_t *params, json_t **result,
		    struct errmsg *err)
{
	_cleanup_(request_done) struct request q = { 0 };
	bool had;
	int r = parse(params, &q, err);

	if (r < 0)
		return r;
	r = file_make_parents(q.path, true, NULL);
	if (r < 0)
		return errmsg_set(err, r, "%s", q.path);
	had = is_mounted(q.path);
	r = had ? 0 : mount_it(&q, err);
	if (r < 0)
		return r;
	*result = json_pack("{s:b}", "had", (int)had);
	return *result ? 0 : errmsg_set(err, -ENOMEM, "answer");
}

static int do_unmount(struct job_child *c, const json_t *params,
		      json_t **result, struct errmsg *err)
{
	_cleanup_free_ char *path = NULL;
	int r = file_need(params, "path", &path, err);

	if (r < 0)
		return r;
	if (umount2(path, UMOUNT_NOFOLLOW) == 0)
		return 0;
	if (errno == EINVAL)
		return errmsg_say(err, -EINVAL, "%s: nothing is mounted there",
				  path);
	return errmsg_set(err, -errno, "%s", path);
}

/* Of all: a file system that hangs would hold up its own only. */
static int do_sync(struct job_child *c, const json_t *params, json_t **result,
		   struct errmsg *err)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_close_ int fd = -1;
	int r = file_need(params, "path", &path, err);

	if (r < 0)
		return r;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || syncfs(fd) < 0)
		return errmsg_set(err, -errno, "%s", path);
	return 0;
}

void fsmount_mount(struct rpc_call *call, const json_t *params, void *agent)
{
	job_start(agent, call, params, JOB_PLAIN, do_mount);
}

void fsmount_unmount(struct rpc_call *call, const json_t *params, void *agent)
{
	job_start(agent, call, params, JOB_PLAIN, do_unmount);
}

void fsmount_sync(struct rpc_call *call, const json_t *params, void *agent)
{
	job_start(agent, call, params, JOB_PLAIN, do_sync);
}
