#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "account.h"
#include "cleanup.h"

static char passwd[] = "/tmp/vmstep-passwd-XXXXXX";
static char group[] = "/tmp/vmstep-group-XXXXXX";

static int write_file(char *path, const char *text)
{
	_cleanup_close_ int fd = mkostemp(path, O_CLOEXEC);

	return fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text);
}

static int setup(void **state)
{
	return write_file(passwd, "root:x:0:0:root:/root:/bin/bash\n"
				  "no colons in this line\n"
				  "ada:x:1000:1000:Ada:/home/ada:\n"
				  "bob:x:1001:100::/nowhere:/bin/sh\n"
				  "1000:x:77:77::/home/digits:/bin/sh\n") ||
	       write_file(group, "root:x:0:\n"
				 "users:x:100:ada\n"
				 "ada:x:1000:ada\n"
				 "wheel:x:10:root,ada\n"
				 "broken\n"
				 "adam:x:11:adam,bob\n");
}

static int teardown(void **state)
{
	unlink(passwd);
	unlink(group);
	return 0;
}

static int find(const char *user, struct account *a, struct errmsg *err)
{
	return account_find_in(passwd, group, user, a, err);
}

static void test_unknown(void **state)
{
	static const char *const bad[] = { "eve",
					   "",
					   "ad",
					   "root:x",
					   "-1",
					   "4294967295",
					   "99999999999999999999",
					   "12x" };
	struct account a = { .uid = 5 };
	struct errmsg err;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(find(bad[i], &a, &err), -ENOENT);
		assert_non_null(strstr(err.text, bad[i]));
		assert_int_equal(a.uid, 5);
		assert_null(a.name);
	}
}

static void test_name(void **state)
{
	_cleanup_(account_done) struct account a = { 0 };

	assert_int_equal(find("ada", &a, NULL), 0);
	assert_int_equal(a.uid, 1000);
	assert_int_equal(a.gid, 1000);
	assert_string_equal(a.home, "/home/ada");
	assert_string_equal(a.shell, "/bin/sh"); /* none is given */
	assert_int_equal(a.n_groups, 3);
	assert_int_equal(a.groups[0], 1000); /* once, though named twice */
	assert_int_equal(a.groups[1], 100);
	assert_int_equal(a.groups[2], 10);
}

static void test_number(void **state)
{
	_cleanup_(account_done) struct account a = { 0 }, b = { 0 }, c = { 0 };

	assert_int_equal(find("1001", &a, NULL), 0);
	assert_string_equal(a.name, "bob");
	assert_int_equal(a.n_groups, 2);
	assert_int_equal(find("1000", &b, NULL), 0);
	assert_int_equal(b.uid, 77); /* a name made of digits is a name */
	assert_int_equal(find("4321", &c, NULL), 0);
	assert_int_equal(c.uid, 4321);
	assert_int_equal(c.gid, 4321);
	assert_string_equal(c.home, "/");
}

static void test_no_files(void **state)
{
	_cleanup_(account_done) struct account a = { 0 };

	assert_int_equal(account_find_in("/none", "/none", "root", &a, NULL),
			 0);
	assert_int_equal(a.uid, 0);
	assert_int_equal(a.n_groups, 1);
	assert_int_equal(account_find_in("/none", "/none", "ada", &a, NULL),
			 -ENOENT);
}

static void test_self(void **state)
{
	_cleanup_(account_done) struct account a = { 0 };

	assert_int_equal(account_find(NULL, &a, NULL), 0);
	assert_int_equal(a.uid, geteuid());
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		{ "a user who is not there is not found", test_unknown },
		{ "a name gives home, shell and all groups", test_name },
		{ "a uid is a user, too, known or not", test_number },
		{ "root is there without any file", test_no_files },
		{ "nobody named means ourselves", test_self },
	};

	return cmocka_run_group_tests_name("account", tests, setup, teardown);
}
