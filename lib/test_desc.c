#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "cleanup.h"
#include "desc.h"

static int file_of(const void *bytes, size_t len)
{
	int fd = memfd_create("desc", MFD_CLOEXEC);

	assert_int_equal(write(fd, bytes, len), (ssize_t)len);
	return fd;
}

static void refused(int fd, int code)
{
	struct desc *d = NULL;
	struct errmsg err;

	assert_int_equal(desc_read(fd, &d, &err), code);
	assert_null(d);
	assert_non_null(strstr(err.text, "description of the VM"));
	if (fd >= 0)
		close(fd);
}

static void test_bad_files(void **state)
{
	int fd = memfd_create("desc", MFD_CLOEXEC), p[2];

	refused(-1, -EBADF);
	refused(file_of("", 0), -EINVAL);
	refused(file_of("a=b", 3), -EINVAL); /* cut short */
	assert_int_equal(ftruncate(fd, DESC_MAX_BYTES + 1), 0);
	refused(fd, -EINVAL);
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	refused(p[0], -EINVAL);
	close(p[1]);
	refused(open("/", O_RDONLY | O_CLOEXEC), -EISDIR);
}

static void test_odd_records(void **state)
{
	static const char bytes[] = "no sign\0=empty key\0\0a=\0b=1=2\0c";
	_cleanup_close_ int fd = file_of(bytes, sizeof(bytes));
	struct desc *d = NULL;
	const char *key;
	size_t len;

	assert_int_equal(desc_read(fd, &d, NULL), 0);
	assert_null(desc_get(d, "no sign"));
	assert_null(desc_get(d, "c"));
	assert_null(desc_get(d, "missing"));
	assert_string_equal(desc_get(d, "a"), "");
	assert_string_equal(desc_get(d, "b"), "1=2");
	assert_string_equal(desc_at(d, 0, &key, &len), "empty key");
	assert_int_equal(len, 0);
	assert_string_equal(desc_at(d, 2, &key, &len), "1=2");
	assert_int_equal(len, 1);
	assert_null(desc_at(d, 3, &key, &len));
	desc_free(d);
	desc_free(NULL);
}

static void test_too_long(void **state)
{
	_cleanup_free_ char *big = malloc(DESC_MAX_BYTES);
	struct desc_writer w = { 0 };
	struct errmsg err;
	int fd = -1;

	memset(big, 'x', DESC_MAX_BYTES);
	big[DESC_MAX_BYTES - 1] = '\0';
	desc_add(&w, "ok", "1");
	desc_add(&w, "k", "%s", big);
	desc_add(&w, "later", "1");
	assert_int_equal(desc_seal(&w, &fd, &err), -E2BIG);
	assert_int_equal(fd, -1);
	assert_null(w.buf);
	big[DESC_MAX_BYTES - 3] = '\0'; /* "k=" and the NUL just fit */
	desc_add(&w, "k", "%s", big);
	assert_int_equal(desc_seal(&w, &fd, &err), 0);
	close(fd);
}

static void test_round(void **state)
{
	struct desc_writer w = { 0 };
	struct desc *d = NULL;
	const char *key;
	size_t len;
	int fd;

	desc_add(&w, "opt.image", "%s", "a\n=\x01\xc3\xa4;b");
	desc_add(&w, "opt.image", "%d", 2);
	desc_add(&w, "opt", "%s", "");
	assert_int_equal(desc_seal(&w, &fd, NULL), 0);
	assert_int_equal(desc_read(fd, &d, NULL), 0);
	close(fd);
	assert_string_equal(desc_get(d, "opt.image"), "a\n=\x01\xc3\xa4;b");
	assert_string_equal(desc_get(d, "opt"), "");
	assert_string_equal(desc_at(d, 1, &key, &len), "2");
	assert_int_equal(len, 9);
	desc_free(d);
}

static void test_sealed(void **state)
{
	struct desc_writer w = { 0 };
	int fd;

	desc_add(&w, "a", "b");
	assert_int_equal(desc_seal(&w, &fd, NULL), 0);
	assert_true(fd >= 10);
	assert_int_equal(fcntl(fd, F_GETFD), 0); /* exec keeps it */
	assert_int_equal(pwrite(fd, "x", 1, 0), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(ftruncate(fd, 0), -1);
	assert_int_equal(ftruncate(fd, 100), -1);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	close(fd);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		{ "what is no description is refused", test_bad_files, NULL,
		  NULL, NULL },
		{ "records without a sign are passed over", test_odd_records,
		  NULL, NULL, NULL },
		{ "too long a description is refused when it is sealed",
		  test_too_long, NULL, NULL, NULL },
		{ "what is written is read, repeated keys in order", test_round,
		  NULL, NULL, NULL },
		{ "it is sealed, above 9, and kept by exec", test_sealed, NULL,
		  NULL, NULL },
	};

	return cmocka_run_group_tests_name("desc", tests, NULL, NULL);
}
