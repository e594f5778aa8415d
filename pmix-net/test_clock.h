/* test_clock.h - time that passes when the test says so
 *
 * For tests of what happens in one process, so that no busy machine can make
 * them late. Include cmocka.h, with what that wants, before it.
 */
#ifndef VMSTEP_TEST_CLOCK_H
#define VMSTEP_TEST_CLOCK_H

#include "loop.h"

struct test_clock {
	struct loop *loop;
	struct loop_timer *stop;
};

static inline void test_clock_on_stop(void *arg)
{
	loop_stop(((struct test_clock *)arg)->loop, 0);
}

/* @c stays where it is, and its loop has no timers yet: this one is the last
 * of those that are due. */
static inline void test_clock_start(struct test_clock *c, struct loop *l)
{
	c->loop = l;
	loop_clock_stop();
	assert_int_equal(loop_timer_add(l, -1, test_clock_on_stop, c, &c->stop),
			 0);
}

/* What can be done now. */
static inline void test_clock_turn(struct test_clock *c)
{
	loop_timer_set(c->stop, 0);
	assert_int_equal(loop_run(c->loop), 0);
}

/* Now, and in each of the next @ms. */
static inline void test_clock_pass(struct test_clock *c, int64_t ms)
{
	test_clock_turn(c);
	while (ms-- > 0) {
		loop_skip(1);
		test_clock_turn(c);
	}
}

#endif
