/* test_dpdk.c - DPDK's virtio-user, a front end that others wrote
 *
 * testpmd plays two guests, one on the node of the test's own and one on the
 * other node: it sends each frame back, with its addresses swapped. It needs
 * neither huge pages nor root; its memory is a memfd without seals.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "loop.h"
#include "test_frame.h"
#include "test_step.h"

#define TESTPMD	 "dpdk-testpmd"
#define FRAMES	 2000
#define AHEAD	 32 /* so many are on their way at once */
#define START_MS 30000

struct testpmd {
	pid_t pid;
	uint32_t rank;
	int in; /* its stdin: it ends when that is closed */
	char dir[64], socket[96], log[96];
};

static struct step s;
static struct testpmd guests[2];

/* -- testpmd --------------------------------------------------------------- */

static bool is_installed(void)
{
	return system("command -v " TESTPMD " >/dev/null") == 0;
}

/* Its two threads, on CPUs that we may use. */
static void lcores_text(char *text, size_t size)
{
	int first = -1, last = -1;
	cpu_set_t cpus;

	assert_int_equal(sched_getaffinity(0, sizeof(cpus), &cpus), 0);
	for (int i = 0; i < CPU_SETSIZE; i++) {
		if (!CPU_ISSET(i, &cpus))
			continue;
		first = first < 0 ? i : first;
		last = i;
	}
	snprintf(text, size, "--lcores=0@%d,1@%d", first, last);
}

static void exec_testpmd(const struct testpmd *g, int in)
{
	char lcores[48], prefix[64], vdev[256];
	int log = open(g->log, O_WRONLY | O_CREAT, 0600);

	lcores_text(lcores, sizeof(lcores));
	snprintf(prefix, sizeof(prefix), "--file-prefix=vmstep%d",
		 (int)getpid());
	snprintf(vdev, sizeof(vdev),
		 "--vdev=virtio_user0,path=%s,server=1,mac=52:54:00:00:00:%02x",
		 g->socket, g->rank);
	prctl(PR_SET_PDEATHSIG, SIGKILL);	/* it would spin for ever */
	setenv("RUNTIME_DIRECTORY", g->dir, 1); /* root's own is elsewhere */
	dup2(in, STDIN_FILENO);
	dup2(log, STDOUT_FILENO);
	dup2(log, STDERR_FILENO);
	execlp(TESTPMD, TESTPMD, lcores, "--no-huge", "-m", "64", "--no-pci",
	       "--no-telemetry", "--no-shconf", prefix, vdev, "--",
	       "--forward-mode=macswap", "--total-num-mbufs=4096",
	       (char *)NULL);
	_exit(127);
}

static void start_testpmd(struct testpmd *g, uint32_t rank)
{
	int in[2];

	g->rank = rank;
	snprintf(g->dir, sizeof(g->dir), "/tmp/vmstep-dpdk-test.XXXXXX");
	assert_non_null(mkdtemp(g->dir));
	snprintf(g->socket, sizeof(g->socket), "%s/port.sock", g->dir);
	snprintf(g->log, sizeof(g->log), "%s/log", g->dir);
	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	g->in = in[1];
	g->pid = fork();
	assert_true(g->pid >= 0);
	if (g->pid == 0)
		exec_testpmd(g, in[0]);
	close(in[0]);
}

static int connect_testpmd(const struct testpmd *g)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int64_t until = loop_now_ms() + START_MS;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(un.sun_path, sizeof(un.sun_path), "%s", g->socket);
	while (connect(fd, (struct sockaddr *)&un, sizeof(un)) < 0) {
		if (loop_now_ms() > until)
			fail_msg(TESTPMD " does not listen: see %s", g->log);
		poll(NULL, 0, 10);
	}
	return fd;
}

static void end_testpmd(struct testpmd *g)
{
	char command[128];

	close(g->in);
	kill(g->pid, SIGTERM);
	waitpid(g->pid, NULL, 0);
	snprintf(command, sizeof(command), "rm -rf %s", g->dir);
	assert_int_equal(system(command), 0);
}

/* -- frames ---------------------------------------------------------------- */

static size_t length_of(unsigned int i)
{
	return 60 + i * 37 % 1455;
}

static size_t make(uint8_t *frame, uint32_t to, uint32_t from, unsigned int i)
{
	size_t len = test_frame(frame, to, from, length_of(i));

	memset(frame + 14, (int)i, len - 14);
	return len;
}

/* There when it answers: what is sent before is lost. */
static void wait_until_there(const struct testpmd *g)
{
	int64_t until = loop_now_ms() + START_MS;
	uint8_t frame[2048];
	size_t len = test_frame(frame, g->rank, 0, 60);

	do {
		if (loop_now_ms() > until)
			fail_msg(TESTPMD " does not forward: see %s", g->log);
		step_put(&s, 0, frame, len);
	} while (!step_has_frame(&s, 0, 50));
	do
		step_get(&s, 0, frame, sizeof(frame));
	while (step_has_frame(&s, 0, 500));
}

static void there_and_back(const struct testpmd *g)
{
	uint8_t frame[2048];
	unsigned int sent = 0, back = 0;

	wait_until_there(g);
	while (back < FRAMES) {
		while (sent < FRAMES && sent - back < AHEAD) {
			size_t len = make(frame, g->rank, 0, sent++);

			step_put(&s, 0, frame, len);
		}
		make(frame, 0, g->rank, back);
		step_expect_frame(&s, 0, frame, length_of(back));
		back++;
	}
	assert_false(step_has_frame(&s, 0, 50));
}

static void set_up_step(void)
{
	for (unsigned int i = 0; i < 2; i++)
		start_testpmd(&guests[i], 1 + 2 * i);
	step_start(&s, 2, 2, NULL);
	for (uint32_t r = 0; r < 4; r += 2)
		step_hello_of(&s, r);
	for (unsigned int i = 0; i < 2; i++)
		step_hello_with(&s, guests[i].rank, NETCTL_VHOST_USER,
				connect_testpmd(&guests[i]));
	step_table(&s);
}

static void frames_go_to_virtio_user_and_back(void **state)
{
	if (!is_installed())
		skip();
	set_up_step();
	there_and_back(&guests[0]); /* of the same node */
	there_and_back(&guests[1]); /* of the other */
	for (unsigned int i = 0; i < 2; i++)
		end_testpmd(&guests[i]);
	step_wait_log(&s, 0, "port of vm[1] closed");
	step_end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_go_to_virtio_user_and_back),
	};

	return cmocka_run_group_tests_name("dpdk", tests, NULL, NULL);
}
