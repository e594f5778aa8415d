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

#include "cleanup.h"
#include "firmware.h"

struct fixture {
	char dir[64], dirs[256];
	struct firmware fw;
	struct errmsg err;
};

static void write_text(const char *name, const char *text)
{
	FILE *f = fopen(name, "we");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

/* A description of @code; what is NULL is as it should be. */
static void describe(struct fixture *f, const char *name, const char *code,
		     const char *features, const char *machines,
		     const char *device)
{
	char text[1024];

	snprintf(
		text, sizeof(text),
		"{\"interface-types\": [\"uefi\"], \"mapping\": {\"device\": \"%s\", \"executable\": {\"filename\": \"%s/%s\", \"format\": \"raw\"}, \"nvram-template\": {\"filename\": \"%s/vars\", \"format\": \"raw\"}}, \"targets\": [{\"architecture\": \"x86_64\", \"machines\": [\"%s\"]}], \"features\": [%s]}",
		device ? device : "flash", f->dir, code, f->dir,
		machines ? machines : "pc-q35-*", features ? features : "");
	write_text(name, text);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	snprintf(f->dir, sizeof(f->dir), "/tmp/vmstep-test-XXXXXX");
	if (!mkdtemp(f->dir) || chdir(f->dir) < 0)
		return -1;
	snprintf(f->dirs, sizeof(f->dirs), "%s/etc:%s/none:%s/usr", f->dir,
		 f->dir, f->dir);
	mkdir("etc", 0700);
	mkdir("usr", 0700);
	write_text("one", "1");
	write_text("two", "2");
	write_text("vars", "variables");
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[96];

	firmware_done(&f->fw);
	snprintf(command, sizeof(command), "cd / && rm -rf %s", f->dir);
	free(f);
	return system(command);
}

static void finds(struct fixture *f, const char *machine, const char *code)
{
	char path[128];

	firmware_done(&f->fw);
	if (firmware_find(f->dirs, machine, &f->fw, &f->err) < 0)
		fail_msg("%s", f->err.text);
	snprintf(path, sizeof(path), "%s/%s", f->dir, code);
	assert_string_equal(f->fw.code, path);
	assert_string_equal(f->fw.code_format, "raw");
}

static void finds_none(struct fixture *f, const char *machine)
{
	firmware_done(&f->fw);
	assert_int_equal(firmware_find(f->dirs, machine, &f->fw, &f->err),
			 -ENOENT);
	assert_non_null(strstr(f->err.text, "as the package ovmf"));
	assert_null(f->fw.code);
	assert_null(f->fw.vars);
}

static void test_fits(void **state)
{
	struct fixture *f = *state;

	finds_none(f, "pc-q35-7.1");
	describe(f, "usr/60.json", "one", NULL, NULL, NULL);
	finds(f, "pc-q35-7.1", "one");
	finds(f, "q35", "one");
	finds_none(f, "pc-i440fx-7.1");
	describe(f, "usr/60.json", "one", "\"acpi-s3\", \"requires-smm\"", NULL,
		 NULL);
	finds_none(f, "pc-q35-7.1");
	describe(f, "usr/60.json", "one", NULL, NULL, "memory");
	finds_none(f, "pc-q35-7.1");
	describe(f, "usr/60.json", "gone", NULL, NULL, NULL);
	finds_none(f, "pc-q35-7.1");
}

static void test_bad(void **state)
{
	static const char *const texts[] = {
		"",
		"{",
		"[]",
		"null",
		"{\"interface-types\": \"uefi\"}",
		"{\"interface-types\": [\"uefi\"], \"targets\": [7, {}, {\"architecture\": 1}]}",
		"{\"interface-types\": [\"uefi\"], \"targets\": [{\"architecture\": \"x86_64\", \"machines\": [1, \"*\"]}]}",
		"{\"interface-types\": [\"uefi\"], \"targets\": [{\"architecture\": \"x86_64\", \"machines\": [\"*\"]}], \"mapping\": {\"device\": \"flash\", \"executable\": {\"filename\": \"one\", \"format\": \"raw\"}}}",
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		write_text("usr/50.json", texts[i]);
		finds_none(f, "pc-q35-7.1");
	}
	/* and hides no good one */
	describe(f, "usr/60.json", "one", NULL, NULL, NULL);
	finds(f, "pc-q35-7.1", "one");
}

static void test_order(void **state)
{
	struct fixture *f = *state;

	describe(f, "usr/60.json", "two", NULL, NULL, NULL);
	describe(f, "usr/50.json", "one", NULL, NULL, NULL);
	describe(f, "usr/40.txt", "two", NULL, NULL, NULL);
	finds(f, "pc-q35-7.1", "one");
	write_text("etc/50.json", ""); /* how one is masked */
	finds(f, "pc-q35-7.1", "two");
	describe(f, "etc/55.json", "one", NULL, NULL, NULL);
	finds(f, "pc-q35-7.1", "one");
}

static void test_vars(void **state)
{
	struct fixture *f = *state;
	char text[16] = "";
	struct stat st;
	int fd;

	describe(f, "usr/60.json", "one", NULL, NULL, NULL);
	finds(f, "pc-q35-7.1", "one");
	fd = firmware_vars(&f->fw, f->dir, &f->err);
	assert_true(fd > 0);
	assert_int_equal(pread(fd, text, sizeof(text) - 1, 0), 9);
	assert_string_equal(text, "variables");
	assert_int_equal(pwrite(fd, "V", 1, 0), 1);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_nlink, 0);
	close(fd);
	fd = open("vars", O_RDONLY | O_CLOEXEC);
	assert_int_equal(read(fd, text, 1), 1);
	assert_int_equal(text[0], 'v');
	close(fd);
	unlink("vars");
	assert_int_equal(firmware_vars(&f->fw, f->dir, &f->err), -ENOENT);
}

#define TEST(text, fn)                          \
	{                                       \
		text, fn, setup, teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST("a UEFI that fits is taken, others are not", test_fits),
		TEST("a bad description is passed over", test_bad),
		TEST("by name, the site's directory before the package's",
		     test_order),
		TEST("variables are a copy without a name", test_vars),
	};

	return cmocka_run_group_tests_name("firmware", tests, NULL, NULL);
}
