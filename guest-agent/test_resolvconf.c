#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "cleanup.h"
#include "resolvconf.h"

static char dir[64], path[80];

static int setup(void **state)
{
	strcpy(dir, "/tmp/vmstep-resolv-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/resolv.conf", dir);
	return 0;
}

static int teardown(void **state)
{
	unlink(path);
	return rmdir(dir); /* no temporary file is left */
}

static void put(const char *text)
{
	_cleanup_fclose_ FILE *file = fopen(path, "we");

	assert_non_null(file);
	fputs(text, file);
}

static void set_and_check(const char *domain, const char *want)
{
	_cleanup_fclose_ FILE *file = NULL;
	struct errmsg err = { "" };
	char text[1024] = "";

	assert_int_equal(resolvconf_set(path, "10.255.255.254", domain, &err),
			 0);
	file = fopen(path, "re");
	assert_non_null(file);
	assert_true(fread(text, 1, sizeof(text) - 1, file) > 0);
	assert_string_equal(text, want);
}

#define OURS                          \
	"# vmstep begin\n"            \
	"search cluster.example\n"    \
	"nameserver 10.255.255.254\n" \
	"# vmstep end\n"

static void a_guest_without_one_gets_it(void **state)
{
	set_and_check("cluster.example", OURS);
	set_and_check("cluster.example", OURS); /* once */
	unlink(path);
	set_and_check("", "# vmstep begin\n"
			  "nameserver 10.255.255.254\n"
			  "# vmstep end\n");
}

static void a_file_without_a_server_is_added_to(void **state)
{
	put("options edns0\n");
	set_and_check("cluster.example", "options edns0\n" OURS);
}

static void a_server_of_its_own_stays(void **state)
{
	put("# us\n nameserver\t192.0.2.1\n");
	set_and_check("cluster.example", "# us\n nameserver\t192.0.2.1\n");
}

/* systemd-resolved's, which may not be there yet. */
static void a_link_is_somebody_elses(void **state)
{
	struct errmsg err = { "" };

	assert_int_equal(symlink("../run/nowhere/stub.conf", path), 0);
	assert_int_equal(resolvconf_set(path, "10.255.255.254", "", &err), 0);
	assert_int_equal(access(path, F_OK), -1);
}

static void what_cannot_be_written_is_told(void **state)
{
	struct errmsg err = { "" };

	assert_true(resolvconf_set("/proc/nowhere/resolv.conf", "192.0.2.1", "",
				   &err) < 0);
	assert_non_null(strstr(err.text, "/proc/nowhere/resolv.conf"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_guest_without_one_gets_it),
		TEST(a_file_without_a_server_is_added_to),
		TEST(a_server_of_its_own_stays),
		TEST(a_link_is_somebody_elses),
		TEST(what_cannot_be_written_is_told),
	};

	return cmocka_run_group_tests_name("resolvconf", tests, NULL, NULL);
}
