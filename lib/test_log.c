#include <config.h>

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "log.h"

/* What has been written to @fd, which is emptied. */
static const char *written(int fd, char *buf, size_t size)
{
	ssize_t n = pread(fd, buf, size - 1, 0);

	assert_true(n >= 0);
	buf[n] = '\0';
	assert_int_equal(ftruncate(fd, 0), 0);
	lseek(fd, 0, SEEK_SET);
	return buf;
}

static void test_one_line(void **state)
{
	int fd = memfd_create("log", MFD_CLOEXEC);
	int file = memfd_create("file", MFD_CLOEXEC);
	char buf[4096];

	log_setup("vm[0]@n1", fd, LOG_LEVEL_INFO);
	log_to_file(file, LOG_LEVEL_DEBUG);
	log_err("%s", "\x1b[2J\xc2\x9bH gone\r\nvmstep: vm[1]@n1: forged");
	assert_string_equal(
		written(fd, buf, sizeof(buf)),
		"vmstep: vm[0]@n1: error: \\x1b[2J\\xc2\\x9bH gone\\x0d\\x0avmstep: vm[1]@n1: forged\n");
	written(file, buf, sizeof(buf));
	assert_null(strchr(buf, '\x1b'));
	assert_ptr_equal(strchr(buf, '\n'), buf + strlen(buf) - 1);

	log_info("a newline at the end is none in the middle\n");
	assert_string_equal(
		written(fd, buf, sizeof(buf)),
		"vmstep: vm[0]@n1: a newline at the end is none in the middle\n");
	log_to_file(-1, LOG_LEVEL_ERR);
	close(fd);
	close(file);
}

static void test_long_line(void **state)
{
	int fd = memfd_create("log", MFD_CLOEXEC);
	char text[8192], buf[8192];

	log_setup("", fd, LOG_LEVEL_INFO);
	memset(text, 0x1b, sizeof(text));
	text[sizeof(text) - 1] = '\0';
	log_err("%s", text);
	written(fd, buf, sizeof(buf));
	assert_true(strlen(buf) < 2048);
	assert_string_equal(buf + strlen(buf) - 5, "\\x1b\n");
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_line),
		cmocka_unit_test(test_long_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
