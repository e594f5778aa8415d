/* Links over UCX, with a peer that holds the key, and lies; and strangers. */
#include <config.h>

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "auth.h"
#include "cleanup.h"
#include "link_kind.h"
#include "tcp_socket.h"
#include "test_frame.h"
#include "test_step.h"
#include "ucx_worker.h"

#define SECRET 16

static struct step s;
static struct loop *loop;
static struct ucx_worker *worker;
static struct ucx_ep *ep;
static uint8_t frame[2048];
static struct {
	uint8_t secret[SECRET];
	uint8_t index[4];
	uint8_t address[8192];
} theirs;
static size_t messages;

/* -- our end of UCX ------------------------------------------------------- */

static void on_message(const uint8_t *header, const uint8_t *data, size_t len,
		       void *arg)
{
	messages++;
}

static void on_stray(void *arg)
{
	fail_msg("a message without a header");
}

static bool sent;

static void on_sent(void *what, void *arg)
{
	sent = true;
	loop_stop(loop, 0);
}

static void on_failed(void *owner, const char *why, void *arg)
{
}

static const struct ucx_worker_events events = {
	.message = on_message,
	.stray = on_stray,
	.sent = on_sent,
	.failed = on_failed,
};

static void on_late(void *arg)
{
	fail_msg("UCX does not send");
}

static void send_whole(const uint8_t *header, const uint8_t *data, size_t len)
{
	struct loop_timer *t;

	assert_int_equal(loop_timer_add(loop, STEP_WAIT_MS, on_late, NULL, &t),
			 0);
	sent = false;
	ucx_send(ep, header, data, len, &sent);
	while (!sent)
		loop_run(loop);
	ucx_worker_poll(worker);
	loop_timer_free(t);
}

static void hear(void)
{
	int64_t until = loop_now_ms() + STEP_WAIT_MS;

	for (; !messages; ucx_worker_poll(worker))
		assert_true(loop_now_ms() < until);
}

/* -- and of the connection ------------------------------------------------ */

static void read_exactly(int fd, void *data, size_t len)
{
	for (size_t n = 0; n < len;) {
		struct pollfd p = { fd, POLLIN, 0 };
		ssize_t r;

		assert_int_equal(poll(&p, 1, STEP_WAIT_MS), 1);
		r = recv(fd, (uint8_t *)data + n, len - n, 0);
		assert_true(r > 0);
		n += (size_t)r;
	}
}

static void send_open(int fd, const void *offer, size_t len)
{
	uint8_t open[8 + 8192];

	wire_put32(open, WIRE_OPEN);
	wire_put32(open + 4, (uint32_t)len);
	memcpy(open + 8, offer, len);
	assert_int_equal(send(fd, open, 8 + len, MSG_NOSIGNAL), 8 + len);
}

static int prove(void)
{
	struct auth a = {
		.node = 1, .nnodes = 2, .name = "liar", .flags = WIRE_UCX
	};
	struct wire_hello mine, other;
	struct pollfd p = { .events = POLLOUT };
	uint8_t proof[WIRE_PROOF];

	memcpy(a.key, s.key, sizeof(a.key));
	p.fd = tcp_connect(link_kind_plain(s.nodes[0].address), NULL);
	assert_int_equal(poll(&p, 1, STEP_WAIT_MS), 1);
	assert_int_equal(auth_hello(&a, &mine, NULL), 0);
	assert_int_equal(send(p.fd, &mine, sizeof(mine), 0), sizeof(mine));
	read_exactly(p.fd, &other, sizeof(other));
	assert_int_equal(
		auth_proof(&a, AUTH_DIALLER, &mine, &other, proof, NULL), 0);
	assert_int_equal(send(p.fd, proof, sizeof(proof), 0), sizeof(proof));
	read_exactly(p.fd, proof, sizeof(proof));
	return p.fd;
}

/* We are node 1: it has no process of its own. */
static int begin(void)
{
	uint8_t header[8], offer[8192] = { [0 ... SECRET - 1] = 7 };
	const uint8_t *address;
	size_t len;
	int fd;

	messages = 0;
	step_links = "--kind=ucx";
	step_start(&s, 2, 1, NULL);
	step_hello(&s);
	step_leave(&s, 1);
	step_wait_end(&s, 1);
	step_table_to(&s, 0, s.key);
	assert_int_equal(loop_new(&loop, NULL), 0);
	assert_int_equal(
		ucx_worker_new(loop, false, "lo", &events, NULL, &worker, NULL),
		0);
	fd = prove();
	address = ucx_worker_address(worker, &len);
	memcpy(offer + SECRET + 4, address, len);
	send_open(fd, offer, SECRET + 4 + len);
	read_exactly(fd, header, 8);
	assert_int_equal(wire_get32(header), WIRE_OPEN);
	assert_in_range(wire_get32(header + 4), SECRET + 4, sizeof(theirs));
	read_exactly(fd, &theirs, wire_get32(header + 4));
	assert_int_equal(ucx_ep_new(worker, theirs.address, &s, &ep, NULL), 0);
	return fd;
}

static void end(int fd)
{
	ucx_ep_close(ep, false, -1);
	ucx_worker_free(worker);
	loop_free(loop);
	close(fd);
	step_end(&s);
}

/* What a message says of itself. */
struct said {
	bool secret;
	uint32_t number, taken, kind;
};

static void tell(struct said h, const uint8_t *data, size_t len)
{
	static uint8_t header[UCX_HEADER_LEN];

	memcpy(header, theirs.secret, SECRET);
	header[3] ^= !h.secret;
	memcpy(header + SECRET, theirs.index, 4);
	wire_put32(header + 20, h.number);
	wire_put32(header + 24, h.taken);
	wire_put32(header + 28, h.kind);
	send_whole(header, data, len);
}

static size_t batch(uint8_t *message)
{
	wire_put32(message, WIRE_FRAMES);
	wire_put32(message + 4, 64);
	wire_put32(message + 8, 60);
	test_frame(message + 12, 0, 1, 60);
	return 72;
}

/* -- tests ---------------------------------------------------------------- */

static void a_peer_with_the_secret_is_heard(void **state)
{
	int fd = begin();
	size_t len = batch(frame);

	for (uint32_t n = 0; n < 40; n++)
		tell((struct said){ true, n, 0, 1 }, frame, len);
	for (uint32_t n = 0; n < 40; n++)
		step_expect_frame(&s, 0, frame + 12, 60);
	hear(); /* what was taken, at least */
	end(fd);
}

static void a_stranger_is_not(void **state)
{
	int fd = begin();
	size_t len = batch(frame);

	tell((struct said){ false, 0, 0, 1 }, frame, len);
	step_wait_log(&s, 0, "it does not know a link's secret");
	assert_false(step_has_frame(&s, 0, 50));
	tell((struct said){ true, 0, 0, 1 }, frame, len);
	step_expect_frame(&s, 0, frame + 12, 60);
	end(fd);
}

static void what_breaks_the_rules_ends_the_link(void **state)
{
	static const struct {
		struct said said;
		size_t len;
		uint32_t type;
	} bad[] = {
		{ { true, 1, 0, 1 }, 72, WIRE_FRAMES }, /* not the next */
		{ { true, 0, 1000, 1 }, 72, WIRE_FRAMES },
		{ { true, 0, 0, 3 }, 72, WIRE_FRAMES },
		{ { true, 0, 0, 1 }, 71, WIRE_FRAMES },
		{ { true, 0, 0, 1 }, 7, WIRE_FRAMES },
		{ { true, 0, 0, 1 }, 0, WIRE_FRAMES },
		{ { true, 0, 0, 1 }, 72, WIRE_OPEN },
		{ { true, 0, 0, 1 }, 72, 99 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		int fd = begin();

		batch(frame);
		wire_put32(frame, bad[i].type);
		tell(bad[i].said, frame, bad[i].len);
		step_wait_log(&s, 0, "liar cannot be reached: it ");
		assert_false(step_has_frame(&s, 0, 5));
		end(fd);
	}
}

static void an_offer_that_is_none_ends_the_link(void **state)
{
	int fd = begin();
	struct pollfd p = { .fd = fd, .events = POLLIN };

	send_open(fd, theirs.secret, SECRET); /* a second one, and too short */
	assert_int_equal(poll(&p, 1, STEP_WAIT_MS), 1);
	step_wait_log(&s, 0, "liar broke: it sent message 1 out of order");
	end(fd);
}

/* UCX has some of what is for us, for ever. */
static void a_peer_that_reads_nothing_does_not_keep_it(void **state)
{
	int fd = begin();

	step_put(&s, 0, frame, test_frame(frame, 1, 0, 60));
	hear();
	for (int i = 0; i < 2000; i++)
		step_put(&s, 0, frame, test_frame(frame, 1, 0, 1500));
	step_leave(&s, 0);
	step_wait_end(&s, 0);
	end(fd);
}

/* A peer that has an address, and then does nothing. */
static pid_t start_stopped_peer(uint8_t *ret_address, size_t size)
{
	struct ucx_worker *w;
	struct loop *l;
	const uint8_t *address;
	int fd[2], status;
	size_t len;
	pid_t pid;

	assert_int_equal(pipe(fd), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (loop_new(&l, NULL) < 0 ||
		    ucx_worker_new(l, false, "lo", &events, NULL, &w, NULL) < 0)
			_exit(1);
		address = ucx_worker_address(w, &len);
		if (len > size || write(fd[1], address, len) != (ssize_t)len)
			_exit(1);
		raise(SIGSTOP);
		_exit(1);
	}
	assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
	assert_true(WIFSTOPPED(status));
	assert_true(read(fd[0], ret_address, size) > 0);
	close(fd[0]);
	close(fd[1]);
	return pid;
}

static void on_wait_over(void *arg)
{
	loop_stop(loop, 0);
}

/* Nothing can be done until it goes on: so nothing is. */
static void a_peer_that_is_stopped_costs_no_cpu(void **state)
{
	uint64_t address[1024];
	struct loop_timer *t;
	clock_t before;
	pid_t pid = start_stopped_peer((uint8_t *)address, sizeof(address));

	assert_int_equal(loop_new(&loop, NULL), 0);
	assert_int_equal(
		ucx_worker_new(loop, false, "lo", &events, NULL, &worker, NULL),
		0);
	assert_int_equal(
		ucx_ep_new(worker, (const uint8_t *)address, &s, &ep, NULL), 0);
	ucx_send(ep, (const uint8_t *)theirs.address, frame, 60, &sent);
	assert_int_equal(loop_timer_add(loop, 100, on_wait_over, NULL, &t), 0);
	loop_run(loop);
	before = clock();
	loop_timer_set(t, 500);
	loop_run(loop);
	assert_true(clock() - before < CLOCKS_PER_SEC / 10);
	loop_timer_free(t);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	ucx_ep_close(ep, false, -1);
	ucx_worker_free(worker);
	loop_free(loop);
}

static void the_users_environment_does_not_count(void **state)
{
	static const char *const set[][2] = {
		{ "UCX_TLS", "sm" },
		{ "UCX_NET_DEVICES", "none0" },
		{ "UCX_TCP_MAX_POLL", "nonsense" },
		{ "UCX_MODULE_DIR", "/nonexistent" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(set); i++)
		setenv(set[i][0], set[i][1], 1);
	step_links = "--kind=ucx";
	step_begin(&s, 2, 1);
	step_put(&s, 0, frame, test_frame(frame, 1, 0, 60));
	step_expect_frame(&s, 1, frame, 60);
	step_end(&s);
	for (size_t i = 0; i < ARRAY_SIZE(set); i++)
		unsetenv(set[i][0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_users_environment_does_not_count),
		cmocka_unit_test(a_peer_with_the_secret_is_heard),
		cmocka_unit_test(a_stranger_is_not),
		cmocka_unit_test(what_breaks_the_rules_ends_the_link),
		cmocka_unit_test(an_offer_that_is_none_ends_the_link),
		cmocka_unit_test(a_peer_that_reads_nothing_does_not_keep_it),
		cmocka_unit_test(a_peer_that_is_stopped_costs_no_cpu),
	};

	return cmocka_run_group_tests_name("ucx", tests, NULL, NULL);
}
