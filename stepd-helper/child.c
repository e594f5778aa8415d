#include <config.h>

#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "loop.h"

#ifndef SYS_close_range
#define SYS_close_range 436
#endif

struct failure {
	char step[16];
	int error;
};

/* -- between fork and exec: async-signal-safe only ------------------------- */

static void fail(int report, const char *step)
{
	struct failure f = { .error = errno };

	for (size_t i = 0; i < sizeof(f.step) - 1 && step[i]; i++)
		f.step[i] = step[i];
	if (write(report, &f, sizeof(f)) < 0)
		_exit(126);
	_exit(125);
}

/* Everything goes first above all wanted numbers, then down to them, so that
 * no dup2() overwrites what is still to be moved. */
static void move_fds(const struct child_spec *spec, int *report)
{
	int top = 3, moved[64];

	for (size_t i = 0; i < spec->n_fds; i++)
		if (spec->fds[i].to >= top)
			top = spec->fds[i].to + 1;
	*report = fcntl(*report, F_DUPFD_CLOEXEC, top);
	for (size_t i = 0; i < spec->n_fds; i++) {
		moved[i] = fcntl(spec->fds[i].from, F_DUPFD_CLOEXEC, top);
		if (moved[i] < 0)
			fail(*report, "dup");
	}
	for (size_t i = 0; i < spec->n_fds; i++)
		if (dup2(moved[i], spec->fds[i].to) < 0)
			fail(*report, "dup2");
}

static void close_others(const struct child_spec *spec, int report)
{
	/* what is above the last wanted one; the gaps between are CLOEXEC, as
	 * all our own descriptors are */
	int top = 2;

	for (size_t i = 0; i < spec->n_fds; i++)
		if (spec->fds[i].to > top)
			top = spec->fds[i].to;
	if (report > top + 1)
		syscall(SYS_close_range, top + 1, report - 1, 0);
	syscall(SYS_close_range, report + 1, ~0U, 0);
}

static void reset_signals(bool deaf)
{
	/* blocked, not ignored: QEMU installs handlers that exit for some */
	static const int blocked[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM };
	static const int ignored[] = { SIGUSR1, SIGUSR2, SIGXCPU, SIGTSTP };
	struct sigaction act = { .sa_handler = SIG_DFL };
	sigset_t set;

	for (int sig = 1; sig < NSIG; sig++)
		sigaction(sig, &act, NULL);
	loop_unblock_signals();
	if (!deaf)
		return;
	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(blocked); i++)
		sigaddset(&set, blocked[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	act.sa_handler = SIG_IGN;
	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		sigaction(ignored[i], &act, NULL);
}

/* Its ruleset is a descriptor, which is closed below. */
static void enter(const struct sandbox *s, int report)
{
	int r = s ? sandbox_enter(s) : 0;

	if (r == 0)
		return;
	errno = -r;
	fail(report, "sandbox for");
}

static _Noreturn void become(const struct child_spec *spec, pid_t parent,
			     int report)
{
	reset_signals(spec->deaf);
	if (spec->private_files)
		umask(077);
	enter(spec->sandbox, report);
	move_fds(spec, &report);
	close_others(spec, report);
	if (spec->outlives_us) {
		setsid();
	} else {
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
			fail(report, "prctl");
		if (getppid() != parent) /* it died before we asked */
			_exit(125);
	}
	execvp(spec->argv[0], (char *const *)spec->argv);
	fail(report, "exec");
	_exit(125);
}

/* -------------------------------------------------------------------------- */

static int read_report(int fd, pid_t pid, const char *name, struct errmsg *err)
{
	struct failure f;
	ssize_t n;

	do
		n = read(fd, &f, sizeof(f));
	while (n < 0 && errno == EINTR);
	if (n == 0)
		return 0; /* exec closed it */
	waitpid(pid, NULL, 0);
	if (n != sizeof(f))
		return errmsg_say(err, -EIO, "%s ended before it was run",
				  name);
	return errmsg_set(err, f.error ? -f.error : -EIO, "%.15s %s", f.step,
			  name);
}

int child_start(const struct child_spec *spec, pid_t *ret, struct errmsg *err)
{
	_cleanup_close_ int rd = -1, wr = -1;
	pid_t parent = getpid(), pid;
	int fds[2], r;

	if (spec->n_fds > 60)
		return errmsg_say(err, -E2BIG, "too many descriptors for %s",
				  spec->argv[0]);
	if (pipe2(fds, O_CLOEXEC) < 0)
		return errmsg_set(err, -errno, "pipe");
	rd = fds[0];
	wr = fds[1];
	pid = fork();
	if (pid < 0)
		return errmsg_set(err, -errno, "fork for %s", spec->argv[0]);
	if (pid == 0)
		become(spec, parent, wr);
	close(TAKE_FD(wr));
	r = read_report(rd, pid, spec->argv[0], err);
	if (r == 0)
		*ret = pid;
	return r;
}

/* -- run to the end -------------------------------------------------------- */

/* What it says, until it has closed its output or the time is up. */
static void collect(int fd, char *buf, size_t size, int64_t end_ms)
{
	size_t len = 0;

	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		int64_t left = end_ms - loop_now_ms();
		char rest[512];
		ssize_t n;

		if (left <= 0 || poll(&p, 1, (int)left) == 0)
			break;
		n = read(fd, len < size - 1 ? buf + len : rest,
			 len < size - 1 ? size - 1 - len : sizeof(rest));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		if (len < size - 1)
			len += (size_t)n;
	}
	buf[len] = '\0';
}

/* Its end, by @end_ms at the latest; false: it had to be killed. */
static bool reap_by(pid_t pid, int64_t end_ms, int *wstatus)
{
	_cleanup_close_ int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd p = { .fd = pidfd, .events = POLLIN };
	int64_t left = end_ms - loop_now_ms();
	pid_t r;

	while ((r = waitpid(pid, wstatus, WNOHANG)) == 0 && left > 0) {
		/* before Linux 5.3 there is no pidfd: look now and then */
		poll(&p, 1, pidfd >= 0 ? (int)left : 1);
		left = end_ms - loop_now_ms();
	}
	if (r != 0)
		return true;
	kill(pid, SIGKILL);
	while (waitpid(pid, wstatus, 0) < 0 && errno == EINTR)
		;
	return false;
}

static int run(const char *const *argv, int keep_fd, int timeout_ms, char *ret,
	       size_t size, struct errmsg *err)
{
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	_cleanup_close_ int rd = -1, wr = -1;
	struct child_fd fds[4];
	struct child_spec spec = { .argv = argv, .fds = fds, .n_fds = 3 };
	int64_t end = loop_now_ms() + timeout_ms;
	int p[2], wstatus = -1, r;
	pid_t pid;

	if (null < 0 || pipe2(p, O_CLOEXEC) < 0)
		return errmsg_set(err, -errno, "run %s", argv[0]);
	rd = p[0];
	wr = p[1];
	fds[0] = (struct child_fd){ null, 0 };
	fds[1] = (struct child_fd){ wr, 1 };
	fds[2] = (struct child_fd){ wr, 2 };
	if (keep_fd >= 0)
		fds[spec.n_fds++] = (struct child_fd){ keep_fd, keep_fd };
	r = child_start(&spec, &pid, err);
	if (r < 0)
		return r;
	close(TAKE_FD(wr));
	collect(rd, ret, size, end);
	if (!reap_by(pid, end, &wstatus))
		return errmsg_say(err, -ETIMEDOUT, "%s did not end within %d s",
				  argv[0], timeout_ms / 1000);
	return WIFSIGNALED(wstatus) ? 128 + WTERMSIG(wstatus)
				    : WEXITSTATUS(wstatus);
}

int child_run(const char *const *argv, int keep_fd, int timeout_ms,
	      struct errmsg *err)
{
	char text[600];
	int r = run(argv, keep_fd, timeout_ms, text, sizeof(text), err);

	if (r <= 0)
		return r;
	text[strcspn(text, "\n")] = '\0';
	return errmsg_say(err, -EIO, "%s", text[0] ? text : argv[0]);
}

int child_output(const char *const *argv, int timeout_ms, char *ret,
		 size_t size, struct errmsg *err)
{
	return run(argv, -1, timeout_ms, ret, size, err);
}
