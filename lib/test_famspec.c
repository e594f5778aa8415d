#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "cleanup.h"
#include "famspec.h"

static void test_refused(void **state)
{
	static const struct {
		const char *text, *words;
	} bad[] = {
		{ "", "is not a size" },
		{ "much", "is not a size" },
		{ "0", "is not a size" },
		{ "512K", "power of two" },
		{ "3G", "power of two" },
		{ "1025M", "power of two" },
		{ "1G,", "'' behind a comma" },
		{ "1G,/dev/shm/x", "'/dev/shm/x' behind a comma" },
		{ "1G,file", "'file' behind a comma" },
		{ "1G,file=", "the path is empty" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct errmsg err = { "" };
		struct famspec s;

		assert_int_equal(famspec_parse(bad[i].text, &s, &err), -EINVAL);
		if (!strstr(err.text, bad[i].words))
			fail_msg("%s: '%s' has no '%s'", bad[i].text, err.text,
				 bad[i].words);
		assert_null(s.file);
	}
}

static void test_taken(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
		const char *file;
	} good[] = {
		{ "1M", 1ull << 20, NULL },
		{ "1024", 1ull << 30, NULL },
		{ "1024K", 1ull << 20, NULL },
		{ "256G", 1ull << 38, NULL },
		{ "64M,file=fam", 64ull << 20, "fam" },
		{ "64M,file=/a,b=c", 64ull << 20, "/a,b=c" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct errmsg err;
		struct famspec s;

		assert_int_equal(famspec_parse(good[i].text, &s, &err), 0);
		assert_true(s.bytes == good[i].bytes);
		if (good[i].file)
			assert_string_equal(s.file, good[i].file);
		else
			assert_null(s.file);
		famspec_done(&s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_taken),
	};

	return cmocka_run_group_tests_name("famspec", tests, NULL, NULL);
}
