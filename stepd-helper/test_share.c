/* test_share.c - shares and what a plan makes of them, with a virtiofsd that is
 * this program itself: it answers, or not
 */
#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "cleanup.h"
#include "plan_data.h"

struct fixture {
	char dir[64], refuses[4096];
	struct task t;
	struct spec s;
	struct qemu_plan p;
	struct errmsg err;
};

static char self[4096];

static int run(struct fixture *f, const char *script)
{
	char command[1024];

	snprintf(command, sizeof(command), "cd %s && %s", f->dir, script);
	return system(command);
}

static const char *at(struct fixture *f, const char *name)
{
	static char path[32][128];
	static int i;

	i = (i + 1) % 32;
	snprintf(path[i], sizeof(path[0]), "%s/%s", f->dir, name);
	return path[i];
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->dir, "/tmp/vmstep-share-XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	f->t = (struct task){ .node = "n1",
			      .step_dir = f->dir,
			      .virtiofsd = self,
			      .allow_mounts = "",
			      .data_path = "" };
	qemu_plan_init(&f->p);
	f->p.task = &f->t;
	f->p.spec = &f->s;
	*state = f;
	return run(f,
		   "mkdir a b site && printf hsqs0000 >site/x.sqsh && "
		   "printf other >no.sqsh && "
		   "printf '#!/bin/sh\\necho not here >&2\\nexit 1\\n' >bad && "
		   "chmod 755 bad");
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	int r;

	qemu_plan_done(&f->p);
	strings_done(&f->s.inputs);
	strings_done(&f->s.outputs);
	mountspecs_done(&f->s.mounts);
	r = run(f, "rm -rf a b site no.sqsh bad new new2 && rmdir $PWD");
	free(f);
	return r;
}

static void add(struct strings *s, const char *text)
{
	assert_int_equal(strings_add(s, text, strlen(text)), 0);
}

static void refused(struct fixture *f, int code, const char *words)
{
	assert_int_equal(plan_data(&f->p, &f->err), code);
	if (!strstr(f->err.text, words))
		fail_msg("'%s' has no '%s'", f->err.text, words);
}

static void no_socket_left(struct fixture *f)
{
	assert_int_equal(run(f, "! ls | grep -q '^fs'"), 0);
}

/* -- what is refused ------------------------------------------------------- */

static void test_no_input(void **state)
{
	struct fixture *f = *state;

	add(&f->s.inputs, "nowhere");
	f->t.data_path = at(f, "site");
	refused(f, -ENOENT, "--vm-input=nowhere: no such data on n1, neither");
}

static void test_no_squashfs(void **state)
{
	struct fixture *f = *state;

	add(&f->s.inputs, at(f, "no.sqsh"));
	refused(f, -EINVAL, "is no SquashFS");
}

static void test_not_allowed(void **state)
{
	struct fixture *f = *state;

	f->t.allow_mounts = at(f, "a");
	assert_int_equal(
		mountspecs_add(&f->s.mounts, at(f, "a/../b"), "/m", false), 0);
	refused(f, -EPERM, "(allow_mounts)");
	mountspecs_done(&f->s.mounts);
	assert_int_equal(symlink("../b", at(f, "a/link")), 0);
	add(&f->s.inputs, at(f, "a/link"));
	refused(f, -EPERM, "(allow_mounts)");
	strings_done(&f->s.inputs);
	add(&f->s.outputs, at(f, "new"));
	refused(f, -EPERM, "(allow_mounts)");
	assert_int_equal(access(at(f, "new"), F_OK), -1);
}

static void test_one_place(void **state)
{
	struct fixture *f = *state;

	add(&f->s.inputs, at(f, "site/x.sqsh"));
	add(&f->s.inputs, at(f, "site/x.sqsh"));
	assert_true(plan_data(&f->p, &f->err) < 0);
	assert_non_null(
		strstr(f->err.text, "two things are to be at /input/x"));
}

static void test_too_many(void **state)
{
	struct fixture *f = *state;
	char dst[16];

	f->t.virtiofsd = "none";
	for (int i = 0; i <= SHARES_MAX; i++) {
		snprintf(dst, sizeof(dst), "/m%d", i);
		assert_int_equal(
			mountspecs_add(&f->s.mounts, at(f, "a"), dst, true), 0);
	}
	refused(f, -E2BIG, "more than 8 directories");
}

/* -- what comes of it ------------------------------------------------------ */

static void test_names(void **state)
{
	struct fixture *f = *state;

	f->t.data_path = at(f, "site");
	f->t.allow_mounts = at(f, "a");
	f->t.virtiofsd = "none";
	add(&f->s.inputs, "x");
	add(&f->s.inputs, at(f, "a"));
	if (plan_data(&f->p, &f->err) < 0)
		fail_msg("%s", f->err.text);
	assert_int_equal(f->p.data.n, 2);
	assert_string_equal(f->p.data.v[0].dst, "/input/x");
	assert_string_equal(f->p.data.v[0].tag, "input0");
	assert_int_equal(f->p.data.v[0].by, BY_DISK);
	assert_true(f->p.disk[0].read_only);
	assert_string_equal(f->p.disk[0].path, at(f, "site/x.sqsh"));
	assert_string_equal(f->p.data.v[1].dst, "/input/a");
	assert_int_equal(f->p.data.v[1].by, BY_9P);
	assert_true(f->p.share[0].ro);
}

static void test_output_is_made(void **state)
{
	struct fixture *f = *state;

	f->t.virtiofsd = "none";
	add(&f->s.outputs, at(f, "new"));
	assert_int_equal(plan_data(&f->p, &f->err), 0);
	assert_string_equal(f->p.data.v[0].dst, "/output");
	assert_string_equal(f->p.data.v[0].src, at(f, "new"));
	assert_false(f->p.share[0].ro);
}

static void test_dry_run(void **state)
{
	struct fixture *f = *state;

	f->t.virtiofsd = "none";
	f->s.dry_run = true;
	add(&f->s.outputs, at(f, "new"));
	assert_int_equal(plan_data(&f->p, &f->err), 0);
	assert_int_equal(access(at(f, "new"), F_OK), -1);
}

static void test_virtiofs(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(mountspecs_add(&f->s.mounts, at(f, "a"), "/m", false),
			 0);
	assert_int_equal(mountspecs_add(&f->s.mounts, at(f, "b"), "/n", true),
			 0);
	assert_int_equal(plan_data(&f->p, &f->err), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(f->p.data.v[i].by, BY_VIRTIOFS);
		assert_true(f->p.share[i].pid > 0);
		assert_true(f->p.fd[QEMU_FD_SHARE + i] >= 0);
	}
	assert_true(qemu_shares_memory(&f->p));
	no_socket_left(f);
}

static void test_no_virtiofs(void **state)
{
	struct fixture *f = *state;

	f->t.virtiofsd = at(f, "bad");
	assert_int_equal(mountspecs_add(&f->s.mounts, at(f, "a"), "/m", false),
			 0);
	f->s.net = NET_NONE;
	assert_int_equal(plan_data(&f->p, &f->err), 0);
	assert_int_equal(f->p.data.v[0].by, BY_9P);
	assert_int_equal(f->p.share[0].pid, 0);
	assert_int_equal(f->p.fd[QEMU_FD_SHARE], -1);
	assert_false(qemu_shares_memory(&f->p));
	no_socket_left(f);
}

static void test_why(void **state)
{
	struct share s = { .tag = "t", .path = strdup("/tmp") };
	struct fixture *f = *state;

	assert_int_equal(share_start(&s, at(f, "bad"), f->dir, &f->err),
			 -ENOSYS);
	assert_non_null(strstr(f->err.text, "not here"));
	assert_true(share_start(&s, at(f, "none-such"), f->dir, &f->err) < 0);
	assert_non_null(strstr(f->err.text, "No such file"));
	share_done(&s);
}

static bool has(const struct strings *s, const char *text)
{
	for (size_t i = 0; i < s->n; i++)
		if (strcmp(s->v[i], text) == 0)
			return true;
	return false;
}

static void test_args(void **state)
{
	char path[] = "/a,b";
	struct share s = { .tag = "vmstep1", .path = path, .ro = true };
	struct strings list = { 0 };
	struct args a = { &list, 0 };

	share_args(&a, &s, 7, false);
	assert_true(has(
		&list,
		"local,id=vmstep1,path=/a,,b,security_model=none,multidevs=remap,readonly=on"));
	assert_true(
		has(&list, "virtio-9p-pci,fsdev=vmstep1,mount_tag=vmstep1"));
	s.virtiofs = true;
	share_args(&a, &s, 7, false);
	assert_true(has(&list, "socket,id=vmstep1,fd=7"));
	assert_true(has(
		&list,
		"vhost-user-fs-pci,chardev=vmstep1,tag=vmstep1,queue-size=1024,vectors=0"));
	assert_int_equal(a.error, 0);
	strings_done(&list);
}

/* As a virtiofsd answers the first question of vhost-user. */
static int be_virtiofsd(void)
{
	uint32_t m[5];
	int fd = accept(3, NULL, NULL);

	if (fd < 0 || recv(fd, m, 12, MSG_WAITALL) != 12 || m[0] != 1)
		return 1;
	m[1] = 5;
	m[2] = 8;
	m[3] = m[4] = 0;
	if (send(fd, m, sizeof(m), 0) != sizeof(m))
		return 1;
	return read(fd, m, 1) == 0 ? 0 : 1;
}

#define TEST(text, fn)                          \
	{                                       \
		text, fn, setup, teardown, NULL \
	}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		TEST("data that is nowhere is refused", test_no_input),
		TEST("a file that is no SquashFS is refused", test_no_squashfs),
		TEST("what the site does not give is refused, by real path",
		     test_not_allowed),
		TEST("two of a name are refused", test_one_place),
		TEST("more shares than there is room for are refused",
		     test_too_many),
		TEST("inputs are found, and placed by their names", test_names),
		TEST("a directory for results is made", test_output_is_made),
		TEST("... and is not in a dry run", test_dry_run),
		TEST("a virtiofsd that answers carries the shares",
		     test_virtiofs),
		TEST("where it does not work 9p does", test_no_virtiofs),
		TEST("... and it is told why", test_why),
		TEST("QEMU's arguments", test_args),
	};

	if (argc > 1 && strcmp(argv[1], "--fd=3") == 0)
		return be_virtiofsd();
	if (!realpath("/proc/self/exe", self))
		return 1;
	return cmocka_run_group_tests_name("share", tests, NULL, NULL);
}
