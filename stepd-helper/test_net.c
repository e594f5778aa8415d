#include <config.h>

#include <dirent.h>
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
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "net.h"
#include "netproc.h"

/* The helpers of one node in one process, with a real vmstep-net. */

#define HELPERS_MAX 4
#define WAIT_MS	    60000

struct helper {
	struct task task;
	struct net *net;
	int qemu; /* its end of the port; -1: none */
	unsigned int n_welcome, n_ready, n_done;
	char lost[ERRMSG_MAX], gone[ERRMSG_MAX];
};

static struct fixture {
	char dir[64];
	struct loop *loop;
	struct loop_timer *timer;
	struct spec spec;
	uint32_t n;
	struct helper h[HELPERS_MAX];
} f;

/* -- what is reported ------------------------------------------------------ */

static void on_welcome(const char *link, void *arg)
{
	((struct helper *)arg)->n_welcome++;
	assert_string_equal(link, "");
}

static void on_all(enum netctl_state state, void *arg)
{
	struct helper *h = arg;

	h->n_ready += state == NETCTL_READY;
	h->n_done += state == NETCTL_DONE;
}

static void on_lost(const char *text, void *arg)
{
	snprintf(((struct helper *)arg)->lost, ERRMSG_MAX, "%s", text);
}

static void on_gone(const char *why, void *arg)
{
	struct helper *h = arg;

	assert_string_equal(h->gone, ""); /* once */
	snprintf(h->gone, ERRMSG_MAX, "%s", why);
}

static const struct net_ops ops = { on_welcome, on_all, on_lost, on_gone };

/* -- waiting --------------------------------------------------------------- */

static void on_timer(void *arg)
{
	loop_stop(f.loop, 1);
}

/* Let events happen until @is_true. */
static void run_until(bool (*is_true)(void), const char *what)
{
	int64_t until = loop_now_ms() + WAIT_MS;

	while (!is_true()) {
		if (loop_now_ms() > until)
			fail_msg("never: %s", what);
		loop_timer_set(f.timer, 5);
		loop_run(f.loop);
	}
}
#define RUN_UNTIL(fn) run_until(fn, #fn)

/* -- vmstep-net ------------------------------------------------------------ */

static bool is_ours(const char *pid)
{
	char path[64], line[4096] = "";
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%.20s/cmdline", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : read(fd, line, sizeof(line) - 1);
	if (fd >= 0)
		close(fd);
	return n > 0 && strstr(line, "vmstep-net") &&
	       memmem(line, (size_t)n, f.dir, strlen(f.dir));
}

/* Its process, by the log that it was given; 0: none. How many there are goes
 * to *n. */
static pid_t find_net(unsigned int *n)
{
	struct dirent *e;
	DIR *d = opendir("/proc");
	pid_t pid = 0;

	*n = 0;
	while ((e = readdir(d)))
		if (e->d_name[0] >= '1' && e->d_name[0] <= '9' &&
		    is_ours(e->d_name)) {
			pid = (pid_t)atoi(e->d_name);
			++*n;
		}
	closedir(d);
	return pid;
}

static bool net_is_gone(void)
{
	unsigned int n;

	return !find_net(&n);
}

static pid_t kill_net(void)
{
	unsigned int n;
	pid_t pid = find_net(&n);

	assert_int_equal(n, 1);
	assert_int_equal(kill(pid, SIGKILL), 0);
	return pid;
}

/* -- the helpers ----------------------------------------------------------- */

static void begin(uint32_t n, int net)
{
	memset(&f, 0, sizeof(f));
	snprintf(f.dir, sizeof(f.dir), "/tmp/vmstep-test-net.XXXXXX");
	assert_non_null(mkdtemp(f.dir));
	assert_int_equal(loop_new(&f.loop, NULL), 0);
	assert_int_equal(loop_timer_add(f.loop, -1, on_timer, NULL, &f.timer),
			 0);
	f.n = n;
	f.spec = (struct spec){
		.net = net,
		.cidr = { 0x0a000000, 8 },
		.mtu = 9000,
		.hostname_pattern = (char *)(uintptr_t) "vm%t",
		.domain = (char *)(uintptr_t) "",
	};
	for (uint32_t r = 0; r < n; r++) {
		struct helper *h = &f.h[r];

		h->qemu = -1;
		h->task = (struct task){
			.step_dir = f.dir,
			.node = "localhost",
			.rank = r,
			.ranks = n,
			.local_tasks = n,
			.net_device = "",
			.net_port_range = "",
			.net_link = "tcp",
			.sandbox = true,
			.sandbox_paths = "",
			.lost_after_s = 30,
		};
		assert_int_equal(rankset_add(&h->task.local_ranks, 0, n - 1),
				 0);
	}
}

static void come(uint32_t rank)
{
	struct helper *h = &f.h[rank];

	assert_int_equal(
		net_new(f.loop, &h->task, &f.spec, &ops, h, &h->net, NULL), 0);
	h->qemu = net_port_fd(h->net);
	net_qemu_runs(h->net);
}

static bool all_are_welcome(void)
{
	for (uint32_t r = 0; r < f.n; r++)
		if (f.h[r].net && !f.h[r].n_welcome)
			return false;
	return true;
}

static void begin_all(uint32_t n, int net)
{
	begin(n, net);
	for (uint32_t r = 0; r < n; r++)
		come(r);
	RUN_UNTIL(all_are_welcome);
}

static void leave(uint32_t rank)
{
	struct helper *h = &f.h[rank];

	net_free(h->net);
	h->net = NULL;
	if (h->qemu >= 0)
		close(h->qemu);
	h->qemu = -1;
}

static void end(void)
{
	static const char *const names[] = { "net.lock", "net.log",
					     "net.sock" };
	char path[128];

	for (uint32_t r = 0; r < f.n; r++) {
		leave(r);
		rankset_done(&f.h[r].task.local_ranks);
	}
	RUN_UNTIL(net_is_gone);
	loop_timer_free(f.timer);
	loop_free(f.loop);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", f.dir, names[i]);
		unlink(path);
	}
	assert_int_equal(rmdir(f.dir), 0);
}

static void say_all(enum netctl_state state)
{
	for (uint32_t r = 0; r < f.n; r++)
		if (f.h[r].net)
			net_send_state(f.h[r].net, state);
}

static bool all_are_ready(void)
{
	for (uint32_t r = 0; r < f.n; r++)
		if (f.h[r].net && !f.h[r].n_ready)
			return false;
	return true;
}

static bool all_are_done(void)
{
	for (uint32_t r = 0; r < f.n; r++)
		if (f.h[r].net && !f.h[r].n_done)
			return false;
	return true;
}

static bool all_are_told(void)
{
	for (uint32_t r = 0; r < f.n; r++)
		if (f.h[r].net && !f.h[r].gone[0] && !f.h[r].lost[0])
			return false;
	return true;
}

static void nobody_was_lost(void)
{
	for (uint32_t r = 0; r < f.n; r++) {
		assert_string_equal(f.h[r].lost, "");
		assert_string_equal(f.h[r].gone, "");
		assert_true(f.h[r].n_welcome <= 1);
	}
}

/* Kill it, and let the helpers notice: ALL ready is told anew. */
static void restart(void)
{
	unsigned int n;
	pid_t old;

	for (uint32_t r = 0; r < f.n; r++)
		f.h[r].n_ready = 0;
	old = kill_net();
	RUN_UNTIL(all_are_ready);
	assert_int_not_equal(find_net(&n), old);
	assert_int_equal(n, 1);
}

/* -- frames ---------------------------------------------------------------- */

static void send_frame(uint32_t from, uint32_t to, uint8_t mark)
{
	uint8_t frame[60] = { 0x52,	   0x54,	  0,	0,    0,
			      (uint8_t)to, 0x52,	  0x54, 0,    0,
			      0,	   (uint8_t)from, 0x88, 0xb5, mark };

	assert_int_equal(
		send(f.h[from].qemu, frame, 60, MSG_NOSIGNAL | MSG_DONTWAIT),
		60);
}

static struct {
	uint32_t from, to;
	uint8_t mark;
} wanted;

static bool frame_is_there(void)
{
	uint8_t frame[2048];
	ssize_t n =
		recv(f.h[wanted.to].qemu, frame, sizeof(frame), MSG_DONTWAIT);

	if (n == 60 && frame[14] == wanted.mark)
		return true;
	send_frame(wanted.from, wanted.to, wanted.mark);
	return false;
}

/* Until the ports of both are there frames are lost, as on any Ethernet: it is
 * sent again. */
static void expect_frames(uint32_t from, uint32_t to, uint8_t mark)
{
	wanted.from = from;
	wanted.to = to;
	wanted.mark = mark;
	RUN_UNTIL(frame_is_there);
}

/* -- tests ----------------------------------------------------------------- */

static void killed_it_is_started_again(void **state)
{
	begin_all(4, NET_DGRAM);
	say_all(NETCTL_READY);
	RUN_UNTIL(all_are_ready);
	for (uint8_t i = 0; i < 5; i++) {
		expect_frames(i % 4, (i + 1) % 4, i);
		restart();
	}
	expect_frames(2, 0, 99);
	say_all(NETCTL_DONE);
	RUN_UNTIL(all_are_done);
	nobody_was_lost();
	end();
}

static void what_is_said_meanwhile_arrives(void **state)
{
	begin_all(2, NET_DGRAM);
	say_all(NETCTL_READY);
	RUN_UNTIL(all_are_ready);
	kill_net();
	net_send_state(f.h[0].net, NETCTL_DONE);
	net_send_state(f.h[1].net, NETCTL_DONE);
	RUN_UNTIL(all_are_done);
	expect_frames(0, 1, 7);
	nobody_was_lost();
	end();
}

/* Who comes while there is none has no sockets to start it with. */
static void who_comes_meanwhile_leaves_it_to_the_others(void **state)
{
	unsigned int n;

	begin(3, NET_DGRAM);
	come(0);
	come(1);
	RUN_UNTIL(all_are_welcome);
	kill_net();
	come(2);
	RUN_UNTIL(all_are_welcome);
	find_net(&n);
	assert_int_equal(n, 1);
	say_all(NETCTL_READY);
	RUN_UNTIL(all_are_ready);
	nobody_was_lost();
	end();
}

static bool two_have_left(void)
{
	char path[128], text[4096] = "";
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/net.lock", f.dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	return n > 0 && strstr(text, "left 0\n") && strstr(text, "left 1\n");
}

static void any_one_can_start_it_when_the_first_has_left(void **state)
{
	begin_all(3, NET_NONE);
	say_all(NETCTL_READY);
	RUN_UNTIL(all_are_ready);
	net_send_state(f.h[0].net, NETCTL_DONE);
	leave(0);
	net_send_state(f.h[1].net, NETCTL_DONE);
	leave(1);
	RUN_UNTIL(two_have_left);
	restart();
	restart();
	net_send_state(f.h[2].net, NETCTL_DONE);
	RUN_UNTIL(all_are_done); /* also what those said that have left */
	nobody_was_lost();
	end();
}

static void a_stream_cannot_be_given_again(void **state)
{
	begin_all(2, NET_STREAM);
	kill_net();
	RUN_UNTIL(all_are_told);
	for (uint32_t r = 0; r < 2; r++)
		assert_non_null(strstr(f.h[r].gone, "--vm-net=stream cannot"));
	end();
}

static void reason_is_told(const char *text)
{
	for (uint32_t r = 0; r < f.n; r++)
		assert_non_null(strstr(f.h[r].gone, text));
}

/* As often as it is there. */
static bool killed_for_good(void)
{
	unsigned int n;
	pid_t pid = find_net(&n);

	if (pid)
		kill(pid, SIGKILL);
	return all_are_told();
}

static void one_that_dies_again_and_again_is_given_up(void **state)
{
	begin_all(2, NET_DGRAM);
	RUN_UNTIL(killed_for_good);
	reason_is_told("times within");
	end();
}

static void one_that_cannot_start_says_why(void **state)
{
	begin(1, NET_DGRAM);
	f.h[0].task.ranks = 2; /* of two nodes: there is to be a link */
	f.h[0].task.net_device = "none0";
	f.h[0].task.local_ranks.ranges[0].last = 0;
	come(0);
	RUN_UNTIL(all_are_told);
	assert_non_null(strstr(f.h[0].lost, "none0"));
	end();
}

static bool is_welcome(void)
{
	return f.h[0].n_welcome == 1;
}

/* Its reader was there when the helper opened it. */
static void a_log_that_nobody_reads_any_more_stops_nobody(void **state)
{
	char path[96];
	int reader;

	begin(1, NET_DGRAM);
	snprintf(path, sizeof(path), "%s/fifo", f.dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	f.spec.log = path;
	f.spec.log_fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	assert_true(f.spec.log_fd >= 0);
	close(reader);
	come(0);
	RUN_UNTIL(is_welcome);
	unlink(path);
	close(f.spec.log_fd);
	f.spec.log = NULL;
	end();
}

/* A vmstep-net that has the lock and no ears: nobody starts a second one. */
static void the_lock_tells_whether_it_lives(void **state)
{
	struct errmsg err;
	int dir, lock, again;

	begin(1, NET_NONE);
	dir = open(f.dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(netproc_connect(dir), -ENOENT);
	lock = netproc_lock(dir, &err);
	assert_true(lock >= 0);
	again = dup(lock);
	assert_int_equal(netproc_lock(dir, &err), -EAGAIN);
	close(lock);
	assert_int_equal(netproc_lock(dir, &err), -EAGAIN);
	close(again);
	lock = netproc_lock(dir, &err);
	assert_true(lock >= 0);
	close(lock);
	close(dir);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_lock_tells_whether_it_lives),
		cmocka_unit_test(killed_it_is_started_again),
		cmocka_unit_test(what_is_said_meanwhile_arrives),
		cmocka_unit_test(who_comes_meanwhile_leaves_it_to_the_others),
		cmocka_unit_test(any_one_can_start_it_when_the_first_has_left),
		cmocka_unit_test(a_stream_cannot_be_given_again),
		cmocka_unit_test(one_that_dies_again_and_again_is_given_up),
		cmocka_unit_test(one_that_cannot_start_says_why),
		cmocka_unit_test(a_log_that_nobody_reads_any_more_stops_nobody),
	};

	/* vmstep-net is not dumpable, so a leak checker could not stop it */
	setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
	return cmocka_run_group_tests_name("net", tests, NULL, NULL);
}
