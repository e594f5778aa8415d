#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "netmsg.h"
#include "oplink.h"
#include "test_frame.h"
#include "test_sanitized.h"
#include "test_step.h"

/* The helpers of a step in one process, with real vmstep-nets. */

#ifndef ENCRYPTED
#define ENCRYPTED 0 /* links */
#endif

#define WAIT_MS 60000
#define LONG	(256 * 1024)

static struct step s;
static struct loop *loop;
static struct loop_timer *timer;

static struct task {
	struct oplink *link;
	uint64_t n_got, n_bytes;
	uint64_t last_from[STEP_RANKS_MAX]; /* numbers in messages go up */
	uint64_t n_ended[OPMSG_ENDS], n_awaited;
} tasks[STEP_RANKS_MAX];

static char big[1024 * 1024];

/* -- what is reported ------------------------------------------------------ */

/* A message begins with its number. */
static void on_message(uint32_t from, const char *data, size_t len, void *arg)
{
	struct task *t = arg;
	uint64_t number;

	assert_true(len >= sizeof(number));
	memcpy(&number, data, sizeof(number));
	assert_true(number > t->last_from[from]);
	t->last_from[from] = number;
	if (len > 8)
		assert_memory_equal(data + 8, big + 8, len - 8);
	t->n_got++;
	t->n_bytes += len;
}

static void (*send_more)(void); /* NULL: that is all */

static void on_ended(uint64_t id, uint32_t rank, enum opmsg_end how, void *arg)
{
	struct task *t = arg;

	assert_true(t->n_awaited > 0);
	t->n_awaited--;
	t->n_ended[how]++;
	if (send_more)
		send_more();
}

static const struct oplink_ops ops = { on_message, on_ended };

/* -- waiting --------------------------------------------------------------- */

static void on_timer(void *arg)
{
	loop_stop(loop, 1);
}

static void run_until(bool (*is_true)(void), const char *what)
{
	int64_t until = loop_now_ms() + WAIT_MS;

	while (!is_true()) {
		if (loop_now_ms() > until)
			fail_msg("never: %s", what);
		loop_timer_set(timer, 5);
		loop_run(loop);
	}
}
#define RUN_UNTIL(fn) run_until(fn, #fn)

static bool all_have_ended(void)
{
	for (uint32_t r = 0; r < s.nranks; r++)
		if (tasks[r].n_awaited)
			return false;
	return true;
}

/* -- the step -------------------------------------------------------------- */

static void give_socket(uint32_t rank)
{
	const struct netctl m = netmsg(NETCTL_OPS);
	int fd = oplink_connect(tasks[rank].link);

	assert_true(fd >= 0);
	step_send(s.ranks[rank].ctl, &m, fd);
	close(fd);
}

static void make_tasks(void)
{
	memset(tasks, 0, sizeof(tasks));
	assert_int_equal(loop_new(&loop, NULL), 0);
	assert_int_equal(loop_timer_add(loop, -1, on_timer, NULL, &timer), 0);
	for (uint32_t r = 0; r < s.nranks; r++)
		assert_int_equal(oplink_new(loop, r, s.nranks, &ops, &tasks[r],
					    &tasks[r].link, NULL),
				 0);
}

static void begin(uint32_t nnodes, uint32_t per_node)
{
	step_begin(&s, nnodes, per_node);
	make_tasks();
	for (uint32_t r = 0; r < s.nranks; r++)
		give_socket(r);
}

static void end(void)
{
	for (uint32_t r = 0; r < s.nranks; r++)
		oplink_free(tasks[r].link);
	loop_timer_free(timer);
	loop_free(loop);
	step_end(&s);
}

static int try_send(uint32_t from, const char *to_text, uint64_t number,
		    size_t len)
{
	struct rankset to = { 0 };
	uint64_t id;
	int r;

	assert_int_equal(rankset_parse(&to, to_text, strlen(to_text), NULL), 0);
	memcpy(big, &number, sizeof(number));
	r = oplink_send(tasks[from].link, &to, big, len, &id);
	if (r == 0)
		tasks[from].n_awaited += rankset_count(&to);
	rankset_done(&to);
	return r;
}

static void put(uint32_t from, const char *to, uint64_t number, size_t len)
{
	assert_int_equal(try_send(from, to, number, len), 0);
}

/* -- tests ----------------------------------------------------------------- */

static void every_task_reaches_every_other(void **state)
{
	begin(3, 2);
	for (uint32_t from = 0; from < 6; from++) {
		put(from, "0-5", 1, 100);
		put(from, "0,5", 2, LONG);
		put(from, "1-4", 2, LONG);
	}
	RUN_UNTIL(all_have_ended);
	for (uint32_t r = 0; r < 6; r++) {
		assert_int_equal(tasks[r].n_ended[OPMSG_TAKEN], 12);
		assert_int_equal(tasks[r].n_got, 12);
		assert_int_equal(tasks[r].n_bytes, 6 * (100 + LONG));
	}
	end();
}

static void one_node_needs_no_table(void **state)
{
	begin(1, 2);
	put(0, "1", 1, 100);
	put(0, "0", 1, 100); /* itself */
	RUN_UNTIL(all_have_ended);
	assert_int_equal(tasks[0].n_ended[OPMSG_TAKEN], 2);
	assert_int_equal(tasks[1].n_got, 1);
	end();
}

static void what_cannot_be_sent_is_refused_at_once(void **state)
{
	begin(1, 2);
	assert_int_equal(try_send(0, "2", 1, 8), -EINVAL);
	assert_int_equal(try_send(0, "0-", 1, 8), -EINVAL);
	assert_int_equal(try_send(0, "1", 1, OPMSG_BYTES_MAX + 1), -EMSGSIZE);
	for (unsigned int i = 0; i < OPLINK_RANK_MSGS; i++)
		put(0, "1", i + 1, 8);
	assert_int_equal(try_send(0, "1", 999, 8), -ENOBUFS);
	put(0, "0", 1, 8); /* others have room */
	RUN_UNTIL(all_have_ended);
	assert_int_equal(tasks[1].n_got, OPLINK_RANK_MSGS);
	put(0, "1", OPLINK_RANK_MSGS + 1, 8);
	RUN_UNTIL(all_have_ended);
	end();
}

static bool four_have_ended(void)
{
	return tasks[0].n_ended[OPMSG_NO_HELPER] == 1 &&
	       tasks[0].n_ended[OPMSG_TAKEN] == 3;
}

/* -- a task that is gone, its node, its vmstep-net ------------------------- */

static void a_helper_that_is_gone_is_told_of(void **state)
{
	begin(2, 2);
	close(s.ranks[3].ctl);
	s.ranks[3].ctl = -1;
	oplink_lost(tasks[3].link);
	step_wait_log(&s, 1, "ended before its VM was done");
	put(0, "0-3", 1, 100);
	RUN_UNTIL(four_have_ended);
	end();
}

static bool the_other_has_two(void)
{
	return tasks[1].n_got == 2;
}

static void what_a_task_says_last_arrives(void **state)
{
	begin(2, 1);
	put(0, "1", 1, 100);
	RUN_UNTIL(all_have_ended);
	put(0, "1", 2, LONG);
	oplink_free(tasks[0].link);
	tasks[0].link = NULL;
	RUN_UNTIL(the_other_has_two);
	end();
}

static void a_task_that_has_not_come_is_waited_for(void **state)
{
	step_start(&s, 2, 2, NULL);
	for (uint32_t r = 0; r < 3; r++)
		step_hello_of(&s, r);
	step_table(&s);
	make_tasks();
	for (uint32_t r = 0; r < 3; r++)
		give_socket(r);
	put(0, "2-3", 1, 100);
	while (!tasks[0].n_ended[OPMSG_TAKEN]) {
		loop_timer_set(timer, 5);
		loop_run(loop);
	}
	step_hello_of(&s, 3);
	give_socket(3);
	RUN_UNTIL(all_have_ended);
	assert_int_equal(tasks[3].n_got, 1);
	end();
}

static bool one_has_ended(void)
{
	return tasks[0].n_awaited == 0;
}

static void a_node_that_is_gone_is_told_of(void **state)
{
	begin(2, 1);
	put(0, "1", 1, 100);
	RUN_UNTIL(one_has_ended);
	s.may_fail = true;
	step_leave(&s, 1);
	step_wait_end(&s, 1);
	put(0, "1", 2, 100);
	RUN_UNTIL(one_has_ended);
	assert_int_equal(tasks[0].n_ended[OPMSG_TAKEN], 1);
	assert_int_equal(tasks[0].n_ended[OPMSG_NO_HELPER] +
				 tasks[0].n_ended[OPMSG_UNREACHABLE] +
				 tasks[0].n_ended[OPMSG_LOST],
			 1);
	end();
}

/* @node's is killed and comes back while messages are on their way: each ends
 * once, those that are told to have arrived have, and the next one arrives. */
static void restart_in_mid_stream(uint32_t node)
{
	uint64_t n = 0, told;

	begin(2, 1);
	for (int i = 0; i < 30; i++)
		if (try_send(0, "1", n + 1, 64 * 1024) == 0)
			n++;
	loop_timer_set(timer, 1);
	loop_run(loop);
	step_restart(&s, node);
	oplink_lost(tasks[node].link);
	give_socket(node);
	step_table_to(&s, node, s.key);
	RUN_UNTIL(all_have_ended);
	told = tasks[0].n_ended[OPMSG_TAKEN];
	assert_int_equal(told + tasks[0].n_ended[OPMSG_LOST] +
				 tasks[0].n_ended[OPMSG_UNREACHABLE],
			 n);
	assert_true(tasks[1].n_got >= told);
	put(0, "1", 1000, 100);
	RUN_UNTIL(all_have_ended);
	assert_int_equal(tasks[0].n_ended[OPMSG_TAKEN], told + 1);
	end();
}

static void the_senders_vmstep_net_is_killed(void **state)
{
	restart_in_mid_stream(0);
}

static void the_receivers_vmstep_net_is_killed(void **state)
{
	restart_in_mid_stream(1);
}

static void without_a_vmstep_net_all_ends(void **state)
{
	begin(1, 2);
	oplink_lost(tasks[0].link);
	put(0, "1", 1, 100); /* waits for the next one */
	oplink_over(tasks[0].link);
	assert_int_equal(tasks[0].n_ended[OPMSG_UNREACHABLE], 1);
	assert_int_equal(try_send(0, "1", 2, 100), -ENOTCONN);
	end();
}

/* -- one that does not read ------------------------------------------------ */

/* A socket that nobody reads, in place of @rank's. */
static int stop_reading(uint32_t rank)
{
	const struct netctl m = netmsg(NETCTL_OPS);
	int sv[2];

	assert_int_equal(
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv), 0);
	step_send(s.ranks[rank].ctl, &m, sv[1]);
	close(sv[1]);
	oplink_lost(tasks[rank].link);
	return sv[0];
}

static uint64_t sent_to_2, sent_to_3;

static void send_to_both(void)
{
	while (try_send(0, "2", sent_to_2 + 1, 64 * 1024) == 0)
		sent_to_2++;
	while (sent_to_3 < 20000 && try_send(1, "3", sent_to_3 + 1, 1000) == 0)
		sent_to_3++;
}

static bool three_has_all(void)
{
	return tasks[1].n_ended[OPMSG_TAKEN] == 20000;
}

static void one_that_does_not_read_stops_nobody(void **state)
{
	int fd;

	begin(2, 2);
	fd = stop_reading(2);
	sent_to_2 = sent_to_3 = 0;
	send_more = send_to_both;
	send_to_both();
	RUN_UNTIL(three_has_all);
	send_more = NULL;
	assert_int_equal(tasks[3].n_got, 20000);
	assert_int_equal(tasks[1].n_ended[OPMSG_FULL], 0);
	assert_int_equal(tasks[0].n_ended[OPMSG_TAKEN], 0);
	for (uint32_t n = 0; n < 2 && !SANITIZED; n++)
		assert_true(step_status(&s, n, "VmRSS:") < 64 * 1024);
	close(s.ranks[2].ctl);
	s.ranks[2].ctl = -1;
	RUN_UNTIL(all_have_ended);
	close(fd);
	end();
}

/* -- beside frames ----------------------------------------------------------
 */

#define FRAMES (SANITIZED ? 2000 : 20000)
#define FRAME  1500

/* Rank 0's guest sends FRAMES to rank 1's, as fast as they go. */
static pid_t start_sender(void)
{
	static uint8_t frame[FRAME];
	pid_t pid = fork();

	if (pid)
		return pid;
	test_frame(frame, 1, 0, FRAME);
	for (int i = 0; i < FRAMES; i++)
		step_put(&s, 0, frame, FRAME);
	_exit(0);
}

/* Rank 1's guest takes them: none is lost between two that keep up. */
static pid_t start_receiver(void)
{
	static uint8_t frame[65536];
	pid_t pid = fork();

	if (pid)
		return pid;
	for (int i = 0; i < FRAMES; i++)
		if (step_get(&s, 1, frame, sizeof(frame)) != FRAME)
			_exit(1);
	_exit(0);
}

static pid_t receiver;
static uint64_t n_beside;

static void send_beside(void)
{
	while (try_send(0, "1", n_beside + 1, 64 * 1024) == 0)
		n_beside++;
}

static bool receiver_has_all(void)
{
	int status;

	if (receiver && waitpid(receiver, &status, WNOHANG) == receiver) {
		assert_int_equal(status, 0);
		receiver = 0;
	}
	return !receiver && tasks[1].n_got >= 200;
}

static void frames_and_messages_share_a_link(void **state)
{
	pid_t sender;

	begin(2, 1);
	receiver = start_receiver();
	sender = start_sender();
	assert_true(receiver > 0 && sender > 0);
	n_beside = 0;
	send_more = send_beside;
	send_beside();
	RUN_UNTIL(receiver_has_all);
	send_more = NULL;
	assert_int_equal(waitpid(sender, NULL, 0), sender);
	RUN_UNTIL(all_have_ended);
	assert_int_equal(tasks[0].n_ended[OPMSG_TAKEN], n_beside);
	end();
}

/* -- many ------------------------------------------------------------------ */

#define MANY (SANITIZED ? 50000 : 1000000)

static uint64_t n_sent;

static void send_many(void)
{
	while (n_sent < MANY && try_send(0, "1", n_sent + 1, 32) == 0)
		n_sent++;
}

static bool all_have_arrived(void)
{
	return tasks[0].n_ended[OPMSG_TAKEN] == MANY;
}

static void a_million_arrive_once_and_in_order(void **state)
{
	begin(2, 1);
	n_sent = 0;
	send_more = send_many;
	send_many();
	RUN_UNTIL(all_have_arrived);
	send_more = NULL;
	assert_int_equal(tasks[1].n_got, MANY);
	assert_int_equal(tasks[1].last_from[0], MANY);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_task_reaches_every_other),
		cmocka_unit_test(one_node_needs_no_table),
		cmocka_unit_test(what_cannot_be_sent_is_refused_at_once),
		cmocka_unit_test(a_helper_that_is_gone_is_told_of),
		cmocka_unit_test(what_a_task_says_last_arrives),
		cmocka_unit_test(a_task_that_has_not_come_is_waited_for),
		cmocka_unit_test(a_node_that_is_gone_is_told_of),
		cmocka_unit_test(the_senders_vmstep_net_is_killed),
		cmocka_unit_test(the_receivers_vmstep_net_is_killed),
		cmocka_unit_test(without_a_vmstep_net_all_ends),
		cmocka_unit_test(one_that_does_not_read_stops_nobody),
		cmocka_unit_test(frames_and_messages_share_a_link),
		cmocka_unit_test(a_million_arrive_once_and_in_order),
	};

	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = (char)(i * 31 + (i >> 12));
	if (ENCRYPTED)
		step_links = "--encrypt";
	return cmocka_run_group_tests(tests, NULL, NULL);
}
