#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "sigbus.h"

#define PAGE 4096

/* @pages pages of a file that has only @left any more. */
static uint8_t *cut_memory(size_t pages, size_t left)
{
	int fd = memfd_create("cut", MFD_CLOEXEC);
	uint8_t *map;

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)(pages * PAGE)), 0);
	map = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		   0);
	assert_true(map != MAP_FAILED);
	memset(map, 7, pages * PAGE);
	assert_int_equal(ftruncate(fd, (off_t)(left * PAGE)), 0);
	close(fd);
	return map;
}

static void touch(uint8_t *at)
{
	*(volatile uint8_t *)at += 1;
}

static void a_page_that_is_gone_reads_as_zeroes(void **state)
{
	uint8_t *map = cut_memory(4, 2);
	struct sigbus_guard *g = NULL;
	atomic_bool gone = false;

	assert_int_equal(sigbus_guard(map, 4 * PAGE, PAGE, &gone, &g), 0);
	touch(map);
	assert_false(gone);
	errno = EXDEV;
	touch(map + 3 * PAGE + 17);
	assert_int_equal(errno, EXDEV);
	assert_true(gone);
	assert_int_equal(map[3 * PAGE + 17], 1);
	assert_int_equal(map[3 * PAGE], 0);
	assert_int_equal(map[0], 8); /* the rest stays what it was */
	assert_int_equal(map[2 * PAGE - 1], 7);
	gone = false;
	touch(map + 2 * PAGE); /* each page has a fault of its own */
	assert_true(gone);
	sigbus_forget(g);
	munmap(map, 4 * PAGE);
}

static void a_guard_can_have_larger_pages(void **state)
{
	uint8_t *map = cut_memory(4, 0);
	struct sigbus_guard *g = NULL;
	atomic_bool gone = false;

	assert_int_equal(sigbus_guard(map, 4 * PAGE, 2 * PAGE, &gone, &g), 0);
	touch(map + 3 * PAGE);
	gone = false;
	touch(map + 2 * PAGE);
	assert_false(gone);
	touch(map + PAGE);
	assert_true(gone);
	sigbus_forget(g);
	munmap(map, 4 * PAGE);
}

#define MANY 300

static void there_may_be_many(void **state)
{
	static struct sigbus_guard *guards[MANY];
	static uint8_t *maps[MANY];
	static atomic_bool gone[MANY];

	for (int i = 0; i < MANY; i++) {
		maps[i] = cut_memory(1, 0);
		assert_int_equal(
			sigbus_guard(maps[i], PAGE, PAGE, &gone[i], &guards[i]),
			0);
	}
	for (int i = 1; i < MANY; i += 2) {
		sigbus_forget(guards[i]);
		munmap(maps[i], PAGE);
	}
	for (int i = 0; i < MANY; i += 2) {
		touch(maps[i]);
		assert_true(gone[i]);
		sigbus_forget(guards[i]);
		munmap(maps[i], PAGE);
	}
	for (int i = 1; i < MANY; i += 2)
		assert_false(gone[i]);
	sigbus_forget(NULL);
}

/* -- in several threads ---------------------------------------------------- */

#define THREADS 4
#define ROUNDS	200

static void *come_and_go(void *arg)
{
	for (int i = 0; i < ROUNDS; i++) {
		uint8_t *map = cut_memory(2, 1);
		struct sigbus_guard *g = NULL;
		atomic_bool gone = false;

		if (sigbus_guard(map, 2 * PAGE, PAGE, &gone, &g) < 0)
			return arg;
		touch(map);
		if (gone)
			return arg;
		touch(map + PAGE);
		if (!gone)
			return arg;
		sigbus_forget(g);
		munmap(map, 2 * PAGE);
	}
	return NULL;
}

static void threads_do_not_meet(void **state)
{
	pthread_t threads[THREADS];
	void *bad = NULL;

	for (int i = 0; i < THREADS; i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL, come_and_go, threads),
			0);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], &bad);
		assert_null(bad);
	}
}

/* -- elsewhere ------------------------------------------------------------- */

static void on_old(int sig)
{
	_exit(42);
}

/* How a process ends that does this. */
static int end_of(void (*fn)(void))
{
	pid_t pid = fork();
	int status = 0;

	if (pid == 0) {
		dup2(open("/dev/null", O_RDWR), STDERR_FILENO);
		fn();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void touch_unguarded(void)
{
	touch(cut_memory(1, 0));
}

static void touch_forgotten(void)
{
	uint8_t *map = cut_memory(1, 0);
	struct sigbus_guard *g = NULL;
	atomic_bool gone = false;

	sigbus_guard(map, PAGE, PAGE, &gone, &g);
	sigbus_forget(g);
	touch(map);
}

static void send_it(void)
{
	raise(SIGBUS);
}

/* A sanitizer has a handler of its own, and ends with a status. */
static void elsewhere_it_is_the_end_as_before(void **state)
{
	signal(SIGBUS, SIG_DFL);
	a_page_that_is_gone_reads_as_zeroes(state);
	assert_int_not_equal(end_of(touch_unguarded), 0);
	assert_int_not_equal(end_of(touch_forgotten), 0);
	assert_int_not_equal(end_of(send_it), 0);
}

static void who_had_the_signal_before_gets_it(void **state)
{
	signal(SIGBUS, on_old);
	a_page_that_is_gone_reads_as_zeroes(state);
	assert_int_equal(WEXITSTATUS(end_of(touch_unguarded)), 42);
	assert_int_equal(WEXITSTATUS(end_of(send_it)), 42);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_page_that_is_gone_reads_as_zeroes),
		cmocka_unit_test(a_guard_can_have_larger_pages),
		cmocka_unit_test(there_may_be_many),
		cmocka_unit_test(threads_do_not_meet),
		cmocka_unit_test(elsewhere_it_is_the_end_as_before),
		cmocka_unit_test(who_had_the_signal_before_gets_it),
	};

	return cmocka_run_group_tests_name("sigbus", tests, NULL, NULL);
}
