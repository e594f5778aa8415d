#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "plain.h"

static void test_lines(void **state)
{
	static const struct {
		const char *text, *want;
	} rows[] = {
		{ "", "" },
		{ "words\tof a guest", "words\tof a guest" },
		{ "\x1b[2J\a", "\\x1b[2J\\x07" },
		{ "one\r\ntwo\x7f", "one\\x0d\\x0atwo\\x7f" },
		{ "\x9b"
		  "31m",
		  "\\x9b31m" },			/* a C1 byte */
		{ "\xc2\x9b!", "\\xc2\\x9b!" }, /* the same in UTF-8 */
		{ "\xc3\x9c.", "\xc3\x9c." },	/* 9c is a part of it */
		{ "\xe2\x80\x94", "\xe2\x80\x94" },
		{ "\xf0\x9f\x90\xa7", "\xf0\x9f\x90\xa7" },
		{ "\xc3", "\xc3" },	     /* Latin-1's */
		{ "\xc1\x9b", "\xc1\\x9b" }, /* longer than need be */
		{ "\xe0\x82\x9b", "\xe0\\x82\\x9b" },
		{ "\xed\xa0\x80", "\xed\xa0\\x80" }, /* a surrogate */
		{ "\xf4\x90\x80\x80", "\xf4\\x90\\x80\\x80" },
		{ "\xe2\x80", "\xe2\\x80" }, /* cut short */
	};
	char out[64];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t n = plain_line(rows[i].text, out, sizeof(out));

		assert_string_equal(out, rows[i].want);
		assert_int_equal(n, strlen(rows[i].want));
	}
}

static void test_cut(void **state)
{
	static const struct {
		const char *text;
		size_t size;
		const char *want;
	} rows[] = {
		{ "abc", 1, "" },
		{ "abc", 3, "ab" },
		{ "abc", 4, "abc" },
		{ "a\x1b"
		  "c",
		  5, "a" },
		{ "a\x1b"
		  "c",
		  6, "a\\x1b" },
		{ "a\xc3\xa4", 3, "a" },
		{ "a\xc3\xa4", 4, "a\xc3\xa4" },
	};
	char out[16];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		memset(out, '?', sizeof(out));
		plain_line(rows[i].text, out, rows[i].size);
		assert_string_equal(out, rows[i].want);
		assert_int_equal(out[rows[i].size], '?');
	}
}

static void test_all_of_it(void **state)
{
	static const char text[] = "a\x1b]0;x\a\n\xc2\x9b\0\xc3\xa4";
	char *out = NULL;
	size_t size;
	FILE *f = open_memstream(&out, &size);

	plain_write(f, text, sizeof(text) - 1, true);
	fputc('|', f);
	plain_write(f, "\n", 1, false);
	fclose(f);
	assert_string_equal(out,
			    "a\\x1b]0;x\\x07\n\\xc2\\x9b\\x00\xc3\xa4|\\x0a");
	free(out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_all_of_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
