#include <config.h>

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

#include "filelock.h"
#include "test_plugin.h"

__attribute__((format(printf, 2, 3))) static void make(struct test *t,
						       const char *fmt, ...)
{
	char command[1024], words[640];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(words, sizeof(words), fmt, ap);
	va_end(ap);
	snprintf(command, sizeof(command), "mkdir -p %s && cd %s && %s",
		 t->user, t->user, words);
	assert_int_equal(system(command), 0);
}

static bool there(struct test *t, const char *name)
{
	char path[256];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", t->user, name);
	return lstat(path, &st) == 0;
}

/* Not in the user's directory, but anywhere in the cluster's. */
static bool elsewhere(struct test *t, const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", t->c->dir, name);
	return access(path, F_OK) == 0;
}

static void epilog(struct test *t, uint32_t job)
{
	play_epilog(t->c, job, 0, &t->run);
	assert_int_equal(t->run.status, 0);
	assert_null(played_failure(&t->run));
}

static void test_nothing_there(void **state)
{
	struct test *t = *state;

	epilog(t, 12); /* no runtime directory */
	mkdir(t->c->runtime, 0755);
	epilog(t, 12);
	make(t, "true");
	epilog(t, 12);
	assert_false(there(t, ""));
	assert_int_equal(access(t->c->runtime, F_OK), 0);
}

static void test_bad_config(void **state)
{
	struct test *t = *state;

	make(t, "mkdir 12.0");
	t->c->required = true;
	cluster_conf(t->c, "colour = red\n");
	epilog(t, 12);
	t->c->plugin_args = LIST("nonsense");
	epilog(t, 12);
	assert_true(there(t, "12.0"));
}

static void test_links(void **state)
{
	struct test *t = *state;

	make(t,
	     "mkdir -p %s/precious/deep 12.0/a && touch %s/precious/deep/file",
	     t->c->dir, t->c->dir);
	make(t,
	     "ln -s %s/precious 12.0/link && ln -s %s/precious 12.1 && ln -s ../../../precious 12.0/a/up",
	     t->c->dir, t->c->dir);
	epilog(t, 12);
	assert_false(there(t, "12.0"));
	assert_false(there(t, "12.1"));
	assert_true(elsewhere(t, "precious/deep/file"));
}

/* Of directories that were written down only those of steps that were not
 * saved to the end. */
static void test_saved(void **state)
{
	struct test *t = *state;

	make(t,
	     "mkdir -p %s/.vmstep-save-x %s/own 12.0 && touch %s/.vmstep-save-x/memory.0 %s/own/file",
	     t->c->dir, t->c->dir, t->c->dir, t->c->dir);
	make(t,
	     "ln -s %s/.vmstep-save-x 12.0/made.0.0 && ln -s %s/own 12.0/made.0.1",
	     t->c->dir, t->c->dir);
	epilog(t, 12);
	assert_false(elsewhere(t, ".vmstep-save-x"));
	assert_true(elsewhere(t, "own/file"));
}

static void test_user_link(void **state)
{
	struct test *t = *state;

	mkdir(t->c->runtime, 0755);
	make(t,
	     "cd .. && rmdir %u && mkdir -p ../elsewhere/12.0 && ln -s ../elsewhere %u",
	     getuid(), getuid());
	epilog(t, 12);
	assert_true(elsewhere(t, "elsewhere/12.0"));
}

/* Whoever can put one there, as where runtime_dir is in /tmp, gets nothing. */
static void test_runtime_link(void **state)
{
	struct test *t = *state;
	char command[512], name[32];

	snprintf(command, sizeof(command),
		 "cd %s && mkdir -p elsewhere/%u/12.0 && ln -s elsewhere %s",
		 t->c->dir, getuid(), t->c->runtime);
	assert_int_equal(system(command), 0);
	epilog(t, 12);
	snprintf(name, sizeof(name), "elsewhere/%u/12.0", getuid());
	assert_true(elsewhere(t, name));
}

/* What a user may write to can be moved into the step's directory, or be
 * named there. */
static void test_others(void **state)
{
	struct test *t = *state;

	if (geteuid() != 0)
		skip();
	snprintf(t->user, sizeof(t->user), "%s/65534", t->c->runtime);
	make(t,
	     "o=%s && chmod 755 $o && mkdir -m 777 $o/all 12.0 12.1 12.2 12.0/mine 12.0/moved"
	     " && touch $o/all/roots $o/all/roots2 $o/all/users 12.0/moved/file"
	     " && ln -s $o/all/roots 12.1/made.0.0 && ln -s $o/all/roots2 12.2/made.0.0"
	     " && ln -s $o/all/users 12.2/made.0.1 && ln $o/all/roots 12.0/hard",
	     t->c->dir);
	make(t, "chown 65534 . 12.0 12.0/mine 12.2 %s/all/users", t->c->dir);
	play_epilog(t->c, 12, 65534, &t->run);
	assert_int_equal(t->run.status, 0);
	assert_true(there(t, "12.0/moved/file"));
	assert_false(there(t, "12.0/mine"));
	assert_false(there(t, "12.0/hard"));
	assert_true(elsewhere(t, "all/roots"));
	assert_true(elsewhere(t, "all/roots2"));
	assert_false(elsewhere(t, "all/users"));
	assert_false(there(t, "12.2"));
}

static void test_other_jobs(void **state)
{
	struct test *t = *state;

	make(t,
	     "mkdir 12.0 12.1 12.0+1 1.0 120.0 112.0 12 x12.0 && touch 12.9");
	epilog(t, 12);
	assert_false(there(t, "12.0"));
	assert_false(there(t, "12.1"));
	assert_false(there(t, "12.0+1"));
	assert_false(there(t, "12.9"));
	assert_true(there(t, "1.0"));
	assert_true(there(t, "120.0"));
	assert_true(there(t, "112.0"));
	assert_true(there(t, "12"));
	assert_true(there(t, "x12.0"));
}

static void test_step_end(void **state)
{
	struct test *t = *state;
	struct step s = {
		.job = 12,
		.run = "cd $STEP_DIR && mkdir -p a/b/c ../12.1 && touch a/f g && mkfifo p && ln -s / l",
	};

	play(t->c, LIST("srun", "--vm-image=a", "true"), NULL, &t->srun);
	play_step(t->c, &t->srun, 0, &s, &t->run);
	assert_int_equal(t->run.status, 0);
	assert_false(there(t, "12.0"));
	assert_true(there(t, "12.1")); /* another step of the job's */
	epilog(t, 12);
	assert_false(there(t, ""));
}

static void test_depth(void **state)
{
	struct test *t = *state;

	/* a user may nest as deep as they like; the walk ends somewhere */
	make(t, "mkdir -p 12.0/1/2/3/4/5/6/7/8/9/10/11/12");
	epilog(t, 12);
	assert_true(there(t, "12.0"));
}

static void test_made(void **state)
{
	struct test *t = *state;
	char path[256];
	int fd;

	/* what helpers wrote down before they made it; a directory, a link and
	 * what is not there are not such things */
	make(t,
	     "mkdir -p 12.0 ../../out/d && touch ../../out/a ../../out/b ../../out/c"
	     " && ln -s c ../../out/l && cd 12.0 && o=$(realpath ../../../out)"
	     " && ln -s $o/a made.0.0 && ln -s $o/b made.0.1"
	     " && ln -s $o/d made.0.2 && ln -s $o/l made.0.3"
	     " && ln -s $o/none made.1.0 && ln -s ../../../out/c made.1.1"
	     " && ln -s $o/c other && touch made.file");
	snprintf(path, sizeof(path), "%s/out/b", t->c->dir);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_int_equal(filelock(fd, false), 0); /* another VM has it */
	epilog(t, 12);
	assert_false(elsewhere(t, "out/a"));
	assert_true(elsewhere(t, "out/b"));
	assert_true(elsewhere(t, "out/c"));
	assert_true(elsewhere(t, "out/d"));
	assert_true(elsewhere(t, "out/l"));
	close(fd);
}

static void test_unreadable(void **state)
{
	struct test *t = *state;

	make(t, "mkdir -p 12.0/a && touch 12.0/a/f && chmod 0 12.0/a");
	epilog(t, 12);
	assert_true(there(t, "12.0") == (geteuid() != 0));
	make(t, "chmod -R u+rwx .");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST("nothing to remove is no error", test_nothing_there),
		TEST("a bad configuration removes nothing, fails nothing",
		     test_bad_config),
		TEST("links are removed, not followed", test_links),
		TEST("of directories those that were to be saved steps",
		     test_saved),
		TEST("a link in place of the user's directory is not followed",
		     test_user_link),
		TEST("nor is one in place of the runtime directory",
		     test_runtime_link),
		TEST("what is not the user's stays, wherever it is moved or named",
		     test_others),
		TEST("other jobs' directories stay", test_other_jobs),
		TEST("a step's end removes the step's directory only",
		     test_step_end),
		TEST("too deep a tree does not bring the walk down",
		     test_depth),
		TEST("files that were written down are removed, locked ones not",
		     test_made),
		TEST("nor does a directory without permissions",
		     test_unreadable),
	};

	return cmocka_run_group_tests_name("sweep", tests, NULL, NULL);
}
