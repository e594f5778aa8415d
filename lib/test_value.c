#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "value.h"

static void test_bad_sizes(void **state)
{
	static const char *const bad[] = {
		"",
		" ",
		"0",
		"0G",
		"-1",
		"+1",
		" 1",
		"1 ",
		"G",
		"1X",
		"1GG",
		"1Gi",
		"1.5G",
		"0x10",
		"1G ",
		"4611686018427387904",
		"18446744073709551616",
		"99999999999999999999999T",
		"4194305T",
		"1\n",
		"1B",
		"%",
		"50%",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct errmsg err = { "" };
		uint64_t bytes = 7;

		if (value_size(bad[i], &bytes, &err) != -EINVAL)
			fail_msg("'%s' is taken for a size", bad[i]);
		assert_int_equal(bytes, 7);
		assert_non_null(strstr(err.text, "is not a size"));
	}
}

static void test_sizes(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
		{ "1", 1ull << 20 },
		{ "4096", 4ull << 30 },
		{ "1K", 1024 },
		{ "512M", 512ull << 20 },
		{ "4g", 4ull << 30 },
		{ "4GB", 4ull << 30 },
		{ "1t", 1ull << 40 },
		{ "007M", 7ull << 20 },
		{ "4194304T", 1ull << 62 },
	};

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		uint64_t bytes = 0;

		assert_int_equal(value_size(good[i].text, &bytes, NULL), 0);
		assert_true(bytes == good[i].bytes);
	}
}

static void test_shares(void **state)
{
	static const char *const bad[] = { "%",	   "0%",   "101%", "-5%",
					   "50%%", "5 %",  "50% ", "%50",
					   "1G%",  "1.5%", "50%G" };
	uint64_t bytes = 7;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (value_size_pct(bad[i], 1000, &bytes, NULL) != -EINVAL)
			fail_msg("'%s' is taken for a share", bad[i]);
	assert_int_equal(bytes, 7);
	assert_int_equal(value_size_pct("80%", 1000, &bytes, NULL), 0);
	assert_int_equal(bytes, 800);
	assert_int_equal(value_size_pct("100%", UINT64_MAX, &bytes, NULL), 0);
	assert_true(bytes == UINT64_MAX);
	assert_int_equal(value_size_pct("2G", 1000, &bytes, NULL), 0);
	assert_true(bytes == 2ull << 30);
}

static void test_uint(void **state)
{
	static const char *const bad[] = {
		"",   "-1",  "+5", " 5", "5 ",	"x",
		"5x", "0x5", "4",  "11", "1e1", "99999999999999999999"
	};
	struct errmsg err;
	unsigned long n = 7;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (value_uint(bad[i], 5, 10, &n, &err) != -EINVAL)
			fail_msg("'%s' is taken for 5 to 10", bad[i]);
	assert_string_equal(
		err.text,
		"'99999999999999999999' is not a whole number from 5 to 10");
	assert_int_equal(n, 7);
	assert_int_equal(value_uint("5", 5, 10, &n, NULL), 0);
	assert_int_equal(n, 5);
	assert_int_equal(value_uint("0010", 5, 10, &n, NULL), 0);
	assert_int_equal(n, 10);
}

static void test_bool(void **state)
{
	static const char *const yes[] = { "1", "yes", "TRUE", "On" };
	static const char *const no[] = { "0", "No", "false", "OFF" };
	bool b = true;

	assert_int_equal(value_bool("", &b, NULL), -EINVAL);
	assert_int_equal(value_bool("y", &b, NULL), -EINVAL);
	assert_int_equal(value_bool("yes ", &b, NULL), -EINVAL);
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(value_bool(no[i], &b, NULL), 0);
		assert_false(b);
		assert_int_equal(value_bool(yes[i], &b, NULL), 0);
		assert_true(b);
	}
}

static void test_word(void **state)
{
	static const char *const words[] = { "auto", "kvm", "tcg", NULL };
	struct errmsg err;
	int i = 7;

	assert_int_equal(value_word("xen", words, &i, &err), -EINVAL);
	assert_string_equal(err.text, "'xen' is none of auto, kvm, tcg");
	assert_int_equal(value_word("", words, &i, NULL), -EINVAL);
	assert_int_equal(value_word("KVM", words, &i, NULL), -EINVAL);
	assert_int_equal(value_word("kv", words, &i, NULL), -EINVAL);
	assert_int_equal(i, 7);
	assert_int_equal(value_word("tcg", words, &i, NULL), 0);
	assert_int_equal(i, 2);
}

static void test_many_words(void **state)
{
	const char *words[101];
	struct errmsg err;
	int i;

	for (i = 0; i < 100; i++)
		words[i] = "word-of-some-length";
	words[100] = NULL;
	assert_int_equal(value_word("x", words, &i, &err), -EINVAL);
	assert_non_null(strstr(err.text, "'x' is none of word-of"));
}

static void test_hostname(void **state)
{
	static const char *const bad[] = {
		"",	".",   "a.",  ".a",  "a..b", "-a",	 "a-",	"a.-b",
		"a-.b", "a_b", "a b", "a,b", "a\n",  "\xc3\xa4", "a/b",
	};
	static const char *const good[] = {
		"a", "vm0", "0", "a-b", "a--b", "a.b.c", "VM-3.example.org"
	};
	char name[300];

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (value_hostname(bad[i], NULL) != -EINVAL)
			fail_msg("'%s' is taken for a host name", bad[i]);
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		assert_int_equal(value_hostname(good[i], NULL), 0);
	memset(name, 'x', sizeof(name));
	name[64] = '\0';
	assert_int_equal(value_hostname(name, NULL), -EINVAL);
	name[63] = '\0';
	assert_int_equal(value_hostname(name, NULL), 0);
	for (int i = 0; i < 255; i++)
		name[i] = i % 64 == 63 ? '.' : 'x';
	name[254] = '\0';
	assert_int_equal(value_hostname(name, NULL), -EINVAL);
	name[253] = '\0';
	assert_int_equal(value_hostname(name, NULL), 0);
}

static void test_size_text(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} texts[] = {
		{ 0, "0K" },
		{ 1024, "1K" },
		{ 1536, "1.5K" },
		{ 640ull << 20, "640M" },
		{ 1536ull << 20, "1.5G" },
		{ 4ull << 30, "4G" },
		{ 1ull << 62, "4E" },
		{ UINT64_MAX, "16E" },
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		char text[16];

		value_size_text(texts[i].bytes, text);
		assert_string_equal(text, texts[i].text);
	}
}

static void test_ports(void **state)
{
	static const char *const bad[] = { "",
					   "1",
					   "-",
					   "1-",
					   "-5",
					   "0-5",
					   "9-8",
					   "1-65536",
					   "a-b",
					   "1-2-3",
					   "1 - 2",
					   "1-2 ",
					   "99999-99999999999999999999" };
	uint16_t first = 7, last = 7;
	struct errmsg err;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(value_ports(bad[i], &first, &last, &err),
				 -EINVAL);
		assert_non_null(strstr(err.text, "range of ports"));
	}
	assert_int_equal(first, 7);
	assert_int_equal(last, 7);
	assert_int_equal(value_ports("1-65535", &first, &last, NULL), 0);
	assert_int_equal(first, 1);
	assert_int_equal(last, 65535);
	assert_int_equal(value_ports("5-5", &first, &last, NULL), 0);
	assert_int_equal(first, 5);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		{ "what is no size is refused, the output untouched",
		  test_bad_sizes, NULL, NULL, NULL },
		{ "sizes: a plain number is MiB, as in Slurm", test_sizes, NULL,
		  NULL, NULL },
		{ "shares: from 1% to 100%, without overflow", test_shares,
		  NULL, NULL, NULL },
		{ "numbers: digits only, within bounds", test_uint, NULL, NULL,
		  NULL },
		{ "ports: a range, first to last", test_ports, NULL, NULL,
		  NULL },
		{ "yes and no in four spellings each", test_bool, NULL, NULL,
		  NULL },
		{ "words: one of the list, which the error names", test_word,
		  NULL, NULL, NULL },
		{ "a list too long for the message is cut", test_many_words,
		  NULL, NULL, NULL },
		{ "host names as in RFC 1123", test_hostname, NULL, NULL,
		  NULL },
		{ "sizes for people", test_size_text, NULL, NULL, NULL },
	};

	return cmocka_run_group_tests_name("value", tests, NULL, NULL);
}
