#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "child.h"
#include "cleanup.h"
#include "loop.h"

#define LIST(...) ((const char *const[]){ __VA_ARGS__, NULL })

/* Run a shell with a pipe as its stdout; what it wrote. */
static const char *shell(const char *script, bool outlives_us, bool deaf)
{
	static char out[4096];
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	const char *const *argv = LIST("sh", "-c", script);
	size_t len = 0;
	ssize_t n;
	int p[2];
	struct child_fd fds[] = { { null, 0 }, { -1, 1 }, { null, 2 } };
	struct child_spec spec = { .argv = argv,
				   .fds = fds,
				   .n_fds = 3,
				   .outlives_us = outlives_us,
				   .deaf = deaf };
	pid_t pid;

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	fds[1].from = p[1];
	assert_int_equal(child_start(&spec, &pid, NULL), 0);
	close(p[1]);
	while ((n = read(p[0], out + len, sizeof(out) - 1 - len)) > 0)
		len += (size_t)n;
	close(p[0]);
	out[len] = '\0';
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	return out;
}

static int start(const char *program, struct errmsg *err)
{
	struct child_fd fds[] = { { 0, 0 }, { 1, 1 }, { 2, 2 } };
	struct child_spec spec = { .argv = LIST(program),
				   .fds = fds,
				   .n_fds = 3 };
	pid_t pid = -7;
	int r = child_start(&spec, &pid, err);

	if (r < 0) {
		assert_int_equal(pid, -7);
		assert_int_equal(waitpid(-1, NULL, 0), -1); /* no zombie */
	}
	return r;
}

static void test_exec_fails(void **state)
{
	char path[] = "/tmp/vmstep-test-XXXXXX";
	struct errmsg err;

	assert_int_equal(start("/nonexistent/qemu", &err), -ENOENT);
	assert_string_equal(
		err.text, "exec /nonexistent/qemu: No such file or directory");
	setenv("PATH", "/usr/bin:/bin", 1); /* one closed to us: EACCES */
	assert_int_equal(start("no-such-program-at-all", &err), -ENOENT);
	close(mkstemp(path)); /* not executable */
	assert_int_equal(start(path, &err), -EACCES);
	assert_non_null(strstr(err.text, "Permission denied"));
	unlink(path);
	assert_int_equal(start("/", NULL), -EACCES);
}

static void test_bad_fd(void **state)
{
	struct child_fd fds[] = { { 999, 0 } };
	struct child_spec spec = { .argv = LIST("true"),
				   .fds = fds,
				   .n_fds = 1 };
	struct errmsg err;
	pid_t pid;

	assert_int_equal(child_start(&spec, &pid, &err), -EBADF);
	assert_string_equal(err.text, "dup true: Bad file descriptor");
}

static void test_too_many_fds(void **state)
{
	struct child_fd fds[61] = { { 0, 0 } };
	struct child_spec spec = { .argv = LIST("true"),
				   .fds = fds,
				   .n_fds = 61 };
	pid_t pid;

	assert_int_equal(child_start(&spec, &pid, NULL), -E2BIG);
}

static void test_run_fails(void **state)
{
	struct errmsg err;

	assert_int_equal(child_run(LIST("/nonexistent"), -1, 1000, &err),
			 -ENOENT);
	assert_int_equal(
		child_run(LIST("sh", "-c", "echo why >&2; echo more; exit 1"),
			  -1, 10000, &err),
		-EIO);
	assert_string_equal(err.text, "why");
	assert_int_equal(child_run(LIST("false"), -1, 10000, &err), -EIO);
	assert_string_equal(err.text, "false");
	assert_int_equal(
		child_run(LIST("sh", "-c", "kill -9 $$"), -1, 10000, &err),
		-EIO);
	/* more words than are kept do not stop it */
	assert_int_equal(
		child_run(LIST("sh", "-c",
			       "head -c 300000 /dev/zero | tr '\\0' x; exit 1"),
			  -1, 10000, &err),
		-EIO);
	assert_int_equal(strspn(err.text, "x"), 599);
}

static void test_output(void **state)
{
	struct errmsg err;
	char text[8];

	assert_int_equal(child_output(LIST("sh", "-c", "echo a; echo b >&2"),
				      10000, text, sizeof(text), &err),
			 0);
	assert_string_equal(text, "a\nb\n");
	assert_int_equal(
		child_output(LIST("sh", "-c", "echo 123456789; exit 3"), 10000,
			     text, sizeof(text), &err),
		3);
	assert_string_equal(text, "1234567");
	assert_int_equal(child_output(LIST("sh", "-c", "kill -9 $$"), 10000,
				      text, sizeof(text), &err),
			 128 + 9);
	assert_int_equal(child_output(LIST("/nonexistent"), 10000, text,
				      sizeof(text), &err),
			 -ENOENT);
	assert_int_equal(child_output(LIST("sleep", "1000"), 50, text,
				      sizeof(text), &err),
			 -ETIMEDOUT);
}

static void test_timeout(void **state)
{
	struct errmsg err;
	int64_t before = loop_now_ms();

	assert_int_equal(child_run(LIST("sleep", "1000"), -1, 50, &err),
			 -ETIMEDOUT);
	assert_in_range(loop_now_ms() - before, 50, 20000);
	assert_non_null(strstr(err.text, "sleep did not end"));
	/* also one that has closed its output */
	before = loop_now_ms();
	assert_int_equal(
		child_run(LIST("sh", "-c", "exec >&- 2>&-; exec sleep 1000"),
			  -1, 50, &err),
		-ETIMEDOUT);
	assert_in_range(loop_now_ms() - before, 50, 20000);
	assert_int_equal(waitpid(-1, NULL, 0), -1); /* nothing is left */
}

static void test_run(void **state)
{
	_cleanup_close_ int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	char script[64];

	assert_int_equal(child_run(LIST("true"), -1, 10000, NULL), 0);
	snprintf(script, sizeof(script), "test -e /proc/self/fd/%d", fd);
	assert_int_equal(child_run(LIST("sh", "-c", script), fd, 10000, NULL),
			 0);
	assert_int_equal(child_run(LIST("sh", "-c", script), -1, 10000, NULL),
			 -EIO);
}

static void test_fds(void **state)
{
	/* numbers that are each other's, and ones far up */
	int a = dup(STDIN_FILENO), b = open("/", O_RDONLY), p[2];
	struct child_fd fds[] = { { 0, 0 }, { -1, 1 }, { 2, 2 },
				  { a, b }, { b, a },  { b, 40 } };
	struct child_spec spec = { .fds = fds, .n_fds = 6 };
	char script[256], out[512] = "", want[64];
	struct stat st;
	pid_t pid;

	dup2(b, 77); /* inheritable, and not wanted */
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	fds[1].from = p[1];
	snprintf(
		script, sizeof(script),
		"stat -L -c %%i /proc/self/fd/%d /proc/self/fd/%d /proc/self/fd/40; test -e /proc/self/fd/77 || echo clean",
		a, b);
	spec.argv = LIST("sh", "-c", script);
	assert_int_equal(child_start(&spec, &pid, NULL), 0);
	close(p[1]);
	for (size_t len = 0, n = 1; n; len += n)
		n = (size_t)read(p[0], out + len, sizeof(out) - 1 - len);
	close(p[0]);
	waitpid(pid, NULL, 0);
	fstat(b, &st);
	snprintf(want, sizeof(want), "%lu\n", (unsigned long)st.st_ino);
	assert_int_equal(strncmp(out, want, strlen(want)), 0); /* a is b */
	assert_non_null(strstr(out, "clean"));
	snprintf(want, sizeof(want), "\n%lu\nclean", (unsigned long)st.st_ino);
	assert_non_null(strstr(out, want)); /* 40 is b */
	close(77);
	close(a);
	close(b);
}

/* A mask of /proc/self/status, without the two signals that glibc keeps to
 * itself (32, 33): make's posix_spawn() leaves them ignored. */
static unsigned long mask(const char *status, const char *name)
{
	const char *line = strstr(status, name);

	assert_non_null(line);
	return strtoul(line + strlen(name), NULL, 16) & ~(3ul << 31);
}

static void test_signals(void **state)
{
	struct loop *l;
	const char *out;

	/* what we block or ignore is the child's default again */
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(loop_new(&l, NULL), 0);
	assert_int_equal(loop_signal(l, SIGTERM, NULL, NULL, NULL), 0);
	out = shell("cat /proc/self/status", false, false);
	assert_int_equal(mask(out, "SigBlk:"), 0);
	assert_int_equal(mask(out, "SigIgn:"), 0);
	loop_free(l);
	signal(SIGPIPE, SIG_DFL);
}

static void test_deaf(void **state)
{
	/* a stray signal of the step ends QEMU no more */
	static const char script[] =
		"for s in HUP INT QUIT TERM USR1 USR2 XCPU TSTP; do kill -$s $$; done; echo alive";

	assert_string_equal(shell(script, false, false), "");
	assert_string_equal(shell(script, false, true), "alive\n");
}

/* A process between us and the child, which is killed; does the child live? */
static bool survives(bool outlives_us)
{
	struct pollfd ended = { .events = POLLIN };
	int p[2], life[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	assert_int_equal(pipe2(life, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		struct child_fd fds[] = { { life[0], 0 }, { p[1], 1 } };
		struct child_spec spec = {
			.argv = LIST("sh", "-c", "echo; exec cat"),
			.fds = fds,
			.n_fds = 2,
			.outlives_us = outlives_us,
		};
		pid_t child;

		close(life[1]);
		child_start(&spec, &child, NULL);
		close(p[1]);
		pause();
		_exit(0);
	}
	close(p[1]);
	close(life[0]);
	assert_int_equal(read(p[0], &byte, 1), 1); /* it runs */
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	/* cat holds the pipe's other end as long as it lives, and says back
	 * what it is told */
	if (outlives_us) {
		assert_int_equal(write(life[1], "x", 1), 1);
		assert_int_equal(read(p[0], &byte, 1), 1);
	}
	ended.fd = p[0];
	assert_int_equal(poll(&ended, 1, outlives_us ? 0 : 20000),
			 !outlives_us);
	close(life[1]); /* cat ends by this, if nothing else */
	close(p[0]);
	return outlives_us;
}

static void test_parent_death(void **state)
{
	signal(SIGPIPE, SIG_IGN);
	assert_false(survives(false));
}

static void test_outlives(void **state)
{
	signal(SIGPIPE, SIG_IGN);
	assert_true(survives(true));
	/* in a session of its own, so that the terminal's signals miss it */
	assert_string_equal(
		shell("test $(cut -d' ' -f6 /proc/$$/stat) -eq $$ && echo own",
		      true, false),
		"own\n");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		{ "what cannot be run is said with step and reason",
		  test_exec_fails, NULL, NULL, NULL },
		{ "so is a descriptor that is none", test_bad_fd, NULL, NULL,
		  NULL },
		{ "too many descriptors are refused", test_too_many_fds, NULL,
		  NULL, NULL },
		{ "a program that fails leaves its first words", test_run_fails,
		  NULL, NULL, NULL },
		{ "all words of one can be had, with its status", test_output,
		  NULL, NULL, NULL },
		{ "one that does not end is ended", test_timeout, NULL, NULL,
		  NULL },
		{ "one that is well gets the descriptor it is to keep",
		  test_run, NULL, NULL, NULL },
		{ "descriptors get their numbers, all others are closed",
		  test_fds, NULL, NULL, NULL },
		{ "signals are the default's", test_signals, NULL, NULL, NULL },
		{ "but a deaf child hears none that would end it", test_deaf,
		  NULL, NULL, NULL },
		{ "a child dies with us", test_parent_death, NULL, NULL, NULL },
		{ "but not one that shall outlive us", test_outlives, NULL,
		  NULL, NULL },
	};

	return cmocka_run_group_tests_name("child", tests, NULL, NULL);
}
