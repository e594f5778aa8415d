#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "cleanup.h"
#include "diskcopy.h"
#include "log.h"
#include "plan.h"
#include "qcow2.h"
#include "rootfs.h"

struct fixture {
	char dir[64];
	char root[PATH_MAX];
	struct task t;
	struct spec s;
	struct qemu_plan plan;
	struct errmsg err;
};

static void write_text(const char *name, const char *text)
{
	FILE *f = fopen(name, "we");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

/* What is looked at of a SquashFS. */
static void write_squash(const char *name, unsigned int major)
{
	char head[96] = "hsqs";
	FILE *f = fopen(name, "we");

	assert_non_null(f);
	head[28] = (char)major;
	fwrite(head, 1, sizeof(head), f);
	fclose(f);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	log_setup("test", STDERR_FILENO, LOG_LEVEL_ERR);
	snprintf(f->dir, sizeof(f->dir), "/tmp/vmstep-test-XXXXXX");
	if (!mkdtemp(f->dir) || chdir(f->dir) < 0)
		return -1;
	snprintf(f->root, sizeof(f->root), "%s/root", f->dir);
	mkdir("root", 0700);
	mkdir("root/bin", 0755);
	write_text("root/bin/sh", "#!");
	write_text("kernel", "k");
	write_text("initrd", "i");
	f->t = (struct task){ .step_dir = f->dir,
			      .step = "1.0",
			      .ranks = 1,
			      .image_path = "",
			      .allow_images = "",
			      .allow_mounts = "",
			      .node = "n1",
			      .kernel = "kernel",
			      .initrd = "initrd",
			      .qemu = "qemu-system-x86_64" };
	f->s = (struct spec){ .rundir = f->dir, .cloud_init = true };
	qemu_plan_init(&f->plan);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[96];

	qemu_plan_done(&f->plan);
	strings_done(&f->s.images);
	snprintf(command, sizeof(command), "cd / && rm -rf %s", f->dir);
	free(f);
	return system(command);
}

static void has(const struct fixture *f, const char *words)
{
	if (!strstr(f->err.text, words))
		fail_msg("'%s' has no '%s'", f->err.text, words);
}

/* -- what is one ----------------------------------------------------------- */

static void test_squash_header(void **state)
{
	struct fixture *f = *state;

	write_text("a.sqsh", "hsqs");
	assert_int_equal(rootfs_check_squash("a.sqsh", &f->err), -EINVAL);
	has(f, "a.sqsh has no SquashFS header");
	write_squash("a.sqsh", 3);
	assert_int_equal(rootfs_check_squash("a.sqsh", &f->err), -ENOTSUP);
	has(f, "a.sqsh is SquashFS 3");
	write_squash("a.sqsh", 4);
	assert_int_equal(rootfs_check_squash("a.sqsh", &f->err), 0);
	assert_int_equal(rootfs_check_squash("none", &f->err), -ENOENT);
}

static void test_dir(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(rootfs_check_dir(f->root, &f->err), 0);
	assert_int_equal(rename("root/bin", "root/usr"), 0);
	assert_int_equal(rootfs_check_dir(f->root, &f->err), -EINVAL);
	has(f, "is a directory without vm.conf, so no bundle");
	/* a link that leads nowhere here leads somewhere there */
	assert_int_equal(symlink("/usr/bin", "root/bin"), 0);
	assert_int_equal(rootfs_check_dir(f->root, &f->err), 0);
}

static uint64_t fingerprint(struct fixture *f)
{
	uint64_t n = 0;

	assert_int_equal(rootfs_fingerprint(f->root, &n, &f->err), 0);
	return n;
}

static void changed(struct fixture *f, uint64_t *last)
{
	uint64_t now = fingerprint(f);

	assert_true(now == fingerprint(f));
	assert_true(now != *last);
	*last = now;
}

static void test_fingerprint(void **state)
{
	const struct timespec times[2] = { { .tv_sec = 1 }, { .tv_sec = 1 } };
	struct fixture *f = *state;
	uint64_t last = fingerprint(f);

	write_text("root/bin/sh", "#! more");
	changed(f, &last);
	chmod("root/bin/sh", 0711);
	changed(f, &last);
	assert_int_equal(utimensat(AT_FDCWD, "root/bin/sh", times, 0), 0);
	changed(f, &last);
	assert_int_equal(rename("root/bin/sh", "root/bin/st"), 0);
	changed(f, &last);
	assert_int_equal(symlink("st", "root/bin/sh"), 0);
	changed(f, &last);
	assert_int_equal(mkdir("root/dev", 0755), 0);
	changed(f, &last);
	assert_int_equal(rmdir("root/dev"), 0);
	changed(f, &last);
	assert_int_equal(rootfs_fingerprint("none", &last, &f->err), -ENOENT);
}

/* -- making one ------------------------------------------------------------ */

static void test_no_program(void **state)
{
	_cleanup_free_ char *path = strdup(getenv("PATH"));
	struct fixture *f = *state;

	setenv("PATH", "/nonexistent", 1);
	assert_int_equal(rootfs_squash(f->root, "out", &f->err), -ENOENT);
	setenv("PATH", path, 1);
	has(f,
	    "mksquashfs is not installed on this node (package squashfs-tools)");
}

static bool can_squash(void)
{
	return system("command -v mksquashfs >/dev/null") == 0;
}

static void lists(const char *file, const char *line)
{
	char command[512];

	snprintf(command, sizeof(command),
		 "PATH=$PATH:/usr/sbin unsquashfs -lln %s | grep -qE '%s'",
		 file, line);
	if (system(command) != 0)
		fail_msg("%s has no %s", file, line);
}

static void test_squash(void **state)
{
	struct fixture *f = *state;

	if (!can_squash())
		skip();
	write_text("out", "what is there");
	chmod("root/bin/sh", 04711);
	if (rootfs_squash(f->root, "out", &f->err) < 0)
		fail_msg("%s", f->err.text);
	assert_int_equal(rootfs_check_squash("out", &f->err), 0);
	lists("out", "^-rws--x--x 0/0 .*/bin/sh$");
	if (geteuid() == 0) {
		/* others stay who they are */
		assert_int_equal(chown("root/bin/sh", 123, 45), 0);
		assert_int_equal(rootfs_squash(f->root, "out", &f->err), 0);
		lists("out", "^-rw.* 123/45 .*/bin/sh$");
	} else {
		/* what cannot be read is not left out in silence */
		chmod("root/bin/sh", 0);
		assert_true(rootfs_squash(f->root, "out", &f->err) < 0);
	}
}

/* Once a node, and gone with the last who uses it; with c it stays. */
static void test_once(void **state)
{
	struct fixture *f = *state;
	struct diskcopy c = { .from = f->root,
			      .kind = IMAGE_RAW,
			      .removed = true,
			      .squash = true };
	_cleanup_free_ char *to = NULL;
	struct stat first, second;
	int a, b;

	if (!can_squash())
		skip();
	assert_true(asprintf(&to, "%s/root.1.sqsh", f->dir) > 0);
	c.to = to;
	a = diskcopy_make(&c, f->t.qemu, &f->err);
	if (a < 0)
		fail_msg("%s", f->err.text);
	assert_int_equal(stat(to, &first), 0);
	b = diskcopy_make(&c, f->t.qemu, &f->err);
	assert_true(b > 0);
	assert_int_equal(fstat(b, &second), 0);
	assert_true(first.st_ino == second.st_ino);
	diskcopy_remove(&c, a);
	assert_int_equal(access(to, F_OK), 0);
	close(a);
	diskcopy_remove(&c, b);
	assert_int_equal(access(to, F_OK), -1);
	close(b);
	c.removed = false;
	a = diskcopy_make(&c, f->t.qemu, &f->err);
	close(a);
	assert_int_equal(stat(to, &first), 0);
	a = diskcopy_make(&c, f->t.qemu, &f->err);
	assert_int_equal(fstat(a, &second), 0);
	assert_true(first.st_ino == second.st_ino);
	close(a);
}

/* -- the machine ----------------------------------------------------------- */

static int plan(struct fixture *f, const char *image)
{
	qemu_plan_done(&f->plan);
	strings_done(&f->s.images);
	for (const char *p = image; *p; p += *p == ';') {
		strings_add(&f->s.images, p, strcspn(p, ";"));
		p += strcspn(p, ";");
	}
	return plan_prepare(&f->t, &f->s, &f->plan, &f->err);
}

static void planned(struct fixture *f, const char *image)
{
	if (plan(f, image) < 0)
		fail_msg("%s", f->err.text);
}

static void refused(struct fixture *f, const char *image, int code,
		    const char *words)
{
	assert_int_equal(plan(f, image), code);
	has(f, words);
}

/* As a guest sees it. */
static uint64_t disk_size(int fd)
{
	struct qcow2_header h;
	uint8_t bytes[4096];
	ssize_t n = pread(fd, bytes, sizeof(bytes), 0);

	assert_true(n > 0);
	assert_int_equal(qcow2_parse(bytes, (size_t)n, &h, NULL), 0);
	return h.size;
}

static void test_plan_squash(void **state)
{
	struct fixture *f = *state;

	write_squash("a.sqsh", 4);
	planned(f, "a.sqsh");
	assert_string_equal(f->plan.kernel, "kernel");
	assert_string_equal(f->plan.initrd, "initrd");
	assert_non_null(strstr(f->plan.append, "rdinit=/sbin/vmstep-root"));
	assert_null(strstr(f->plan.append, "vmstep.overlay"));
	assert_int_equal(f->plan.n_disks, 1);
	assert_string_equal(f->plan.disk[0].serial, "root");
	assert_string_equal(f->plan.disk[0].format, "raw");
	assert_true(f->plan.disk[0].read_only);
	assert_false(f->plan.seed);

	planned(f, "a.sqsh,overlay=32M");
	assert_non_null(strstr(f->plan.append, " vmstep.overlay=overlay"));
	assert_int_equal(f->plan.n_disks, 2);
	assert_string_equal(f->plan.disk[1].serial, "overlay");
	assert_false(f->plan.disk[1].read_only);
	assert_int_equal(disk_size(f->plan.fd[QEMU_FD_DISK + 1]), 32 << 20);

	/* it is a disk to read where something else boots */
	write_text("b.raw", "disk");
	planned(f, "b.raw;a.sqsh");
	assert_null(f->plan.kernel);
	assert_true(f->plan.disk[1].read_only);
	assert_null(f->plan.disk[1].serial);
}

static void test_plan_kernel(void **state)
{
	char kernel[] = "a.sqsh", initrd[] = "initrd", append[] = "more";
	struct fixture *f = *state;

	write_squash("a.sqsh", 4);
	f->t.kernel = "";
	refused(f, "a.sqsh", -ENOENT, "the site has no kernel for these");
	f->t.kernel = "none";
	refused(f, "a.sqsh", -ENOENT, "the site's kernel none");
	f->s.kernel = kernel;
	refused(f, "a.sqsh", -EINVAL, "needs the kernel's own --vm-initrd");
	f->s.initrd = initrd;
	f->s.append = append;
	planned(f, "a.sqsh");
	assert_string_equal(f->plan.kernel, "a.sqsh");
	assert_string_equal(f->plan.initrd, "initrd");
	assert_non_null(
		strstr(f->plan.append, "rdinit=/sbin/vmstep-root more"));
}

static void test_plan_dir(void **state)
{
	struct fixture *f = *state;
	char link[PATH_MAX], made[PATH_MAX];
	ssize_t n;

	planned(f, "root");
	assert_int_equal(f->plan.n_copies, 1);
	assert_true(f->plan.copy[0].squash);
	assert_true(f->plan.copy[0].removed);
	assert_string_equal(f->plan.copy[0].from, f->root);
	assert_string_equal(f->plan.copy[0].to, f->plan.disk[0].path);
	assert_true(f->plan.disk[0].read_only);
	/* written down before it is made */
	snprintf(link, sizeof(link), "%s/made.0.1", f->dir);
	n = readlink(link, made, sizeof(made) - 1);
	assert_true(n > 0);
	made[n] = '\0';
	assert_string_equal(made, f->plan.copy[0].to);
	planned(f, "root,ctl=c");
	assert_false(f->plan.copy[0].removed);
}

static void test_plan_refused(void **state)
{
	struct fixture *f = *state;

	write_squash("a.sqsh", 4);
	write_text("b.raw", "disk");
	refused(f, "a.sqsh,ctl=w", -EINVAL, "leave w out of ctl=");
	refused(f, "a.sqsh,serial=x", -EINVAL, "nor serial=");
	refused(f, "a.sqsh,if=ide", -EINVAL, "neither if=");
	refused(f, "root,ctl=D", -EINVAL, "only ctl=c goes with");
	refused(f, "root,fmt=raw", -EINVAL, "only ctl=c goes with");
	refused(f, "b.raw;root", -EINVAL, "a directory: it can be the first");
	refused(f, "b.raw,overlay=1G", -EINVAL, "overlay= is for the first");
	refused(f, "b.raw;a.sqsh,overlay=1G", -EINVAL, "overlay= is for the");
	f->t.allow_images = "/nonexistent";
	refused(f, "root", -EPERM, "(allow_images)");
	refused(f, "a.sqsh", -EPERM, "(allow_images)");
}

/* -- installation ---------------------------------------------------------- */

static void test_new_disk(void **state)
{
	struct fixture *f = *state;
	char dir[] = "/nonexistent";
	struct stat st;

	f->s.dry_run = true;
	planned(f, "new.qcow2,ctl=w,size=1G");
	assert_string_equal(f->plan.disk[0].format, "qcow2");
	assert_int_equal(access("new.qcow2", F_OK), -1);
	f->s.dry_run = false;
	f->t.allow_images = dir;
	refused(f, "new.qcow2,ctl=w,size=1G", -EPERM, "(allow_images)");
	f->t.allow_images = "";
	refused(f, "none/new.raw,ctl=w,size=1G", -ENOENT, "none/");
	if (system("command -v qemu-img >/dev/null") != 0)
		skip();
	planned(f, "new.raw,ctl=w,size=1G");
	assert_string_equal(f->plan.disk[0].format, "raw");
	assert_true(f->plan.disk[0].lasts);
	assert_int_equal(stat("new.raw", &st), 0);
	assert_int_equal(st.st_size, 1ll << 30);
	/* what is there is taken as it is */
	assert_int_equal(truncate("new.raw", 4096), 0);
	planned(f, "new.raw,ctl=w,size=1G");
	assert_int_equal(stat("new.raw", &st), 0);
	assert_int_equal(st.st_size, 4096);
	planned(f, "new,ctl=Rw,size=1G,fmt=raw");
	assert_int_equal(access("new.0", F_OK), 0);
}

static void test_install(void **state)
{
	struct fixture *f = *state;
	char media[] = "media.iso", none[] = "none", dir[] = "root/";
	char mounts[] = "/nonexistent";

	write_text("b.raw", "disk");
	f->s.install = none;
	refused(f, "b.raw", -ENOENT, "--vm-install: none: no such image");
	write_text(media, "CD001");
	f->s.install = media;
	planned(f, "b.raw");
	assert_false(f->plan.seed);
	assert_int_equal(f->plan.n_disks, 2);
	assert_int_equal(f->plan.disk[0].bootindex, 2);
	assert_int_equal(f->plan.disk[1].bootindex, 1);
	assert_string_equal(f->plan.disk[1].id, INSTALL_ID);
	assert_true(f->plan.disk[1].cdrom);
	assert_true(f->plan.disk[1].read_only);
	f->s.unattended = media;
	refused(f, "b.raw", -ENOTDIR, "media.iso: Not a directory");
	f->s.unattended = none;
	refused(f, "b.raw", -ENOENT, "unattended=none");
	f->s.unattended = dir;
	planned(f, "b.raw");
	assert_int_equal(f->plan.n_disks, 3);
	assert_string_equal(f->plan.disk[2].serial, "unattended");
	assert_true(f->plan.fd[QEMU_FD_DISK + 2] >= 0);
	assert_int_equal(f->plan.n_shares, 1);
	assert_string_equal(f->plan.share[0].tag, "install");
	assert_string_equal(f->plan.share[0].path, f->root);
	assert_true(f->plan.share[0].ro && !f->plan.share[0].virtiofs);
	f->t.allow_mounts = mounts;
	refused(f, "b.raw", -EPERM, "(allow_mounts)");
	f->t.allow_mounts = "";
	assert_int_equal(symlink("bin/sh", "root/link"), 0);
	planned(f, "b.raw");
	assert_int_equal(symlink("../b.raw", "root/out"), 0);
	refused(f, "b.raw", -EXDEV, "leads out of");
	unlink("root/out");
	write_squash("a.sqsh", 4);
	refused(f, "a.sqsh", -EINVAL, "needs a disk to install to");
}

#define TEST(text, fn)                          \
	{                                       \
		text, fn, setup, teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST("a SquashFS is known by its header", test_squash_header),
		TEST("a directory is a root if it has programs", test_dir),
		TEST("whatever changes in a tree changes its number",
		     test_fingerprint),
		TEST("without mksquashfs there are words", test_no_program),
		TEST("a tree's owners and modes are in its SquashFS",
		     test_squash),
		TEST("it is made once, and used again", test_once),
		TEST("a SquashFS boots by the site's kernel", test_plan_squash),
		TEST("or by the user's", test_plan_kernel),
		TEST("a directory is a copy to be made", test_plan_dir),
		TEST("a disk that is not there is made", test_new_disk),
		TEST("media come before the disk", test_install),
		TEST("what does not go together is refused", test_plan_refused),
	};

	return cmocka_run_group_tests_name("rootfs", tests, NULL, NULL);
}
