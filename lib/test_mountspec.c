#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "mountspec.h"

static void test_bad_adds_nothing(void **state)
{
	struct mountspecs m = { 0 };
	struct errmsg err;

	assert_int_equal(mountspecs_parse(&m, "/a:/b", &err), 0);
	assert_int_equal(mountspecs_parse(&m, "/c:/d,/e:f", &err), -EINVAL);
	assert_non_null(strstr(err.text, "'f' is not a path from /"));
	assert_int_equal(m.n, 1);
	mountspecs_done(&m);
	assert_int_equal(m.n, 0);
}

static void test_bad_places(void **state)
{
	static const char *const bad[] = { "",	  "/",	    "//",  "a",
					   "/..", "/a/../", "./a", "/a/.." };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(mountspec_check_dst(bad[i], NULL), -EINVAL);
	assert_int_equal(mountspec_check_dst("/a..b", NULL), 0);
	assert_int_equal(mountspec_check_dst("/...", NULL), 0);
}

static void test_good(void **state)
{
	struct mountspecs m = { 0 };

	assert_int_equal(
		mountspecs_parse(&m, "a b:/c,../d:/e/f:ro,g:/h:rw", NULL), 0);
	assert_int_equal(m.n, 3);
	assert_string_equal(m.v[0].src, "a b");
	assert_string_equal(m.v[1].src, "../d");
	assert_string_equal(m.v[1].dst, "/e/f");
	assert_true(!m.v[0].ro && m.v[1].ro && !m.v[2].ro);
	mountspecs_done(&m);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		{ "a list with a bad one adds nothing", test_bad_adds_nothing,
		  NULL, NULL, NULL },
		{ "places that would hide the guest are refused",
		  test_bad_places, NULL, NULL, NULL },
		{ "directories, places and what may be done there", test_good,
		  NULL, NULL, NULL },
	};

	return cmocka_run_group_tests_name("mountspec", tests, NULL, NULL);
}
