#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "account.h"
#include "useradd.h"

struct fixture {
	char dir[64];
	struct useradd u;
	struct errmsg err;
};

static char name[] = "alice", group[] = "staff", home[] = "/home/alice";

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->dir, "/tmp/vmstep-useradd-XXXXXX");
	f->u = (struct useradd){ name, group, home, 1234, 500, NULL, NULL };
	*state = f;
	return mkdtemp(f->dir) ? 0 : -1;
}

static const char *at(struct fixture *f, const char *file)
{
	static char path[4][128];
	static int i;

	i = (i + 1) % 4;
	snprintf(path[i], sizeof(path[0]), "%s/%s", f->dir, file);
	return path[i];
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	unlink(at(f, "passwd"));
	unlink(at(f, "group"));
	unlink(at(f, "shadow"));
	rmdir(f->dir);
	free(f);
	return 0;
}

static void put(struct fixture *f, const char *file, const char *text)
{
	FILE *out = fopen(at(f, file), "we");

	assert_non_null(out);
	fputs(text, out);
	fclose(out);
}

static void is(struct fixture *f, const char *file, const char *text)
{
	char got[1024] = "";
	FILE *in = fopen(at(f, file), "re");

	assert_non_null(in);
	assert_true(fread(got, 1, sizeof(got) - 1, in) < sizeof(got));
	fclose(in);
	assert_string_equal(got, text);
}

static void test_other_number(void **state)
{
	struct fixture *f = *state;

	put(f, "passwd", "root:x:0:0::/:/bin/sh\nalice:x:7:7::/:/bin/sh\n");
	assert_int_equal(useradd_write(f->dir, &f->u, &f->err), -EEXIST);
	assert_non_null(strstr(f->err.text, "whose number is 7 and not 1234"));
	assert_int_equal(access(at(f, "shadow"), F_OK), -1);
}

static void test_there(void **state)
{
	static const char line[] = "alice:x:1234:9::/elsewhere:/bin/csh\n";
	struct fixture *f = *state;

	put(f, "passwd", line);
	assert_int_equal(useradd_write(f->dir, &f->u, &f->err), 0);
	is(f, "passwd", line);
}

static void test_new(void **state)
{
	struct fixture *f = *state;
	struct account a;

	/* as an editor may leave it */
	put(f, "passwd", "root:x:0:0::/root:/bin/sh");
	put(f, "group", "root:x:0:\n");
	put(f, "shadow", "root:*:1:0:99999:7:::\n");
	assert_int_equal(useradd_write(f->dir, &f->u, &f->err), 0);
	is(f, "group", "root:x:0:\nstaff:x:500:\n");
	is(f, "shadow", "root:*:1:0:99999:7:::\nalice:*:19000:0:99999:7:::\n");
	assert_int_equal(account_find_in(at(f, "passwd"), at(f, "group"),
					 "alice", &a, &f->err),
			 0);
	assert_int_equal(a.uid, 1234);
	assert_int_equal(a.gid, 500);
	assert_string_equal(a.home, home);
	account_done(&a);
	/* once */
	assert_int_equal(useradd_write(f->dir, &f->u, &f->err), 0);
	is(f, "group", "root:x:0:\nstaff:x:500:\n");
}

static void test_group_there(void **state)
{
	struct fixture *f = *state;

	put(f, "group", "other:x:500:\n");
	assert_int_equal(useradd_write(f->dir, &f->u, &f->err), 0);
	is(f, "group", "other:x:500:\n");
}

#define TEST(text, fn)                          \
	{                                       \
		text, fn, setup, teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST("a name that has another number is refused",
		     test_other_number),
		TEST("a user who is there stays as it is", test_there),
		TEST("a new user gets a line in each file, once", test_new),
		TEST("a group of that number is taken as it is",
		     test_group_there),
	};

	return cmocka_run_group_tests_name("useradd", tests, NULL, NULL);
}
