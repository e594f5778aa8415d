#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "start_error.h"

static void says(const struct start_error *e, const char *workdir,
		 const char *command, int status, const char *words)
{
	char dir[64];
	struct spec s = { .workdir = workdir ? dir : NULL,
			  .workdir_given = workdir };
	struct errmsg err;

	strcpy(dir, workdir ? workdir : "");
	assert_int_equal(start_error_status(e, &s, command, &err), status);
	assert_string_equal(err.text, words);
}

static void test_not_found(void **state)
{
	const struct start_error e = { 10, "command",
				       "job.sh: command not found" };

	says(&e, NULL, "job.sh", 127,
	     "job.sh: command not found; it is looked up in the guest");
	says(&e, NULL, "./job.sh", 127,
	     "job.sh: command not found; it is looked up in the guest, where the host's directories are not but by --vm-mounts and --vm-mount-home");
}

static void test_cannot_run(void **state)
{
	const struct start_error e = { 6, "command",
				       "/etc/passwd: Permission denied" };
	const struct start_error os = { 14, "command", "x: Out of memory" };
	const struct start_error old = { 10, NULL, "x: command not found" };

	says(&e, NULL, "/etc/passwd", 126, e.message);
	says(&os, NULL, "x", 125, os.message);
	says(&old, NULL, "x", 127,
	     "x: command not found; it is looked up in the guest");
}

static void test_named(void **state)
{
	const struct start_error user = { 10, "user",
					  "no user bob in the guest's passwd" };
	const struct start_error cwd = { 10, "cwd",
					 "directory /x: No such file" };

	says(&user, NULL, "true", 126,
	     "--vm-user: no user bob in the guest's passwd");
	says(&cwd, "/x", "true", 126,
	     "--vm-workdir: directory /x: No such file; it is looked up in the guest, where the host's directories are not but by --vm-mounts and --vm-mount-home");
	says(&cwd, NULL, "true", 126,
	     "the user's home: directory /x: No such file; it is looked up in the guest, where the host's directories are not but by --vm-mounts and --vm-mount-home");
}

static void test_setup(void **state)
{
	const struct start_error e = { 14, "setup", "no session" };
	const struct start_error unknown = { 10, "moon", "no moon" };

	says(&e, "/x", "true", 125, "no session");
	says(&unknown, "/x", "true", 125, "no moon");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		{ "a command that is not found is said to be the guest's",
		  test_not_found, NULL, NULL, NULL },
		{ "one that cannot be run is said as the agent says it",
		  test_cannot_run, NULL, NULL, NULL },
		{ "a user or directory that is not there names its option",
		  test_named, NULL, NULL, NULL },
		{ "what is none of these is our failure", test_setup, NULL,
		  NULL, NULL },
	};

	return cmocka_run_group_tests_name("start_error", tests, NULL, NULL);
}
