#include <config.h>

#include "rootfs.h"

#include <endian.h>
#include <errno.h>
#include <fts.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "chain.h"
#include "child.h"
#include "cleanup.h"
#include "digest.h"

/* Of the superblock. */
#define SQUASH_MAGIC	"hsqs"
#define SQUASH_MAJOR_AT 28
#define SQUASH_MAJOR	4
#define SQUASH_HEADER	96

#define SQUASH_MEM "64M" /* mksquashfs takes a quarter of the node, else */

int rootfs_check_squash(const char *path, struct errmsg *err)
{
	uint8_t head[SQUASH_HEADER];
	uint16_t major;
	struct stat st;
	_cleanup_close_ int fd = chain_open(path, &st, err);

	if (fd < 0)
		return fd;
	if (pread(fd, head, sizeof(head), 0) != sizeof(head) ||
	    memcmp(head, SQUASH_MAGIC, 4) != 0)
		return errmsg_say(
			err, -EINVAL,
			"%s has no SquashFS header; if it is a disk, say what by fmt=",
			path);
	memcpy(&major, head + SQUASH_MAJOR_AT, sizeof(major));
	if (le16toh(major) != SQUASH_MAJOR)
		return errmsg_say(
			err, -ENOTSUP,
			"%s is SquashFS %u, which Linux does not mount: make it anew",
			path, le16toh(major));
	return 0;
}

int rootfs_check_dir(const char *path, struct errmsg *err)
{
	static const char *const some[] = { "bin", "usr/bin", "sbin" };
	char name[PATH_MAX];
	struct stat st;

	for (size_t i = 0; i < ARRAY_SIZE(some); i++) {
		snprintf(name, sizeof(name), "%s/%s", path, some[i]);
		if (lstat(name, &st) == 0)
			return 0;
	}
	return errmsg_say(
		err, -EINVAL,
		"%s is a directory without vm.conf, so no bundle, and without bin, so no root file system either",
		path);
}

/* -- what a tree is -------------------------------------------------------- */

static int by_name(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

static void add_entry(struct digest *d, const FTSENT *e)
{
	const struct stat *st = e->fts_statp;
	const uint64_t numbers[] = {
		(uint64_t)e->fts_level,
		e->fts_namelen,
		st->st_mode,
		st->st_uid,
		st->st_gid,
		(uint64_t)st->st_size,
		(uint64_t)st->st_mtim.tv_sec,
		(uint64_t)st->st_mtim.tv_nsec,
		(uint64_t)st->st_ctim.tv_sec,
		(uint64_t)st->st_ctim.tv_nsec,
		st->st_ino,
		st->st_rdev,
	};

	digest_add(d, numbers, sizeof(numbers));
	digest_add(d, e->fts_name, e->fts_namelen);
}

static int add_tree(struct digest *d, FTS *tree, struct errmsg *err)
{
	const FTSENT *e;

	while ((e = fts_read(tree))) {
		if (e->fts_info == FTS_ERR || e->fts_info == FTS_DNR ||
		    e->fts_info == FTS_NS)
			return errmsg_set(err, -e->fts_errno, "%s",
					  e->fts_path);
		if (e->fts_info != FTS_DP)
			add_entry(d, e);
		errno = 0;
	}
	return errno ? -errno : 0;
}

int rootfs_fingerprint(const char *dir, uint64_t *ret, struct errmsg *err)
{
	_cleanup_free_ char *path = strdup(dir);
	char *const paths[] = { path, NULL };
	uid_t uid = geteuid();
	char text[DIGEST_TEXT];
	struct digest d;
	FTS *tree;
	int r;

	tree = path ? fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, by_name)
		    : NULL;
	if (!tree)
		return errmsg_set(err, path ? -errno : -ENOMEM, "%s", dir);
	digest_init(&d, DIGEST_SHA256);
	digest_add(&d, dir, strlen(dir));
	digest_add(&d, &uid, sizeof(uid));
	errno = 0;
	r = add_tree(&d, tree, err);
	fts_close(tree);
	if (r < 0)
		return r;
	digest_text(&d, text);
	text[16] = '\0';
	*ret = strtoull(text, NULL, 16);
	return 0;
}

/* -- making one ------------------------------------------------------------ */

static int own_cpus(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set)
							    : 1;
}

int rootfs_squash(const char *dir, const char *to, struct errmsg *err)
{
	char cpus[16], owner[64];
	const char *argv[] = { "mksquashfs",
			       dir,
			       to,
			       "-noappend",
			       "-no-progress",
			       "-quiet",
			       "-exit-on-error",
			       "-comp",
			       "lz4",
			       "-mem",
			       SQUASH_MEM,
			       "-processors",
			       cpus,
			       "-action",
			       owner,
			       NULL };
	int r;

	snprintf(cpus, sizeof(cpus), "%d", own_cpus());
	snprintf(owner, sizeof(owner), "guid(0,0)@uid(%u)", geteuid());
	r = child_run(argv, -1, INT_MAX, err);
	if (r == -ENOENT)
		return errmsg_say(
			err, r,
			"mksquashfs is not installed on this node (package squashfs-tools), which makes a root file system of %s; install it, or make %s.sqsh elsewhere",
			dir, dir);
	return r < 0 ? errmsg_prefix(err, r, "SquashFS of %s in %s", dir, to)
		     : 0;
}
