/* test_net_mcast.c - multicast between real vmstep-net of two nodes */
#include <config.h>

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "loop.h"
#include "test_group.h"
#include "test_step.h"

#define LEN	100
#define MARK	60
#define RANKS	4u /* two on each node */
#define WAIT_MS 60000

static struct step s;
static uint8_t frame[2048], mark[MARK], got[2048];
static const struct group group = TEST_G4(239, 1, 1, 1);

/* Is there a frame for the group at @rank, before one that is for all and was
 * sent after? */
static bool has_got(uint32_t rank)
{
	bool has = false;
	size_t len;

	while ((len = step_get(&s, rank, got, sizeof(got))) == LEN) {
		assert_false(has);
		has = true;
		assert_memory_equal(got, frame, LEN);
	}
	assert_int_equal(len, MARK);
	return has;
}

/* A frame for the group from rank 0; which ranks get it, a bit each. */
static unsigned int reached(void)
{
	unsigned int set = 0;

	step_put(&s, 0, frame, test_group_data(frame, 0, &group, LEN));
	test_frame(mark, 0, 0, MARK);
	memcpy(mark, test_broadcast, ADDR_MAC_LEN);
	step_put(&s, 0, mark, MARK);
	for (uint32_t r = 1; r < RANKS; r++)
		set |= (unsigned int)has_got(r) << r;
	assert_false(step_has_frame(&s, 0, 0));
	return set;
}

/* Until just these do. */
static void wait_reached(unsigned int set)
{
	int64_t until = loop_now_ms() + WAIT_MS;
	unsigned int now;

	while ((now = reached()) != set) {
		if (loop_now_ms() > until)
			fail_msg("frames of a group reach %#x, not %#x", now,
				 set);
		poll(NULL, 0, 20);
	}
}

static void report(uint32_t rank, bool leave)
{
	step_put(&s, rank, frame, test_report(frame, rank, &group, leave));
}

static void a_group_reaches_who_joined_it_only(void **state)
{
	step_start(&s, 2, 2, "--settle=200ms");
	step_meet(&s);
	wait_reached(0); /* nobody, once they had the time to say so */
	report(3, false);
	wait_reached(1 << 3);
	for (int i = 0; i < 100; i++)
		assert_int_equal(reached(), 1 << 3);
	report(1, false);
	wait_reached(1 << 1 | 1 << 3);
	report(3, true);
	wait_reached(1 << 1);
	report(1, true);
	wait_reached(0);
	kill(s.nodes[0].pid, SIGUSR1);
	step_wait_log(&s, 0, "no_members=");
	step_end(&s);
}

/* Its guests are asked, and one answers. */
static void a_vmstep_net_that_is_killed_learns_them_again(void **state)
{
	step_begin(&s, 2, 2);
	report(3, false);
	wait_reached(1 << 3);
	step_restart(&s, 1); /* of the member's node */
	step_table_to(&s, 1, s.key);
	wait_reached(1 << 2 | 1 << 3); /* all of it, at first */
	report(3, false);
	wait_reached(1 << 3);
	step_restart(&s, 0); /* of the sender's */
	step_table_to(&s, 0, s.key);
	wait_reached(1 << 3);
	step_end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_group_reaches_who_joined_it_only),
		cmocka_unit_test(a_vmstep_net_that_is_killed_learns_them_again),
	};

	return cmocka_run_group_tests_name("net_mcast", tests, NULL, NULL);
}
