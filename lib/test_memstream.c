#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <cmocka.h>

#include "memstream.h"
#include "test_sanitized.h"

#define BIG ((size_t)64 * 1024 * 1024)

static void test_texts(void **state)
{
	struct memstream m;
	size_t len = 1;
	char *text;

	assert_non_null(memstream_open(&m));
	text = memstream_close(&m, &len);
	assert_string_equal(text, "");
	assert_int_equal(len, 0);
	free(text);

	assert_non_null(memstream_open(&m));
	fprintf(m.f, "%d%c%s", 12, '\0', "ab");
	text = memstream_close(&m, &len);
	assert_int_equal(len, 5);
	assert_memory_equal(text, "12\0ab", 6);
	free(text);
}

/* Each length around those where it grows, with the NUL behind it. */
static void test_lengths(void **state)
{
	static const char piece[5000] = { [0 ... 4999] = 'x' };
	struct memstream m;

	for (size_t n = 500; n < sizeof(piece); n++) {
		size_t len;
		char *text;

		assert_non_null(memstream_open(&m));
		for (size_t i = 0; i < n; i += 100)
			fwrite(piece, 1, n - i < 100 ? n - i : 100, m.f);
		text = memstream_close(&m, &len);
		assert_int_equal(len, n);
		assert_int_equal(strlen(text), n);
		free(text);
	}
}

/* Where open_memstream() gives its beginning. */
static void test_no_memory(void **state)
{
	static const char piece[BIG / 1024];
	struct rlimit was, little;
	struct memstream m;
	size_t len = 0;
	char *text;

	if (SANITIZED) /* it needs more than there would be */
		skip();
	assert_int_equal(getrlimit(RLIMIT_AS, &was), 0);
	little = was;
	little.rlim_cur = BIG / 2;
	assert_non_null(memstream_open(&m));
	assert_int_equal(setrlimit(RLIMIT_AS, &little), 0);
	for (size_t i = 0; i < 1024; i++)
		fwrite(piece, 1, sizeof(piece), m.f);
	text = memstream_close(&m, &len);
	assert_int_equal(setrlimit(RLIMIT_AS, &was), 0);
	assert_null(text);
	assert_int_equal(len, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests_name("memstream", tests, NULL, NULL);
}
