#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "pcapfile.h"

static char path[] = "/tmp/test_pcapfile.XXXXXX";

static int make_file(void **state)
{
	int fd = mkstemp(path);

	return fd < 0 || close(fd);
}

static int remove_file(void **state)
{
	return unlink(path);
}

static void what_goes_into_the_pipe_is_in_the_file(void **state)
{
	static char sent[300000], got[sizeof(sent) + 1];
	struct pcapfile *p;
	int fd;
	FILE *f;

	for (size_t i = 0; i < sizeof(sent); i++)
		sent[i] = (char)(i * 31 + i / 256);
	assert_int_equal(pcapfile_new(path, &fd, &p, NULL), 0);
	for (size_t at = 0; at < sizeof(sent);) {
		ssize_t n = write(fd, sent + at, sizeof(sent) - at);

		assert_true(n > 0);
		at += (size_t)n;
	}
	close(fd);
	assert_int_equal(pcapfile_free(p, NULL), 0);
	f = fopen(path, "r");
	assert_non_null(f);
	assert_int_equal(fread(got, 1, sizeof(got), f), sizeof(sent));
	assert_memory_equal(got, sent, sizeof(sent));
	fclose(f);
}

static void a_file_that_cannot_be_made_is_refused(void **state)
{
	struct pcapfile *p;
	struct errmsg err;
	int fd;

	assert_int_equal(pcapfile_new("/nowhere/x", &fd, &p, &err), -ENOENT);
	assert_non_null(strstr(err.text, "--vm-capture=/nowhere/x"));
}

static void a_full_disk_stops_nobody_and_is_told(void **state)
{
	static const char data[100000];
	struct pcapfile *p;
	struct errmsg err;
	int fd;

	assert_int_equal(pcapfile_new("/dev/full", &fd, &p, NULL), 0);
	for (int i = 0; i < 20; i++)
		assert_int_equal(write(fd, data, sizeof(data)), sizeof(data));
	close(fd);
	assert_int_equal(pcapfile_free(p, &err), -ENOSPC);
	assert_non_null(strstr(err.text, "cut short"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_goes_into_the_pipe_is_in_the_file),
		cmocka_unit_test(a_file_that_cannot_be_made_is_refused),
		cmocka_unit_test(a_full_disk_stops_nobody_and_is_told),
	};

	return cmocka_run_group_tests_name("pcapfile", tests, make_file,
					   remove_file);
}
