#include <config.h>

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "fam.h"

static char dir[] = "/tmp/test_fam.XXXXXX";

static void write_text(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static void make_device(const char *name, const char *vendor,
			const char *device)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/%s/vendor", dir, name);
	write_text(path, vendor);
	snprintf(path, sizeof(path), "%s/%s/device", dir, name);
	write_text(path, device);
	snprintf(path, sizeof(path), "%s/%s/resource2", dir, name);
	write_text(path, "");
	assert_int_equal(chmod(path, 0600), 0);
}

static void test_link(void **state)
{
	char link[PATH_MAX], to[PATH_MAX], want[PATH_MAX];
	struct stat st;
	ssize_t n;

	snprintf(link, sizeof(link), "%s/link", dir);
	assert_int_equal(fam_link("/nowhere", link), 0);
	make_device("0000:00:03.0", "0x1af4\n", "0x1000\n");
	make_device("0000:00:05.0", "0x8086\n", "0x1110\n");
	assert_int_equal(fam_link(dir, link), 0);
	assert_int_equal(access(link, F_OK), -1);
	make_device("0000:00:04.0", "0x1af4\n", "0x1110\n");
	for (int i = 0; i < 2; i++) { /* also when it is there already */
		assert_int_equal(fam_link(dir, link), 1);
		n = readlink(link, to, sizeof(to) - 1);
		assert_true(n > 0);
		to[n] = '\0';
		snprintf(want, sizeof(want), "%s/0000:00:04.0/resource2", dir);
		assert_string_equal(to, want);
		assert_int_equal(stat(link, &st), 0);
		assert_int_equal(st.st_mode & 0777, 0666);
	}
}

static int make_dir(void **state)
{
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	char command[sizeof(dir) + 16];

	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_link),
	};

	return cmocka_run_group_tests_name("fam", tests, make_dir, remove_dir);
}
