#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "start_params.h"

#define BIG 100000

static char user[] = "root";

/* An argument of BIG bytes, all @byte. */
static void fill(char arg[BIG + 1], char byte)
{
	memset(arg, byte, BIG);
	arg[BIG] = '\0';
}

static void test_too_long(void **state)
{
	static char arg[BIG + 1];
	const char *const three[] = { "echo", arg, arg, arg, NULL };
	struct task t = { .ranks = 1 };
	struct spec s = { .guest_user = user, .net = NET_NONE };
	struct errmsg err;

	fill(arg, 'x');
	assert_int_equal(start_params_check(&t, &s, three, &err), -E2BIG);
	assert_non_null(strstr(err.text, "arguments and environment take 300"));
	assert_non_null(strstr(err.text, "and 261888 go into a guest"));
	assert_int_equal(start_params_check(&t, &s, three + 1, &err), -E2BIG);
	assert_int_equal(start_params_check(&t, &s, three + 2, &err), 0);
}

static void test_quoted(void **state)
{
	static char arg[BIG + 1];
	const char *const argv[] = { arg, NULL };
	struct task t = { .ranks = 1 };
	struct spec s = { .guest_user = user, .net = NET_NONE };

	fill(arg, 'x');
	assert_int_equal(start_params_check(&t, &s, argv, NULL), 0);
	fill(arg, '\x01'); /* six bytes each */
	assert_int_equal(start_params_check(&t, &s, argv, NULL), -E2BIG);
	fill(arg, '\xff'); /* no UTF-8: goes as base64 */
	assert_int_equal(start_params_check(&t, &s, argv, NULL), 0);
}

static void test_env(void **state)
{
	static char value[BIG + 1], a[] = "TEST_A", b[] = "TEST_B",
				    c[] = "TEST_C";
	char *names[] = { a, b, c };
	const char *const argv[] = { "true", NULL };
	struct task t = { .ranks = 1 };
	struct spec s = { .guest_user = user,
			  .net = NET_NONE,
			  .env = { names, 2 } };

	fill(value, 'x');
	for (size_t i = 0; i < 3; i++)
		setenv(names[i], value, 1);
	assert_int_equal(start_params_check(&t, &s, argv, NULL), 0);
	s.env.n = 3;
	assert_int_equal(start_params_check(&t, &s, argv, NULL), -E2BIG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		{ "too many arguments are told with their bytes", test_too_long,
		  NULL, NULL, NULL },
		{ "as they are written for the guest", test_quoted, NULL, NULL,
		  NULL },
		{ "the environment counts, too", test_env, NULL, NULL, NULL },
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
