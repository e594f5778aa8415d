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
#include "hostsfile.h"

#define BEGIN "# vmstep begin\n"
#define END   "# vmstep end\n"

struct fixture {
	char dir[64], path[80];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	*state = f;
	strcpy(f->dir, "/tmp/vmstep-hosts-XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	snprintf(f->path, sizeof(f->path), "%s/hosts", f->dir);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	unlink(f->path);
	assert_int_equal(rmdir(f->dir), 0); /* no temporary file is left */
	free(f);
	return 0;
}

static void put(struct fixture *f, const char *text)
{
	_cleanup_fclose_ FILE *file = fopen(f->path, "we");

	assert_non_null(file);
	fputs(text, file);
}

static void check(struct fixture *f, const char *want)
{
	_cleanup_fclose_ FILE *file = fopen(f->path, "re");
	char text[1024] = "";

	assert_non_null(file);
	text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
	assert_string_equal(text, want);
}

static ino_t inode(struct fixture *f)
{
	struct stat st;

	assert_int_equal(stat(f->path, &st), 0);
	return st.st_ino;
}

static void test_no_dir(void **state)
{
	struct errmsg err;

	assert_int_equal(hostsfile_set("/none/hosts", "x\n", &err), -ENOENT);
	assert_non_null(strstr(err.text, "/none/hosts"));
}

static void test_new(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(hostsfile_set(f->path, "10.0.0.1 vm0", NULL), 0);
	check(f, BEGIN "10.0.0.1 vm0\n" END);
}

static void test_kept(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	put(f, "127.0.0.1 localhost"); /* and no newline */
	chmod(f->path, 0640);
	assert_int_equal(hostsfile_set(f->path, "a\n", NULL), 0);
	check(f, "127.0.0.1 localhost\n" BEGIN "a\n" END);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
}

static void test_again(void **state)
{
	struct fixture *f = *state;
	ino_t before;

	put(f, "one\n" BEGIN "old\nlines\n" END "two\n");
	assert_int_equal(hostsfile_set(f->path, "new\n", NULL), 0);
	check(f, "one\n" BEGIN "new\n" END "two\n");
	before = inode(f);
	assert_int_equal(hostsfile_set(f->path, "new\n", NULL), 0);
	assert_int_equal(inode(f), before); /* not written again */
	assert_int_equal(hostsfile_set(f->path, "", NULL), 0);
	check(f, "one\ntwo\n");
}

static void test_no_end(void **state)
{
	struct fixture *f = *state;

	put(f, "one\n" BEGIN "mine\n");
	assert_int_equal(hostsfile_set(f->path, "new\n", NULL), 0);
	check(f, "one\n" BEGIN "new\n" END "mine\n");
}

static void test_not_a_mark(void **state)
{
	struct fixture *f = *state;

	put(f, "x " BEGIN "one\n");
	assert_int_equal(hostsfile_set(f->path, "new\n", NULL), 0);
	check(f, "x " BEGIN "one\n" BEGIN "new\n" END);
}

static void test_link(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	char real[100];

	snprintf(real, sizeof(real), "%s.real", f->path);
	put(f, "one\n");
	assert_int_equal(rename(f->path, real), 0);
	assert_int_equal(symlink(real, f->path), 0);
	assert_int_equal(hostsfile_set(f->path, "a\n", NULL), 0);
	check(f, "one\n" BEGIN "a\n" END);
	assert_int_equal(lstat(f->path, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	unlink(real);
}

#define TEST(text, fn)                          \
	{                                       \
		text, fn, setup, teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST("a directory that is not there is named", test_no_dir),
		TEST("a file that is not there is made", test_new),
		TEST("what was there is kept, and its mode", test_kept),
		TEST("the block is replaced, kept, taken out", test_again),
		TEST("a block without an end loses nothing", test_no_end),
		TEST("a mark in mid-line is none", test_not_a_mark),
		TEST("a link is followed, not replaced", test_link),
	};

	return cmocka_run_group_tests_name("hostsfile", tests, NULL, NULL);
}
