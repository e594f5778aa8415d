#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "allow.h"
#include "cleanup.h"

/* root and its group are on any host. */
static int allowed(const char *users, const char *groups, const char *user,
		   struct errmsg *err)
{
	_cleanup_free_ char *u = strdup(users), *g = strdup(groups);
	const struct site s = { .allow_users = u, .allow_groups = g };

	return allow_user(&s, user, 0, err);
}

static void test_refused(void **state)
{
	struct errmsg err;

	assert_int_equal(allowed("daemon", "", "root", &err), -EPERM);
	assert_string_equal(
		err.text,
		"user root may not run VMs here: the site's allow_users and allow_groups do not name them");
	assert_int_equal(allowed("roo, roots,oot", "", "root", NULL), -EPERM);
	assert_int_equal(allowed("", "daemon", "root", NULL), -EPERM);
	assert_int_equal(allowed(",", "", "root", NULL), -EPERM);
	assert_int_equal(allowed("root", "root", NULL, &err), -EPERM);
	assert_non_null(strstr(err.text, "user (unknown)"));
}

static void test_unknown(void **state)
{
	char users[] = "root, nosuchuser", groups[] = "nosuchgroup root";
	const struct site s = { .allow_users = users, .allow_groups = groups };
	struct errmsg err;

	assert_true(allow_names_unknown(&s, &err));
	assert_string_equal(
		err.text,
		"allow_users: 'nosuchuser' is not known on this host, allow_groups: 'nosuchgroup' is not known on this host");
	assert_int_equal(allowed("nosuchuser", "", "root", &err), -EPERM);
	assert_non_null(strstr(
		err.text,
		"do not name them; allow_users: 'nosuchuser' is not known"));
}

static void test_many_unknown(void **state)
{
	char users[3 * 100 + 1] = "", none[] = "";
	const struct site s = { .allow_users = users, .allow_groups = none };
	struct errmsg err;

	for (size_t i = 0; i < 100; i++)
		memcpy(users + 3 * i, "?x,", 4);
	assert_true(allow_names_unknown(&s, &err));
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
}

static void test_allowed(void **state)
{
	char root[] = "root", none[] = "";
	const struct site s = { .allow_users = root, .allow_groups = none };
	struct errmsg err;

	assert_int_equal(allowed("", "", "root", NULL), 0);
	assert_int_equal(allowed("", "", NULL, NULL), 0);
	assert_int_equal(allowed("a ,root", "b", "root", NULL), 0);
	assert_int_equal(allowed("", "a, root", "root", NULL), 0);
	assert_int_equal(allowed("a", "root", "root", NULL), 0);
	assert_false(allow_names_unknown(&s, &err));
}

static int asks(const struct site *s, enum option_id id, const char *value,
		struct errmsg *err)
{
	struct optset set = { 0 };
	int r = optset_add(&set, id, value, "--vm", NULL);

	assert_int_equal(r, 0);
	r = allow_options(s, &set, err);
	optset_done(&set);
	return r;
}

static void test_options(void **state)
{
	static char no[] = "no", yes[] = "yes", range[] = "40000-40999";
	const struct site never = { .allow_publish = no };
	const struct site ever = { .allow_publish = yes,
				   .allow_outbound = true,
				   .allow_qemu_args = true };
	const struct site some = { .allow_publish = range };
	const struct {
		enum option_id id;
		const char *value, *key;
	} rows[] = {
		{ OPT_OUTBOUND, "user", "allow_outbound" },
		{ OPT_TFTP, "/srv", "allow_outbound" },
		{ OPT_PUBLISH, "22", "allow_publish" },
		{ OPT_QEMU, "/opt/qemu", "allow_qemu_args" },
	};
	struct errmsg err;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(asks(&never, rows[i].id, rows[i].value, &err),
				 -EPERM);
		assert_non_null(strstr(err.text, rows[i].key));
		assert_non_null(strstr(err.text, rows[i].value));
		assert_int_equal(asks(&ever, rows[i].id, rows[i].value, &err),
				 0);
	}
	assert_int_equal(asks(&some, OPT_PUBLISH, "22", &err), 0);
	assert_int_equal(asks(&never, OPT_OUTBOUND, "none", &err), 0);
	assert_int_equal(asks(&never, OPT_CPUS, "1", &err), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		{ "who is not named is refused", test_refused, NULL, NULL,
		  NULL },
		{ "a name that nobody has is said", test_unknown, NULL, NULL,
		  NULL },
		{ "many of them are cut", test_many_unknown, NULL, NULL, NULL },
		{ "options are allowed by the site or not", test_options, NULL,
		  NULL, NULL },
		{ "who is named may, by either list", test_allowed, NULL, NULL,
		  NULL },
	};

	return cmocka_run_group_tests_name("allow", tests, NULL, NULL);
}
