#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "cleanup.h"
#include "options.h"

static struct options o;
static struct errmsg err;

static int parse_all(const char *const *argv, int argc)
{
	int r = options_parse(&o, argc, (char **)(uintptr_t)argv, &err);

	options_done(&o);
	return r;
}

/* @a and @b after what is needed; NULL: none. */
static int parse(const char *a, const char *b)
{
	const char *const argv[] = { "vmstep-net",
				     "--ctl=3",
				     "--ranks=0,2-3",
				     "--nranks=4",
				     "--node=n",
				     a,
				     b };

	return parse_all(argv, 5 + (a != NULL) + (b != NULL));
}

static void what_does_not_parse_is_named(void **state)
{
	static const char *const bad[] = {
		"--ctl=2",
		"--ctl=",
		"--ctl=-1",
		"--ctl=3x",
		"--lock=1",
		"--link=x",
		"--net=10.0.0.1/8",
		"--net=10.0.0.0/33",
		"--mtu=67",
		"--mtu=65522",
		"--mtu=9999999999999999",
		"--ranks=x",
		"--ranks=",
		"--nranks=0",
		"--nranks=99999999",
		"--node=",
		"--hostname=",
		"--hostname=vm", /* for four of them */
		"--hostname=vm%t-%n",
		"--hostname=-vm%t",
		"--domain=",
		"--domain=a..b",
		"--bind=",
		"--lost-after=0",
		"--lost-after=1000001",
		"--idle-after=0",
		"--grace=1s",
		"--settle=200msx",
		"--settle=ms",
		"--workers=0",
		"--workers=17",
		"--kind=udp",
		"--kind=",
		"--port-range=1",
		"--port-range=0-5",
		"--port-range=9-8",
		"--port-range=1-65536",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		size_t name = strcspn(bad[i], "=");

		assert_int_equal(parse(bad[i], NULL), -EINVAL);
		assert_memory_equal(err.text, bad[i], name);
	}
}

static void unknown_options_are_refused(void **state)
{
	static const char *const bad[] = { "--mtux=1",	  "--mt=1",
					   "--verbose=1", "--encrypt=1",
					   "--mtu",	  "x",
					   "-v",	  "" };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(parse(bad[i], NULL), -EINVAL);
		assert_non_null(strstr(err.text, "is not an option"));
	}
}

static void what_does_not_fit_together_is_refused(void **state)
{
	static const char *const none[] = { "vmstep-net" };

	assert_int_equal(parse_all(none, 1), -EINVAL);
	assert_int_equal(parse("--ranks=0-4", NULL), -EINVAL);
	assert_int_equal(parse("--ranks=1-", NULL), -EINVAL);
	assert_int_equal(parse("--net=10.0.0.0/30", NULL), -EINVAL);
	assert_non_null(strstr(err.text, "larger network"));
}

static void the_rest_is_taken(void **state)
{
	assert_int_equal(parse(NULL, NULL), 0);
	assert_int_equal(o.ctl_fd, 3);
	assert_int_equal(o.mtu, 9000);
	assert_int_equal(o.net.prefix, 8);
	assert_int_equal(o.ports.last, 0);
	assert_false(o.verbose || o.encrypt);
	assert_int_equal(parse("--mtu=65521", "--port-range=5-5"), 0);
	assert_int_equal(o.mtu, 65521);
	assert_int_equal(o.ports.first, 5);
	assert_int_equal(o.lost_after_ms, 30000);
	assert_int_equal(parse("--lost-after=7", "--idle-after=250ms"), 0);
	assert_int_equal(o.lost_after_ms, 7000);
	assert_int_equal(o.idle_after_ms, 250);
	assert_int_equal(parse("--verbose", "--bind=::1"), 0);
	assert_true(o.verbose);
	assert_string_equal(o.bind, "::1");
	assert_int_equal(o.kind, LINK_AUTO);
	assert_int_equal(parse("--encrypt", "--kind=ucx"), 0);
	assert_int_equal(o.kind, LINK_UCX);
	assert_true(o.encrypt);
}

static void names_are_taken_and_have_to_fit(void **state)
{
	char domain[300] = "--domain=";

	assert_int_equal(parse(NULL, NULL), 0);
	assert_string_equal(o.names.pattern, "vm%t");
	assert_null(o.names.domain);
	assert_int_equal(parse("--hostname=n%t-x", "--domain=a.example"), 0);
	assert_string_equal(o.names.pattern, "n%t-x");
	assert_string_equal(o.names.domain, "a.example");
	while (strlen(domain) < 9 + 249)
		strcat(domain, "d.");
	domain[9 + 249] = '\0';
	assert_int_equal(parse("--hostname=vm%t", domain), 0);
	assert_int_equal(parse("--hostname=vmm%t", domain), -EINVAL);
	assert_non_null(strstr(err.text, "take shorter ones"));
}

static void a_person_may_ask_what_it_is(void **state)
{
	const char *const help[] = { "vmstep-net", "--help" };
	const char *const version[] = { "vmstep-net", "--version" };
	const char *const odd[] = { "vmstep-net", "--help=me" };

	assert_int_equal(parse_all(odd, 2), -EINVAL);
	assert_int_equal(parse_all(help, 2), 0);
	assert_true(o.help);
	assert_int_equal(parse_all(version, 2), 0);
	assert_true(o.version);
	assert_int_equal(parse(NULL, NULL), 0);
	assert_false(o.help || o.version);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_does_not_parse_is_named),
		cmocka_unit_test(unknown_options_are_refused),
		cmocka_unit_test(what_does_not_fit_together_is_refused),
		cmocka_unit_test(the_rest_is_taken),
		cmocka_unit_test(names_are_taken_and_have_to_fit),
		cmocka_unit_test(a_person_may_ask_what_it_is),
	};

	return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
