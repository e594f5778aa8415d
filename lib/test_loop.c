#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "cleanup.h"
#include "loop.h"

struct fixture {
	struct loop *loop;
	int fds[2];
	struct loop_io *io, *other_io;
	struct loop_timer *timer, *other_timer;
	int n, other_n;
	int last; /* signal, or wait status */
	int left; /* children still running */
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	*state = f;
	return loop_new(&f->loop, NULL) < 0 || pipe2(f->fds, O_CLOEXEC) < 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	loop_free(f->loop);
	close(f->fds[0]);
	close(f->fds[1]);
	free(f);
	return 0;
}

static void on_stop(void *arg)
{
	struct fixture *f = arg;

	loop_stop(f->loop, 7);
}

static void stop_after(struct fixture *f, int64_t ms)
{
	struct loop_timer *t;

	assert_int_equal(loop_timer_add(f->loop, ms, on_stop, f, &t), 0);
	assert_int_equal(loop_run(f->loop), 7);
	loop_timer_free(t);
}

/* -- descriptors ----------------------------------------------------------- */

static void on_io(uint32_t events, void *arg)
{
	struct fixture *f = arg;

	f->n++;
	f->last = (int)events;
}

static void on_io_read(uint32_t events, void *arg)
{
	struct fixture *f = arg;
	char c;

	f->n++;
	assert_int_equal(read(f->fds[0], &c, 1), 1);
}

static void on_io_free_both(uint32_t events, void *arg)
{
	struct fixture *f = arg;

	f->n++;
	loop_io_free(f->io);
	loop_io_free(f->other_io);
}

static void test_bad_fd(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(loop_io_add(f->loop, -1, EPOLLIN, on_io, f, &f->io),
			 -EBADF);
	assert_null(f->io);
}

static void test_readable(void **state)
{
	struct fixture *f = *state;

	loop_io_add(f->loop, f->fds[0], EPOLLIN, on_io_read, f, &f->io);
	stop_after(f, 5);
	assert_int_equal(f->n, 0);
	assert_int_equal(write(f->fds[1], "abc", 3), 3);
	for (int i = 0; i < 1000 && f->n < 3; i++)
		stop_after(f, 5);
	assert_int_equal(f->n, 3);
	loop_io_set(f->io, 0);
	assert_int_equal(write(f->fds[1], "d", 1), 1);
	stop_after(f, 5);
	assert_int_equal(f->n, 3); /* not watched */
	loop_io_set(f->io, EPOLLIN);
	stop_after(f, 5);
	assert_int_equal(f->n, 4);
}

static void test_hangup_does_not_spin(void **state)
{
	struct fixture *f = *state;

	loop_io_add(f->loop, f->fds[0], 0, on_io, f, &f->io);
	close(f->fds[1]);
	f->fds[1] = -1;
	stop_after(f, 5);
	assert_int_equal(f->n, 0);
	loop_io_set(f->io, EPOLLIN);
	stop_after(f, 5);
	assert_true(f->n > 0);
	assert_true(f->last & EPOLLHUP);
}

static void test_regular_file(void **state)
{
	struct fixture *f = *state;
	_cleanup_close_ int file = memfd_create("file", MFD_CLOEXEC);
	_cleanup_close_ int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	assert_int_equal(loop_io_add(f->loop, file, EPOLLOUT, on_io, f, &f->io),
			 0);
	assert_int_equal(
		loop_io_add(f->loop, null, 0, on_io_read, f, &f->other_io), 0);
	stop_after(f, 5);
	assert_true(f->n > 0);
	assert_int_equal(f->last, EPOLLOUT);
	loop_io_set(f->io, 0);
	f->n = 0;
	stop_after(f, 5);
	assert_int_equal(f->n, 0);
}

static void test_free_in_callback(void **state)
{
	struct fixture *f = *state;
	_cleanup_close_ int again = dup(f->fds[0]);

	/* both are ready in the same round: the second must not be called */
	loop_io_add(f->loop, f->fds[0], EPOLLIN, on_io_free_both, f, &f->io);
	loop_io_add(f->loop, again, EPOLLIN, on_io_free_both, f, &f->other_io);
	assert_int_equal(write(f->fds[1], "x", 1), 1);
	stop_after(f, 5);
	assert_int_equal(f->n, 1);
}

/* -- timers ---------------------------------------------------------------- */

static void on_timer(void *arg)
{
	struct fixture *f = arg;

	f->n++;
}

static void on_timer_again(void *arg)
{
	struct fixture *f = arg;

	f->n++;
	loop_timer_set(f->timer, 0);
}

static void on_timer_free_both(void *arg)
{
	struct fixture *f = arg;

	f->n++;
	loop_timer_free(f->timer);
	loop_timer_free(f->other_timer);
}

/* Without the time of this process. */
static void pass_ms(int64_t ms)
{
	struct timespec ts;
	int64_t now, end = 0;

	do {
		clock_gettime(CLOCK_MONOTONIC, &ts);
		now = (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
		end = end ? end : now + ms;
	} while (now < end);
}

static void on_io_stop(uint32_t events, void *arg)
{
	struct fixture *f = arg;

	loop_stop(f->loop, 3);
}

static void test_clock_stopped(void **state)
{
	struct fixture *f = *state;
	int64_t before;

	loop_io_add(f->loop, f->fds[0], EPOLLIN, on_io_stop, f, &f->io);
	assert_int_equal(write(f->fds[1], "x", 1), 1);
	loop_clock_stop();
	before = loop_now_ms();
	loop_timer_add(f->loop, 20, on_stop, f, &f->timer);
	pass_ms(40);
	loop_clock_stop(); /* the first counts */
	assert_int_equal(loop_now_ms(), before);
	assert_int_equal(loop_run(f->loop), 3); /* the timer is not due */
	loop_clock_go();
	loop_clock_go();
	assert_true(loop_now_ms() >= before);
	loop_io_set(f->io, 0);
	assert_int_equal(loop_run(f->loop), 7);
	before = loop_now_ms();
	loop_clock_stop();
	pass_ms(3);
	loop_clock_go();
	pass_ms(3);
	assert_true(loop_now_ms() > before);
}

static void test_timer_once(void **state)
{
	struct fixture *f = *state;
	int64_t start;

	loop_timer_add(f->loop, -1, on_timer, f, &f->timer);
	stop_after(f, 5);
	assert_int_equal(f->n, 0); /* not armed */
	start = loop_now_ms();
	loop_timer_set(f->timer, 10);
	for (int i = 0; i < 1000 && !f->n; i++)
		stop_after(f, 5);
	assert_int_equal(f->n, 1);
	assert_true(loop_now_ms() - start >= 10);
	loop_timer_set(f->timer, 10);
	loop_timer_set(f->timer, -1);
	stop_after(f, 20);
	assert_int_equal(f->n, 1); /* taken back, and not again by itself */
}

static void test_timer_does_not_starve(void **state)
{
	struct fixture *f = *state;

	loop_timer_add(f->loop, 0, on_timer_again, f, &f->timer);
	loop_io_add(f->loop, f->fds[0], EPOLLIN, on_io_read, f, &f->io);
	assert_int_equal(write(f->fds[1], "x", 1), 1);
	for (int i = 0; i < 1000 && f->n < 5; i++)
		stop_after(f, 5);
	assert_int_equal(fcntl(f->fds[0], F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(read(f->fds[0], &f->last, 1), -1); /* was read */
}

static void test_timer_free_in_callback(void **state)
{
	struct fixture *f = *state;

	loop_timer_add(f->loop, 1, on_timer_free_both, f, &f->timer);
	loop_timer_add(f->loop, 1, on_timer_free_both, f, &f->other_timer);
	for (int i = 0; i < 1000 && !f->n; i++)
		stop_after(f, 5);
	assert_int_equal(f->n, 1);
}

/* -- signals --------------------------------------------------------------- */

static void on_signal(const struct signalfd_siginfo *si, void *arg)
{
	struct fixture *f = arg;

	f->n++;
	f->last = (int)si->ssi_signo;
}

static void test_signals(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(loop_signal(f->loop, SIGUSR1, on_signal, f, NULL), 0);
	assert_int_equal(loop_signal(f->loop, SIGUSR2, on_signal, f, NULL), 0);
	raise(SIGUSR1);
	stop_after(f, 5);
	assert_int_equal(f->last, SIGUSR1);
	raise(SIGUSR2);
	stop_after(f, 5);
	assert_int_equal(f->last, SIGUSR2);
	assert_int_equal(f->n, 2);
	loop_unblock_signals();
}

/* -- children -------------------------------------------------------------- */

static void on_child(pid_t pid, int wstatus, void *arg)
{
	struct fixture *f = arg;

	f->n++;
	f->last = wstatus;
	assert_true(loop_child_usage(f->loop)->ru_maxrss > 0);
	if (--f->left == 0)
		loop_stop(f->loop, 0);
}

static pid_t child(struct fixture *f, int status, int delay_ms)
{
	pid_t pid = fork();

	if (pid == 0) {
		usleep((useconds_t)delay_ms * 1000);
		if (status > 128)
			raise(status - 128);
		_exit(status);
	}
	assert_true(pid > 0);
	f->left++;
	return pid;
}

static void run_children(struct fixture *f)
{
	f->n = f->left = 0;
	for (int i = 0; i < 8; i++)
		assert_int_equal(loop_child(f->loop, child(f, 3, i % 3 * 10),
					    on_child, f),
				 0);
	assert_int_equal(loop_run(f->loop), 0);
	assert_int_equal(f->n, 8);
	assert_int_equal(WEXITSTATUS(f->last), 3);
	loop_child(f->loop, child(f, 128 + SIGKILL, 0), on_child, f);
	assert_int_equal(loop_run(f->loop), 0);
	assert_int_equal(WTERMSIG(f->last), SIGKILL);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* all reaped */
}

static void test_children(void **state)
{
	run_children(*state);
}

static void test_ended_before(void **state)
{
	struct fixture *f = *state;
	pid_t pid = child(f, 5, 0);

	usleep(20000);
	assert_int_equal(loop_child(f->loop, pid, on_child, f), 0);
	assert_int_equal(loop_run(f->loop), 0);
	assert_int_equal(WEXITSTATUS(f->last), 5);
}

static void test_forget(void **state)
{
	struct fixture *f = *state;
	pid_t pid = child(f, 5, 0);
	int wstatus;

	loop_child(f->loop, pid, on_child, f);
	loop_child_forget(f->loop, pid);
	stop_after(f, 20);
	assert_int_equal(f->n, 0);
	assert_int_equal(waitpid(pid, &wstatus, 0), pid);
}

/* From here on pidfd_open() fails as before Linux 5.3. */
static bool forbid_pidfd(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pidfd_open, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { ARRAY_SIZE(filter), filter };

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) == 0;
}

static void test_old_kernel(void **state) /* the last one: it stays so */
{
	if (!forbid_pidfd()) {
		print_message("no seccomp in this kernel\n");
		skip();
	}
	run_children(*state);
	loop_unblock_signals();
}

/* -- guards ---------------------------------------------------------------- */

static struct {
	struct fixture *f;
	int inside, alone, enters;
	bool was_inside, was_alone;
} g;

static void on_enter(void *arg)
{
	g.inside++;
	g.enters++;
}

static void on_leave(void *arg)
{
	g.inside--;
}

static void on_alone(void *arg)
{
	g.alone++;
}

static void on_together(void *arg)
{
	g.alone--;
}

static void on_guarded(uint32_t events, void *arg)
{
	g.was_inside = g.inside == 1;
	g.was_alone = g.alone == 1;
	loop_stop(g.f->loop, 0);
}

static const struct loop_guard guard = { on_enter, on_leave, on_alone,
					 on_together, NULL };

static void test_guard(void **state)
{
	g = (typeof(g)){ .f = *state };
	loop_set_guard(g.f->loop, &guard);
	assert_int_equal(write(g.f->fds[1], "", 1), 1);
	assert_int_equal(loop_io_add(g.f->loop, g.f->fds[0], EPOLLIN,
				     on_guarded, NULL, &g.f->io),
			 0);
	assert_int_equal(loop_run(g.f->loop), 0);
	assert_true(g.was_inside && !g.was_alone);
	loop_io_alone(g.f->io);
	assert_int_equal(loop_run(g.f->loop), 0);
	assert_true(g.was_inside && g.was_alone);
	assert_int_equal(g.inside, 0);
	assert_int_equal(g.alone, 0);
}

/* Who keeps the loop from entering frees what it is about to report. */
static void on_enter_and_free(void *arg)
{
	if (++g.enters == 2) {
		loop_io_free(g.f->io);
		loop_timer_set(g.f->timer, 0);
	}
}

static void on_nothing(void *arg)
{
}

static void test_freed_before_entering(void **state)
{
	struct fixture *f = *state;
	const struct loop_guard freeing = { on_enter_and_free, on_nothing,
					    on_nothing, on_nothing, NULL };

	g = (typeof(g)){ .f = f };
	loop_set_guard(f->loop, &freeing);
	assert_int_equal(loop_timer_add(f->loop, -1, on_stop, f, &f->timer), 0);
	assert_int_equal(write(f->fds[1], "", 1), 1);
	assert_int_equal(loop_io_add(f->loop, f->fds[0], EPOLLIN, on_guarded,
				     NULL, &f->io),
			 0);
	assert_int_equal(loop_run(f->loop), 7);
	assert_false(g.was_inside);
	assert_int_equal(g.enters, 2);
}

static void on_stop_by_event(uint32_t events, void *arg)
{
	on_stop(arg);
}

static int64_t ns_of(clockid_t clock)
{
	struct timespec ts;

	assert_int_equal(clock_gettime(clock, &ts), 0);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void test_awake(void **state)
{
	struct fixture *f = *state;
	int64_t cpu, began = ns_of(CLOCK_MONOTONIC);

	assert_int_equal(loop_timer_add(f->loop, 300, on_stop, f, &f->timer),
			 0);
	cpu = ns_of(CLOCK_THREAD_CPUTIME_ID);
	loop_stay_awake(f->loop, 1000);
	assert_int_equal(loop_run(f->loop), 7);
	assert_true(ns_of(CLOCK_THREAD_CPUTIME_ID) - cpu < 100000000);
	assert_true(ns_of(CLOCK_MONOTONIC) - began >= 299000000);
	/* what is due comes before it */
	loop_stay_awake(f->loop, 1000);
	loop_timer_set(f->timer, 0);
	assert_int_equal(loop_run(f->loop), 7);
	/* and so does what there is to read */
	loop_stay_awake(f->loop, 1000);
	assert_int_equal(write(f->fds[1], "", 1), 1);
	assert_int_equal(loop_io_add(f->loop, f->fds[0], EPOLLIN,
				     on_stop_by_event, f, &f->io),
			 0);
	assert_int_equal(loop_run(f->loop), 7);
}

#define TEST(text, fn)                          \
	{                                       \
		text, fn, setup, teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST("a descriptor that is none is refused", test_bad_fd),
		TEST("a readable descriptor is reported while watched",
		     test_readable),
		TEST("a hang-up that nobody watches does not spin",
		     test_hangup_does_not_spin),
		TEST("regular files and /dev/null are always ready",
		     test_regular_file),
		TEST("sources freed in a callback are not called",
		     test_free_in_callback),
		TEST("a timer runs once when it is due", test_timer_once),
		TEST("no time passes while the clock is stopped",
		     test_clock_stopped),
		TEST("a timer of 0 ms leaves room for descriptors",
		     test_timer_does_not_starve),
		TEST("timers freed in a callback are not called",
		     test_timer_free_in_callback),
		TEST("signals come one at a time", test_signals),
		TEST("children are reported and reaped", test_children),
		TEST("a child that has ended already is reported",
		     test_ended_before),
		TEST("a forgotten child is not reaped", test_forget),
		TEST("a guard knows when callbacks run, and which are alone",
		     test_guard),
		TEST("what is freed while the loop waits is not reported",
		     test_freed_before_entering),
		TEST("one that stays awake falls asleep in the end",
		     test_awake),
		TEST("without pidfd SIGCHLD does the same", test_old_kernel),
	};

	return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
