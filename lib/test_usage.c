#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "usage.h"

static void a_line_of_proc_is_read(void **state)
{
	struct usage_stat s;

	/* the name may hold what looks like more fields */
	assert_int_equal(
		usage_parse("7 (a) 1 2) S 1 7 5 0 -1 4 1 2 3 4 100 200 "
			    "30 40 20 0 3 0 99 1000 25 18446744073709551615\n",
			    &s),
		0);
	assert_int_equal(s.session, 5);
	assert_int_equal(s.ticks[0], 100);
	assert_int_equal(s.ticks[3], 40);
	assert_int_equal(s.threads, 3);
	assert_int_equal(s.rss_pages, 25);
	assert_int_equal(usage_parse("", &s), -EPROTO);
	assert_int_equal(usage_parse("7 (a) S 1 7", &s), -EPROTO);
}

static void a_session_is_summed_up(void **state)
{
	struct usage u;
	int wait_for[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(wait_for), 0);
	pid = fork();
	if (pid == 0) {
		setsid();
		fork(); /* two of it */
		if (write(wait_for[1], "x", 1) == 1)
			pause();
		_exit(1);
	}
	assert_int_equal(read(wait_for[0], &byte, 1), 1);
	assert_int_equal(read(wait_for[0], &byte, 1), 1);
	assert_int_equal(usage_of_session(pid, &u), 0);
	assert_int_equal(u.procs, 2);
	assert_int_equal(u.threads, 2);
	assert_true(u.rss_bytes > 0);
	kill(-pid, SIGKILL);
	waitpid(pid, NULL, 0);
	for (int i = 0; i < 1000 && usage_of_session(pid, &u) == 0; i++)
		usleep(10000); /* the other one is init's */
	assert_int_equal(usage_of_session(pid, &u), -ESRCH);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_line_of_proc_is_read),
		cmocka_unit_test(a_session_is_summed_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
