#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "record.h"

static struct record *open_again(int fd)
{
	struct record *r = NULL;

	assert_int_equal(record_open(dup(fd), &r, NULL), 0);
	return r;
}

static int file_with(const char *text)
{
	int fd = memfd_create("record", MFD_CLOEXEC);

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	return fd;
}

static void expect_text(const struct record *r, const char *want)
{
	size_t len;
	const char *text = record_text(r, &len);

	assert_int_equal(len, strlen(want));
	assert_memory_equal(text, want, len);
}

static void what_cannot_be_read_is_an_error(void **state)
{
	struct record *r = NULL;
	struct errmsg err;
	int fd = memfd_create("record", MFD_CLOEXEC);

	assert_int_equal(ftruncate(fd, RECORD_BYTES_MAX + 1L), 0);
	assert_int_equal(record_open(fd, &r, &err), -EFBIG);
	assert_int_equal(record_open(open("/", O_PATH), &r, &err), -EBADF);
	assert_null(r);
}

static void without_a_file_nothing_is_kept(void **state)
{
	struct record *r = NULL;
	size_t len = 1;

	assert_int_equal(record_open(-1, &r, NULL), 0);
	assert_int_equal(record_add(r, "ready 1\n", 8), 0);
	record_came(r, 3);
	assert_true(record_has_come(r, 3));
	record_text(r, &len);
	assert_int_equal(len, 0);
	record_free(r);
}

static void what_was_written_is_read(void **state)
{
	int fd = file_with("");
	struct record *r = open_again(fd);

	assert_int_equal(record_add(r, "ready 1\ndone 1\n", 15), 0);
	record_came(r, 3);
	assert_int_equal(record_add(r, "all ready\n", 10), 0);
	record_free(r);
	r = open_again(fd);
	expect_text(r, "ready 1\ndone 1\nall ready\n");
	assert_true(record_has_come(r, 3));
	assert_false(record_has_come(r, 1));
	record_free(r);
	close(fd);
}

static void helpers_that_were_here_are_awaited(void **state)
{
	int fd = file_with("came 1\ncame 2\ncame 3\nleft 2\ncame 4\n");
	struct record *r = open_again(fd);

	record_came(r, 1);
	record_came(r, 3);
	assert_int_equal(record_awaited(r), 4);
	record_left(r, 4);
	assert_int_equal(record_awaited(r), UINT32_MAX);
	assert_true(record_has_come(r, 2));
	record_free(r);
	r = open_again(fd); /* once more: those two again */
	record_left(r, record_awaited(r));
	record_left(r, record_awaited(r));
	assert_int_equal(record_awaited(r), UINT32_MAX);
	record_free(r);
	close(fd);
}

/* Its writer was killed. What follows replaces it. */
static void a_line_without_its_end_is_none(void **state)
{
	int fd = file_with("ready 1\nready 2-30");
	struct record *r = open_again(fd);

	expect_text(r, "ready 1\n");
	assert_int_equal(record_add(r, "done 1\n", 7), 0);
	record_free(r);
	r = open_again(fd);
	expect_text(r, "ready 1\ndone 1\n");
	record_free(r);
	close(fd);
}

static void lines_that_only_look_like_a_helpers_are_a_rolls(void **state)
{
	const char *text = "came\ncame x\ncame 3x\nleft -1\ncame 99999999\n"
			   "came 1234567890123456789\n\n";
	int fd = file_with(text);
	struct record *r = open_again(fd);

	expect_text(r, text); /* whose parser refuses them */
	assert_int_equal(record_awaited(r), UINT32_MAX);
	record_free(r);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_cannot_be_read_is_an_error),
		cmocka_unit_test(without_a_file_nothing_is_kept),
		cmocka_unit_test(what_was_written_is_read),
		cmocka_unit_test(helpers_that_were_here_are_awaited),
		cmocka_unit_test(a_line_without_its_end_is_none),
		cmocka_unit_test(
			lines_that_only_look_like_a_helpers_are_a_rolls),
	};

	return cmocka_run_group_tests_name("record", tests, NULL, NULL);
}
