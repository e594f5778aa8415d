#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "cmdline.h"

#define LINE(...) ((const char *const[]){ "srun", __VA_ARGS__, NULL })

static struct strings args_of(const char *const *line)
{
	struct strings args = { 0 };

	for (; *line; line++)
		assert_int_equal(strings_add(&args, *line, strlen(*line)), 0);
	return args;
}

/* Where srun's own arguments end: at the one called "CMD". */
static void test_own_end(void **state)
{
	const char *const *const lines[] = {
		LINE("CMD", "--vm-image=a"),
		LINE("-N2", "-n", "4", "CMD", "-n"),
		LINE("-ln", "4", "CMD"),
		LINE("-ln4", "CMD"),
		LINE("-lu", "CMD"),
		LINE("-K0", "CMD"),
		LINE("-lK", "CMD"),
		LINE("--vm-image", "a", "CMD", "--export=A"),
		LINE("--vm-image=a", "CMD", "b"),
		LINE("--pty", "CMD"),
		LINE("--vm-dry-run", "CMD"),
		LINE("--vm-verbose", "CMD", "--", "x"),
		LINE("--job-name", "x", "--", "CMD", "x"),
		LINE("--", "CMD"),
		LINE("--label", "--mpi", "none", "-J", "x", "CMD"),
		LINE("--mpi", "--label", "CMD"),
	};

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct strings args = args_of(lines[i]);
		struct cmdline_part part = cmdline_first(&args);

		assert_int_equal(part.from, 1);
		assert_true(part.to < args.n);
		assert_string_equal(args.v[part.to], "CMD");
		assert_false(cmdline_next(&args, &part));
		strings_done(&args);
	}
}

static void test_components(void **state)
{
	struct strings args =
		args_of(LINE("-N1", "CMD", "x", ":", "--exact", "CMD", ":",
			     "--vm-image", "a", ":", "CMD", ":"));
	static const size_t want[][2] = {
		{ 1, 2 }, { 5, 6 }, { 8, 10 }, { 11, 11 }, { 13, 13 }
	};
	struct cmdline_part part = cmdline_first(&args);

	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		if (i)
			assert_true(cmdline_next(&args, &part));
		assert_int_equal(part.from, want[i][0]);
		assert_int_equal(part.to, want[i][1]);
	}
	assert_false(cmdline_next(&args, &part));
	strings_done(&args);
}

static void test_values(void **state)
{
	struct strings args =
		args_of(LINE("--vm-image=a", "--vm-im", "b", "--vm-i=no",
			     "--vm-images=no", "--pty", "CMD", "--vm-image=c"));
	struct cmdline_part part = cmdline_first(&args);

	assert_string_equal(
		cmdline_value(&args, &part, "--vm-image", strlen("--vm-im")),
		"b");
	assert_string_equal(cmdline_value(&args, &part, "--pty", 5), "");
	assert_null(cmdline_value(&args, &part, "--export", 8));
	strings_done(&args);
}

static void test_count(void **state)
{
	struct strings args = args_of(
		LINE("--vm-image=a", "--vm-im", "b", "--vm-i=no",
		     "--vm-images=no", "--vm-net=x", "CMD", "--vm-image=c"));
	struct cmdline_part part = cmdline_first(&args);

	assert_int_equal(cmdline_count(&args, &part, OPT_IMAGE), 2);
	assert_int_equal(cmdline_count(&args, &part, OPT_NET), 1);
	assert_int_equal(cmdline_count(&args, &part, OPT_NET_MTU), 0);
	strings_done(&args);
}

/* There may be no /proc. */
static void test_nothing(void **state)
{
	struct strings args = { 0 };
	struct cmdline_part part = cmdline_first(&args);

	assert_null(cmdline_value(&args, &part, "--export", 8));
	assert_false(cmdline_next(&args, &part));
	assert_int_equal(cmdline_load(&args), 0);
	assert_non_null(strstr(args.v[0], "test_cmdline"));
	strings_done(&args);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		{ "no arguments, and this process's", test_nothing, NULL, NULL,
		  NULL },
		{ "srun's own end where the command begins", test_own_end, NULL,
		  NULL, NULL },
		{ "each component has its own", test_components, NULL, NULL,
		  NULL },
		{ "the last value is found, of an abbreviation, too",
		  test_values, NULL, NULL, NULL },
		{ "our options are counted, abbreviated ones, too", test_count,
		  NULL, NULL, NULL },
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
