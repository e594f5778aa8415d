#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "cleanup.h"
#include "publish.h"

static void test_good(void **state)
{
	struct publish list[PUBLISH_MAX];
	size_t n = 0;

	assert_int_equal(publish_parse("22,80=8080,53=5353/udp,53/udp,9/tcp",
				       list, &n, NULL),
			 0);
	assert_int_equal(n, 5);
	assert_int_equal(list[0].guest, 22);
	assert_int_equal(list[0].host, 0);
	assert_false(list[0].udp);
	assert_int_equal(list[1].guest, 80);
	assert_int_equal(list[1].host, 8080);
	assert_int_equal(list[2].host, 5353);
	assert_true(list[2].udp);
	assert_true(list[3].udp && list[3].host == 0);
	assert_false(list[4].udp);
	/* the same number may be of both protocols */
	assert_int_equal(publish_parse("1=8080/udp", list, &n, NULL), 0);
	assert_int_equal(n, 6);
}

static void test_bad(void **state)
{
	static const struct {
		const char *text, *words;
	} rows[] = {
		{ "", "'' is not a whole number" },
		{ "0", "from 1 to 65535" },
		{ "65536", "from 1 to 65535" },
		{ "22,", "'' is not" },
		{ "22=", "'' is not" },
		{ "=22", "'' is not" },
		{ "22=80", "'80' is not a whole number from 1024" },
		{ "22/sctp", "'22/sctp': after '/' stands tcp or udp" },
		{ "22/", "after '/'" },
		{ "ssh", "'ssh' is not" },
		{ "22 ", "'22 ' is not" },
		{ "123456789", "'123456789' is no port" },
		{ "22=8022,23=8022", "port 8022 of the node is named twice" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct publish list[PUBLISH_MAX];
		struct errmsg err = { "" };
		size_t n = 0;

		assert_true(publish_parse(rows[i].text, list, &n, &err) < 0);
		if (!strstr(err.text, rows[i].words))
			fail_msg("%s: %s", rows[i].text, err.text);
	}
}

static void test_many(void **state)
{
	struct publish list[PUBLISH_MAX];
	size_t n = 0;

	for (int i = 0; i < PUBLISH_MAX; i++)
		assert_int_equal(publish_parse("22", list, &n, NULL), 0);
	assert_int_equal(publish_parse("22", list, &n, NULL), -E2BIG);
	assert_int_equal(n, PUBLISH_MAX);
}

static void test_allowed(void **state)
{
	uint16_t first, last;

	assert_int_equal(publish_allowed("no", &first, &last, NULL), 0);
	assert_int_equal(last, 0);
	assert_int_equal(publish_allowed("yes", &first, &last, NULL), 0);
	assert_int_equal(first, 1024);
	assert_int_equal(last, 65535);
	assert_int_equal(publish_allowed("40000-40999", &first, &last, NULL),
			 0);
	assert_int_equal(first, 40000);
	assert_int_equal(last, 40999);
	assert_int_equal(publish_allowed("some", &first, &last, NULL), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		{ "ports with their host ports and protocols", test_good, NULL,
		  NULL, NULL },
		{ "what is none is told of", test_bad, NULL, NULL, NULL },
		{ "there is a bound", test_many, NULL, NULL, NULL },
		{ "what a site allows", test_allowed, NULL, NULL, NULL },
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
