#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "outfile.h"

static char dir[] = "/tmp/test_outfile.XXXXXX";

static int make_dir(void **state)
{
	return !mkdtemp(dir) || chdir(dir) < 0;
}

static int remove_dir(void **state)
{
	unlink("fifo");
	unlink("file");
	return rmdir(dir);
}

static void test_refused(void **state)
{
	struct errmsg err;

	assert_int_equal(outfile_open("--vm-log", "no/file", O_APPEND, &err),
			 -ENOENT);
	assert_string_equal(err.text,
			    "--vm-log=no/file: No such file or directory");
	assert_int_equal(outfile_open("--vm-log", ".", O_APPEND, &err),
			 -EISDIR);
	assert_int_equal(mkfifo("fifo", 0600), 0);
	alarm(10); /* what waits for a reader fails */
	assert_int_equal(outfile_open("--vm-console", "fifo", O_TRUNC, &err),
			 -ENXIO);
	assert_non_null(strstr(err.text,
			       "--vm-console=fifo: nobody reads this FIFO; "));
	alarm(0);
}

static void test_fifo(void **state)
{
	int reader = open("fifo", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	int fd = outfile_open("--vm-log", "fifo", O_APPEND, NULL);
	static char buf[4096];

	assert_true(reader >= 0 && fd >= 0);
	alarm(10);
	while (write(fd, buf, sizeof(buf)) > 0)
		;
	assert_int_equal(errno, EAGAIN); /* full, and it did not wait */
	alarm(0);
	close(fd);
	close(reader);
}

static void test_file(void **state)
{
	int fd = outfile_open("--vm-log", "file", O_APPEND, NULL);
	struct stat st;

	assert_int_equal(write(fd, "one", 3), 3);
	close(fd);
	fd = outfile_open("--vm-log", "file", O_APPEND, NULL);
	assert_int_equal(write(fd, "two", 3), 3);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 6);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		{ "what cannot be written is refused, a FIFO without a reader, too",
		  test_refused, NULL, NULL, NULL },
		{ "a FIFO that is read does not block", test_fifo, NULL, NULL,
		  NULL },
		{ "a file is made, and made longer", test_file, NULL, NULL,
		  NULL },
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
