#include <config.h>

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "parent.h"

/* Three processes: the test, one that stands for slurmstepd, and its task.
 * What the task does is told by @say, a letter each. */
struct family {
	pid_t parent;
	int say[2], go[2]; /* pipes: from the task, and to it */
};

static void on_gone(void *arg)
{
	loop_stop(arg, 'g');
}

static void on_alive(void *arg)
{
	loop_stop(arg, 'a');
}

static void say(struct family *f, char letter)
{
	if (write(f->say[1], &letter, 1) != 1)
		_exit(1);
}

static _Noreturn void be_task(struct family *f, pid_t pid, int alive_ms)
{
	struct loop_timer *timer;
	struct parent *p;
	struct loop *l;
	char go;

	close(f->go[1]);
	say(f, 'r');
	if (read(f->go[0], &go, 1) < 0 || loop_new(&l, NULL) < 0 ||
	    parent_watch(l, pid, on_gone, l, &p, NULL) < 0 ||
	    loop_timer_add(l, alive_ms, on_alive, l, &timer) < 0)
		_exit(1);
	say(f, 'w');
	say(f, (char)loop_run(l));
	parent_free(p);
	loop_free(l);
	_exit(0);
}

struct fork_args {
	struct family *f;
	int alive_ms;
};

static void *fork_task(void *arg)
{
	struct fork_args *a = arg;
	pid_t pid = getpid();

	if (fork() == 0)
		be_task(a->f, pid, a->alive_ms);
	return NULL;
}

/* As slurmstepd does it: the thread that forks ends. */
static _Noreturn void be_parent(struct family *f, int alive_ms)
{
	struct fork_args args = { f, alive_ms };
	pthread_t thread;

	if (pthread_create(&thread, NULL, fork_task, &args) != 0)
		_exit(1);
	pthread_join(thread, NULL);
	close(f->go[0]);
	close(f->go[1]);
	for (;;)
		pause();
}

static void start(struct family *f, int alive_ms)
{
	assert_int_equal(pipe(f->say), 0);
	assert_int_equal(pipe(f->go), 0);
	f->parent = fork();
	assert_true(f->parent >= 0);
	if (f->parent == 0)
		be_parent(f, alive_ms);
	close(f->say[1]);
	close(f->go[0]);
}

static char hear(struct family *f)
{
	char letter = 0;

	return read(f->say[0], &letter, 1) == 1 ? letter : 0;
}

static void kill_parent(struct family *f)
{
	kill(f->parent, SIGKILL);
	assert_int_equal(waitpid(f->parent, NULL, 0), f->parent);
}

static void end(struct family *f)
{
	close(f->say[0]);
	close(f->go[1]);
}

static void test_gone_before(void **state)
{
	struct family f;

	start(&f, -1);
	assert_int_equal(hear(&f), 'r');
	kill_parent(&f);
	assert_int_equal(write(f.go[1], "", 1), 1);
	assert_int_equal(hear(&f), 'w');
	assert_int_equal(hear(&f), 'g');
	end(&f);
}

static void test_killed(void **state)
{
	struct family f;

	start(&f, -1);
	assert_int_equal(hear(&f), 'r');
	assert_int_equal(write(f.go[1], "", 1), 1);
	assert_int_equal(hear(&f), 'w');
	kill_parent(&f);
	assert_int_equal(hear(&f), 'g');
	end(&f);
}

static void test_alive(void **state)
{
	struct family f;

	start(&f, 50);
	assert_int_equal(hear(&f), 'r');
	assert_int_equal(write(f.go[1], "", 1), 1);
	assert_int_equal(hear(&f), 'w');
	assert_int_equal(hear(&f), 'a');
	kill_parent(&f);
	end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		{ "a parent that was gone before", test_gone_before, NULL, NULL,
		  NULL },
		{ "one that is killed", test_killed, NULL, NULL, NULL },
		{ "one whose thread that forked us ended is there still",
		  test_alive, NULL, NULL, NULL },
	};

	parent_free(NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
