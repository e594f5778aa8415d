#include <config.h>

#include <errno.h>
#include <fcntl.h>
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
#include "disk.h"
#include "relpath.h"
#include "save.h"

struct fixture {
	char dir[64];
	struct task t;
	struct spec s;
	struct qemu_plan plan;
	struct save *save;
	struct loop *loop;
	struct errmsg err;
};

static int run(const char *command)
{
	return system(command);
}

/* Rank 1 of 4; 0 and 1 are on this node. Its disk is an overlay over the raw
 * images/base. */
static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	snprintf(f->dir, sizeof(f->dir), "/tmp/vmstep-test-XXXXXX");
	if (!mkdtemp(f->dir) || chdir(f->dir) < 0 ||
	    run("mkdir images out step && echo BASE >images/base && truncate -s 4M images/base"))
		return -1;
	f->t = (struct task){ .step = "12.0",
			      .user = "alice",
			      .node = "n1",
			      .job = 12,
			      .rank = 1,
			      .ranks = 4,
			      .qemu = "qemu-system-x86_64",
			      .step_dir = "step" };
	rankset_parse(&f->t.local_ranks, "0-1", 3, NULL);
	qemu_plan_init(&f->plan);
	f->plan.n_disks = 1;
	f->plan.disk[0].format = "qcow2";
	assert_true(asprintf(&f->plan.disk[0].base, "%s/images/base", f->dir) >
		    0);
	f->plan.disk[0].base_kind = IMAGE_RAW;
	*state = f;
	return loop_new(&f->loop, NULL);
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[96];

	save_free(f->save);
	loop_free(f->loop);
	qemu_plan_done(&f->plan);
	optset_done(&f->t.options);
	rankset_done(&f->t.local_ranks);
	free(f->s.save);
	snprintf(command, sizeof(command), "cd / && rm -rf %s", f->dir);
	free(f);
	return run(command);
}

static int try_new(struct fixture *f, const char *path)
{
	save_free(f->save);
	f->save = NULL;
	free(f->s.save);
	f->s.save = path ? strdup(path) : NULL;
	return save_new(&f->t, &f->s, &f->plan, &f->save, &f->err);
}

static void refused(struct fixture *f, const char *path, int code,
		    const char *words)
{
	assert_int_equal(try_new(f, path), code);
	assert_null(f->save);
	if (!strstr(f->err.text, words))
		fail_msg("'%s' has no '%s'", f->err.text, words);
}

static void test_places(void **state)
{
	struct fixture *f = *state;

	refused(f, "out", -EISDIR, "out is a directory");
	refused(f, "gone/a", -ENOENT, "gone/: No such file");
	refused(f, "new/", -ENOENT, "new/: No such file");
	refused(f, "images/base", -EINVAL, "is the image itself");
	refused(f, "out/../images/base", -EINVAL, "is the image itself");
	f->s.save_full = true;
	assert_int_equal(try_new(f, "images/base"), 0);
	assert_int_equal(try_new(f, NULL), 0);
	assert_null(f->save);
}

static void test_disks(void **state)
{
	struct fixture *f = *state;
	struct qemu_disk *d = f->plan.disk;

	d->base_goes = true;
	refused(f, "a", -EINVAL, "is removed at the end: add ,full");
	f->s.save_full = true;
	assert_int_equal(try_new(f, "a"), 0);
	free(TAKE_PTR(d->base));
	d->path = strdup("/copy");
	refused(f, "a", -EINVAL, "is written itself");
	d->copied = true;
	assert_int_equal(try_new(f, "a"), 0);
	f->s.save_full = false;
	refused(f, "a", -EINVAL, "/copy: the guest writes to its copy");
	d->read_only = true;
	refused(f, "a", -EINVAL, "/copy is write-protected");
	d->drive = strdup("file=/a");
	refused(f, "a", -EINVAL, "has no disk of an image's");
	f->plan.n_disks = 0;
	refused(f, "a", -EINVAL, "has no disk of an image's");
	qemu_disk_done(d);
}

static void test_one_place(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(
		optset_add(&f->t.options, OPT_SAVE, "out/a,full", "x", NULL),
		0);
	refused(f, "out/a", -EEXIST, "where task 0's disk would go, too");
	optset_clear(&f->t.options, OPT_SAVE);
	assert_int_equal(
		optset_add(&f->t.options, OPT_SAVE, "out/a-%t", "x", NULL), 0);
	assert_int_equal(try_new(f, "out/a-1"), 0);
	refused(f, "out/a-0", -EEXIST, "where task 0's disk would go, too");
}

static void test_relative(void **state)
{
	static const char *const paths[][3] = {
		{ "/a", "/a/b", "b" },
		{ "/a", "/b", "../b" },
		{ "/a/b", "/a/c/d", "../c/d" },
		{ "/a/b/c", "/d", "../../../d" },
		{ "/ab", "/a/b", "../a/b" },
		{ "/a", "/ab", "../ab" },
		{ "/", "/a/b", "a/b" },
		{ "/a/b", "/a/bc", "../bc" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		_cleanup_free_ char *got = relpath(paths[i][0], paths[i][1]);

		assert_string_equal(got, paths[i][2]);
	}
}

/* -- written --------------------------------------------------------------- */

static void on_done(const char *error, void *arg)
{
	struct fixture *f = arg;

	errmsg_say(&f->err, 0, "%s", error ? error : "");
	loop_stop(f->loop, error ? 1 : 0);
}

/* With an overlay that a guest has written to; false: there is no qemu-img. */
static bool has_written(struct fixture *f)
{
	char command[200];
	_cleanup_close_ int fd = -1;

	if (run("qemu-img --version >/dev/null 2>&1") != 0)
		return false;
	fd = disk_overlay(f->plan.disk[0].base, IMAGE_RAW, f->dir, f->t.qemu,
			  &f->err);
	assert_true(fd >= 0);
	snprintf(
		command, sizeof(command),
		"qemu-io -f qcow2 -c 'write -P 7 1M 64k' /proc/%d/fd/%d >/dev/null",
		getpid(), fd);
	assert_int_equal(run(command), 0);
	assert_int_equal(save_keep(f->save, fd, &f->err), 0);
	return true;
}

static int save(struct fixture *f)
{
	assert_int_equal(save_start(f->save, f->loop, on_done, f, &f->err), 0);
	return loop_run(f->loop);
}

#define SAME                                                                   \
	"qemu-img convert -O raw out/a raw && head -c4 raw | grep -q BASE && " \
	"qemu-io -f raw -c 'read -P 7 1M 64k' raw | grep -qv failed"

static void test_overlay(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	assert_int_equal(try_new(f, "out/a"), 0);
	if (!has_written(f))
		skip();
	if (save(f) != 0)
		fail_msg("%s", f->err.text);
	assert_int_equal(run(SAME), 0);
	assert_int_equal(
		run("qemu-img info out/a | grep -q 'backing file: ../images/base'"),
		0);
	assert_int_equal(stat("out/a", &st), 0);
	assert_true(st.st_mode & 0200);
	/* and it can be taken elsewhere with its base */
	assert_int_equal(run("mkdir m && mv out images m && cd m && "
			     "qemu-img convert -O raw out/a raw"),
			 0);
}

static void test_full(void **state)
{
	struct fixture *f = *state;

	f->s.save_full = true;
	run("echo old >out/a");
	assert_int_equal(try_new(f, "out/a"), 0);
	if (!has_written(f))
		skip();
	if (save(f) != 0)
		fail_msg("%s", f->err.text);
	unlink("images/base");
	assert_int_equal(run(SAME), 0);
	/* nothing else is there, but it was written down */
	assert_int_equal(run("[ \"$(ls -A out)\" = a ]"), 0);
	assert_int_equal(run("[ -L step/made.1.0 ]"), 0);
}

static void test_fails(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(try_new(f, "out/a"), 0);
	if (!has_written(f))
		skip();
	assert_int_equal(run("mv out gone"), 0);
	assert_int_equal(save(f), 1);
	assert_non_null(strstr(f->err.text, "the disk is not saved as"));
	assert_non_null(strstr(f->err.text, "No such file"));
}

#define TEST(text, fn)                          \
	{                                       \
		text, fn, setup, teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST("a place that cannot be is refused before the boot",
		     test_places),
		TEST("so is a disk that cannot be saved", test_disks),
		TEST("so are two tasks that save to one file", test_one_place),
		{ "paths are relative to directories", test_relative, NULL,
		  NULL, NULL },
		TEST("an overlay names its base relative to itself",
		     test_overlay),
		TEST("a whole disk needs none", test_full),
		TEST("what fails is said and leaves nothing", test_fails),
	};

	return cmocka_run_group_tests_name("save", tests, NULL, NULL);
}
