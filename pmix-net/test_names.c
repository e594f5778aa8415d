#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "cleanup.h"
#include "names.h"
#include "rankset.h"

#define NOBODY UINT32_MAX

/* The rank that is called @text in memory of its own size. */
static uint32_t rank_of(const char *pattern, const char *text)
{
	const struct names names = { pattern, NULL };
	size_t len = strlen(text);
	char *copy = malloc(len ? len : 1);
	uint32_t rank = NOBODY;

	assert_non_null(copy);
	memcpy(copy, text, len);
	if (!names_rank(&names, copy, len, &rank))
		assert_int_equal(rank, NOBODY);
	free(copy);
	return rank;
}

static void what_is_no_name_is_nobodys(void **state)
{
	static const char *const bad[] = {
		"",
		"vm",
		"v",
		"vm01",
		"vm00",
		"vm-1",
		"vm+1",
		"vm1x",
		"vm 1",
		"xvm1",
		"1",
		"vm1.d",
		"vm0x1",
		"vm16777213",
		"vm99999999",
		"vm4294967296",
		"vm18446744073709551616",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (rank_of("vm%t", bad[i]) != NOBODY)
			fail_msg("'%s' is somebody's", bad[i]);
	assert_int_equal(rank_of("a%tb%t", "a1b2"), NOBODY);
	assert_int_equal(rank_of("a%tb%t", "a1b11"), NOBODY);
	assert_int_equal(rank_of("one", "one0"), NOBODY);
	assert_int_equal(rank_of("", ""), NOBODY);
	assert_int_equal(rank_of(NULL, "vm0"), NOBODY);
}

static void ranks_follow_from_names(void **state)
{
	assert_int_equal(rank_of("vm%t", "vm0"), 0);
	assert_int_equal(rank_of("vm%t", "VM120"), 120);
	assert_int_equal(rank_of("vm%t", "vm16777212"), RANK_MAX);
	assert_int_equal(rank_of("%t", "7"), 7);
	assert_int_equal(rank_of("vm%t0", "vm50"), 5);
	assert_int_equal(rank_of("12-%t-0.rack", "12-34-0.Rack"), 34);
	assert_int_equal(rank_of("%t%t", "1212"), 12);
	assert_int_equal(rank_of("a%tb%t", "a10b10"), 10);
	assert_int_equal(rank_of("one", "ONE"), 0);
}

static void names_follow_from_ranks(void **state)
{
	struct names names = { "n%t-%t", "a.example" };
	char text[NAMES_MAX + 1];

	assert_int_equal(names_host(&names, 12, text), 6);
	assert_string_equal(text, "n12-12");
	assert_int_equal(names_full(&names, 0, text), 14);
	assert_string_equal(text, "n0-0.a.example");
	names.domain = "";
	assert_int_equal(names_full(&names, 0, text), 4);
	names.pattern = NULL;
	assert_int_equal(names_full(&names, 0, text), 0);
	assert_int_equal(names_host(&names, 0, text), 0);
}

static bool in_domain(const char *domain, const char *text, size_t *host)
{
	const struct names names = { "vm%t", domain };

	*host = 99;
	return names_in_domain(&names, text, strlen(text), host);
}

static void a_domain_ends_at_a_dot(void **state)
{
	size_t host;

	assert_false(in_domain("", "vm0", &host));
	assert_false(in_domain(NULL, "vm0", &host));
	assert_false(in_domain("b.c", "c", &host));
	assert_false(in_domain("b.c", "vm0.a.c", &host));
	assert_false(in_domain("b.c", "vm0.xb.c", &host));
	assert_false(in_domain("b.c", "vm0.b.c.d", &host));
	assert_int_equal(host, 99);
	assert_true(in_domain("b.c", "B.C", &host));
	assert_int_equal(host, 0);
	assert_true(in_domain("b.c", "vm0.x.b.C", &host));
	assert_int_equal(host, 5);
}

static void names_that_cannot_be_are_refused(void **state)
{
	char pattern[300] = "", domain[300] = "";
	struct names names = { pattern, domain };
	struct errmsg err;

	assert_int_equal(names_check(&names, 5, NULL), 0); /* no names */
	strcpy(pattern, "one");
	assert_int_equal(names_check(&names, 1, NULL), 0);
	assert_int_equal(names_check(&names, 2, &err), -EINVAL);
	assert_non_null(strstr(err.text, "put %t into it"));
	strcpy(pattern, "a_%t");
	assert_int_equal(names_check(&names, 1, &err), -EINVAL);
	memset(pattern, 'a', 62);
	strcpy(pattern + 62, "%t");
	assert_int_equal(names_check(&names, 10, NULL), 0);
	assert_int_equal(names_check(&names, 11, NULL), -EINVAL);
	for (int i = 0; i < 95; i++)
		strcat(domain, "d.");
	strcpy(domain + 189, "");
	assert_int_equal(names_check(&names, 10, NULL), 0);
	strcat(domain, "d");
	assert_int_equal(names_check(&names, 10, &err), -EINVAL);
	assert_non_null(strstr(err.text, "take shorter ones"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_no_name_is_nobodys),
		cmocka_unit_test(ranks_follow_from_names),
		cmocka_unit_test(names_follow_from_ranks),
		cmocka_unit_test(a_domain_ends_at_a_dot),
		cmocka_unit_test(names_that_cannot_be_are_refused),
	};

	return cmocka_run_group_tests_name("names", tests, NULL, NULL);
}
