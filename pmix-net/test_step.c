#include <config.h>

#include "test_step.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "addr.h"
#include "link_wire.h"
#include "loop.h"
#include "test_frame.h"
#include "test_helper.h"

#ifndef VMSTEP_NET
#define VMSTEP_NET "./vmstep-net"
#endif
#ifndef STEP_WORKERS
#define STEP_WORKERS 1 /* or as VMSTEP_WORKERS says */
#endif

const char *step_links;

/* -- processes ------------------------------------------------------------ */

static int listen_for_helpers(const struct step_node *n)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(un.sun_path, sizeof(un.sun_path), "%s", n->socket);
	assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	assert_int_equal(listen(fd, 128), 0);
	return fd;
}

/* A descriptor for the program that this process becomes. */
static int give(int fd)
{
	return fd < 0 ? -1 : dup(fd);
}

unsigned int step_workers(void)
{
	const char *text = getenv("VMSTEP_WORKERS");

	return text ? (unsigned int)atoi(text) : STEP_WORKERS;
}

static void exec_net(const struct step *s, uint32_t node)
{
	const struct step_node *n = &s->nodes[node];
	const char *program = getenv("VMSTEP_NET");
	struct helper_conf conf = {
		.program = program ? program : VMSTEP_NET,
		.bind = "127.0.0.1",
		.log = n->log,
		.options = s->options,
		.links = step_links,
		.node = node,
		.per_node = s->per_node,
		.nranks = s->nranks,
		.workers = step_workers(),
		.ctl_fd = give(n->ctl_fd),
		.link_fd = give(n->link_fd),
	};
	char path[128];

	snprintf(path, sizeof(path), "%s/net.lock", n->dir);
	conf.lock_fd = open(path, O_RDWR | O_CREAT, 0600);
	/* it is not dumpable, so a leak checker could not stop it */
	setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
	dup2(open("/dev/null", O_RDWR), STDERR_FILENO);
	helper_exec(&conf);
	_exit(127);
}

static void start_net(struct step *s, uint32_t node)
{
	struct step_node *n = &s->nodes[node];

	n->pid = fork();
	assert_true(n->pid >= 0);
	if (n->pid == 0)
		exec_net(s, node);
}

void step_start_node(struct step *s, uint32_t node)
{
	struct step_node *n = &s->nodes[node];
	char dir[] = "/tmp/vmstep-net-test.XXXXXX";

	assert_non_null(mkdtemp(dir));
	snprintf(n->dir, sizeof(n->dir), "%s", dir);
	snprintf(n->socket, sizeof(n->socket), "%s/net.sock", dir);
	snprintf(n->log, sizeof(n->log), "%s/net.log", dir);
	n->ctl_fd = listen_for_helpers(n);
	n->link_fd = -1;
	start_net(s, node);
}

void step_start(struct step *s, uint32_t nnodes, uint32_t per_node,
		const char *options)
{
	memset(s, 0, sizeof(*s));
	s->options = options;
	s->nnodes = nnodes;
	s->per_node = per_node;
	s->nranks = nnodes * per_node;
	assert_true(nnodes <= STEP_NODES_MAX && s->nranks <= STEP_RANKS_MAX);
	for (size_t i = 0; i < sizeof(s->key); i++)
		s->key[i] = (uint8_t)(i * 7 + 1);
	for (uint32_t r = 0; r < s->nranks; r++)
		s->ranks[r] = (struct step_rank){ -1, -1, -1, NETCTL_STREAM };
	for (uint32_t n = 0; n < nnodes; n++)
		step_start_node(s, n);
}

void step_wait_end(struct step *s, uint32_t node)
{
	struct step_node *n = &s->nodes[node];
	int64_t until = loop_now_ms() + STEP_WAIT_MS;
	int status = -1;
	pid_t pid;

	while ((pid = waitpid(n->pid, &status, WNOHANG)) == 0 &&
	       loop_now_ms() < until)
		poll(NULL, 0, 2);
	if (pid != n->pid)
		fail_msg("vmstep-net of node %" PRIu32 " does not end", node);
	n->pid = 0;
	if (status && !s->may_fail)
		fail_msg("vmstep-net of node %" PRIu32
			 " ended with %#x: see %s",
			 node, (unsigned int)status, n->log);
}

static void close_end(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void kill_net(struct step *s, uint32_t node)
{
	assert_int_equal(kill(s->nodes[node].pid, SIGKILL), 0);
	assert_int_equal(waitpid(s->nodes[node].pid, NULL, 0),
			 s->nodes[node].pid);
	s->nodes[node].pid = 0;
}

static void remove_dir(const struct step_node *n)
{
	char lock[128];

	unlink(n->socket);
	unlink(n->log);
	snprintf(lock, sizeof(lock), "%s/net.lock", n->dir);
	unlink(lock);
	rmdir(n->dir);
}

void step_kill(struct step *s, uint32_t node)
{
	close_end(&s->nodes[node].ctl_fd);
	close_end(&s->nodes[node].link_fd);
	kill_net(s, node);
	remove_dir(&s->nodes[node]);
}

void step_leave(struct step *s, uint32_t node)
{
	for (uint32_t i = 0; i < s->per_node; i++) {
		struct step_rank *r = &s->ranks[node * s->per_node + i];

		close_end(&r->ctl);
		close_end(&r->qemu);
		close_end(&r->port);
	}
	close_end(&s->nodes[node].ctl_fd);
	close_end(&s->nodes[node].link_fd);
}

void step_end(struct step *s)
{
	for (uint32_t n = 0; n < s->nnodes; n++)
		step_leave(s, n);
	for (uint32_t n = 0; n < s->nnodes; n++) {
		if (s->nodes[n].pid)
			step_wait_end(s, n);
		remove_dir(&s->nodes[n]);
	}
}

/* -- the helpers ---------------------------------------------------------- */

int step_connect(const struct step *s, uint32_t node)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(un.sun_path, sizeof(un.sun_path), "%s", s->nodes[node].socket);
	assert_int_equal(connect(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	return fd;
}

void step_send(int ctl, const struct netctl *msg, int fd)
{
	assert_int_equal(netmsg_send(ctl, msg, fd), 0);
}

static bool readable(int fd, int ms)
{
	struct pollfd p = { fd, POLLIN, 0 };

	return poll(&p, 1, ms) == 1;
}

/* The next message and what it brings, but for a TABLE, if that is not what is
 * waited for. Its length, 0 at the end or below. */
static ssize_t receive_next(int ctl, struct netctl *msg,
			    int fds[NETCTL_FDS_MAX], enum netctl_type type)
{
	ssize_t n;

	for (;;) {
		n = helper_receive(ctl, STEP_WAIT_MS, msg, fds);
		if (n == -ETIMEDOUT)
			fail_msg("no message of type %d from vmstep-net",
				 (int)type);
		if (n <= 0 || type == NETCTL_TABLE || msg->type != NETCTL_TABLE)
			return n;
		close_end(&fds[0]);
	}
}

struct netctl step_expect(int ctl, enum netctl_type type)
{
	struct netctl msg = { 0 };
	int fds[NETCTL_FDS_MAX];

	assert_int_equal(receive_next(ctl, &msg, fds, type), sizeof(msg));
	assert_int_equal(msg.version, NETCTL_VERSION);
	assert_int_equal(msg.type, type);
	for (int i = 0; i < NETCTL_FDS_MAX; i++)
		close_end(&fds[i]);
	return msg;
}

void step_expect_end(int ctl)
{
	struct netctl msg = { 0 };
	int fds[NETCTL_FDS_MAX];

	assert_true(receive_next(ctl, &msg, fds, 0) <= 0);
}

static void expect_welcome(struct step *s, uint32_t rank)
{
	struct step_node *n = &s->nodes[rank / s->per_node];
	struct netctl msg = { 0 };
	int fds[NETCTL_FDS_MAX];

	assert_int_equal(
		receive_next(s->ranks[rank].ctl, &msg, fds, NETCTL_WELCOME),
		sizeof(msg));
	assert_int_equal(msg.type, NETCTL_WELCOME);
	assert_true(fds[0] >= 0);
	assert_int_equal(fds[1] >= 0, msg.welcome.link[0] != '\0');
	if (n->address[0] && !n->wired)
		assert_string_equal(n->address, msg.welcome.link);
	if (!n->wired)
		snprintf(n->address, sizeof(n->address), "%s",
			 msg.welcome.link);
	close_end(&fds[0]); /* the test has it from the start */
	close_end(&n->link_fd);
	n->link_fd = fds[1];
}

/* With several workers another guest's frame may overtake the PORT message: see
 * that the port is there. It answers this by itself. */
static void see_port_answer(struct step *s, uint32_t rank)
{
	const uint32_t net = 0x0a000001, other = (rank + 1) % s->nranks;
	uint8_t frame[WIRE_FRAME_MAX];

	step_put(s, rank, frame,
		 test_arp(frame, rank, 1, net + rank, net + other));
	do
		step_get(s, rank, frame, sizeof(frame));
	while (frame[12] != 0x08 || frame[13] != 0x06);
}

static void say_hello(struct step *s, uint32_t rank)
{
	struct step_rank *r = &s->ranks[rank];
	const struct netctl hello = helper_hello(rank, s->nranks);
	const struct netctl port = helper_port(r->kind);

	r->ctl = step_connect(s, rank / s->per_node);
	step_send(r->ctl, &hello, -1);
	step_send(r->ctl, &port, r->port);
	expect_welcome(s, rank);
	if (r->kind == NETCTL_STREAM && step_workers() > 1 && s->nranks > 1)
		see_port_answer(s, rank);
}

void step_hello_of(struct step *s, uint32_t rank)
{
	struct step_rank *r = &s->ranks[rank];
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv),
			 0);
	r->qemu = sv[0];
	r->port = sv[1];
	r->kind = NETCTL_STREAM;
	say_hello(s, rank);
}

void step_hello_with(struct step *s, uint32_t rank, enum netctl_port kind,
		     int fd)
{
	struct step_rank *r = &s->ranks[rank];

	r->port = fd;
	r->kind = kind;
	say_hello(s, rank);
}

/* It may have had news before it was killed. */
static void read_to_end(int ctl)
{
	int fds[NETCTL_FDS_MAX];
	struct netctl msg;

	while (receive_next(ctl, &msg, fds, 0) > 0)
		;
}

void step_restart(struct step *s, uint32_t node)
{
	kill_net(s, node);
	start_net(s, node);
	for (uint32_t i = 0; i < s->per_node; i++) {
		struct step_rank *r = &s->ranks[node * s->per_node + i];

		if (r->ctl < 0)
			continue;
		read_to_end(r->ctl);
		close(r->ctl);
		say_hello(s, node * s->per_node + i);
	}
}

void step_hello(struct step *s)
{
	for (uint32_t r = 0; r < s->nranks; r++)
		step_hello_of(s, r);
}

static const char *node_address(uint32_t node, const void *arg)
{
	const struct step *s = arg;

	return s->nodes[node].address;
}

void step_table_from(struct step *s, uint32_t rank, const uint8_t *key)
{
	struct netctl msg = netmsg(NETCTL_TABLE);
	int fd = helper_table(s->nnodes, s->per_node, node_address, s);

	msg.table.node = rank / s->per_node;
	msg.table.nnodes = s->nnodes;
	msg.table.nranks = s->nranks;
	memcpy(msg.table.key, key, sizeof(msg.table.key));
	assert_true(fd >= 0);
	step_send(s->ranks[rank].ctl, &msg, fd);
	close(fd);
}

void step_table_to(struct step *s, uint32_t node, const uint8_t *key)
{
	step_table_from(s, node * s->per_node, key);
}

void step_table(struct step *s)
{
	for (uint32_t n = 0; n < s->nnodes && s->nnodes > 1; n++)
		step_table_to(s, n, s->key);
}

void step_hear_table(struct step *s)
{
	for (uint32_t r = 0; r < s->nranks && s->nnodes > 1; r++)
		if (s->ranks[r].ctl >= 0)
			step_expect(s->ranks[r].ctl, NETCTL_TABLE);
}

void step_begin(struct step *s, uint32_t nnodes, uint32_t per_node)
{
	step_start(s, nnodes, per_node, NULL);
	step_meet(s);
}

void step_meet(struct step *s)
{
	step_hello(s);
	step_table(s);
	step_hear_table(s);
}

void step_say(struct step *s, uint32_t rank, enum netctl_state state)
{
	const struct netctl msg = helper_state(state);

	step_send(s->ranks[rank].ctl, &msg, -1);
}

void step_say_all(struct step *s, enum netctl_state state)
{
	for (uint32_t r = 0; r < s->nranks; r++)
		if (s->ranks[r].ctl >= 0)
			step_say(s, r, state);
}

void step_expect_all(struct step *s, enum netctl_state state)
{
	for (uint32_t r = 0; r < s->nranks; r++)
		if (s->ranks[r].ctl >= 0)
			assert_int_equal(
				step_expect(s->ranks[r].ctl, NETCTL_ALL)
					.all.state,
				state);
}

/* -- the guests ----------------------------------------------------------- */

void step_put(struct step *s, uint32_t rank, const void *frame, size_t len)
{
	uint8_t prefix[4];

	wire_put32(prefix, (uint32_t)len);
	assert_int_equal(send(s->ranks[rank].qemu, prefix, 4, MSG_NOSIGNAL), 4);
	assert_int_equal(send(s->ranks[rank].qemu, frame, len, MSG_NOSIGNAL),
			 len);
}

static void read_all(int fd, uint8_t *data, size_t len)
{
	while (len) {
		ssize_t n;

		if (!readable(fd, STEP_WAIT_MS))
			fail_msg("no frame came");
		n = recv(fd, data, len, 0);
		assert_true(n > 0);
		data += n;
		len -= (size_t)n;
	}
}

static size_t get_any(int fd, uint8_t *frame, size_t size)
{
	uint8_t prefix[4];
	size_t len;

	read_all(fd, prefix, 4);
	len = wire_get32(prefix);
	assert_true(len <= size);
	read_all(fd, frame, len);
	return len;
}

size_t step_get(struct step *s, uint32_t rank, uint8_t *frame, size_t size)
{
	size_t len;

	do
		len = get_any(s->ranks[rank].qemu, frame, size);
	while (test_is_question(frame));
	return len;
}

void step_expect_frame(struct step *s, uint32_t rank, const uint8_t *frame,
		       size_t len)
{
	static uint8_t got[WIRE_FRAME_MAX];

	assert_int_equal(step_get(s, rank, got, sizeof(got)), len);
	assert_memory_equal(got, frame, len);
}

bool step_has_frame(struct step *s, uint32_t rank, int ms)
{
	int fd = s->ranks[rank].qemu;
	uint8_t start[4 + WIRE_FRAME_MIN], question[256];

	while (readable(fd, ms)) {
		if (recv(fd, start, sizeof(start), MSG_PEEK) != sizeof(start) ||
		    !test_is_question(start + 4))
			return true;
		get_any(fd, question, sizeof(question));
	}
	return false;
}

bool step_has_message(struct step *s, uint32_t rank, int ms)
{
	return readable(s->ranks[rank].ctl, ms);
}

/* -- looking at the processes --------------------------------------------- */

bool step_has_log(const struct step *s, uint32_t node, const char *text)
{
	const struct step_node *n = &s->nodes[node];
	char line[2048];
	FILE *f = fopen(n->log, "r");
	bool found = false;

	if (!f)
		return false;
	fseek(f, n->log_from, SEEK_SET);
	while (!found && fgets(line, sizeof(line), f))
		found = strstr(line, text);
	fclose(f);
	return found;
}

void step_forget_log(struct step *s, uint32_t node)
{
	struct stat st;

	assert_int_equal(stat(s->nodes[node].log, &st), 0);
	s->nodes[node].log_from = st.st_size;
}

void step_wait_log(struct step *s, uint32_t node, const char *text)
{
	int64_t until = loop_now_ms() + STEP_WAIT_MS;

	while (!step_has_log(s, node, text)) {
		if (loop_now_ms() > until)
			fail_msg("no '%s' in %s", text, s->nodes[node].log);
		poll(NULL, 0, 2);
	}
}

long step_status(const struct step *s, uint32_t node, const char *name)
{
	char path[64], line[256];
	long value = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", s->nodes[node].pid);
	f = fopen(path, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		if (strncmp(line, name, strlen(name)) == 0)
			value = strtol(line + strlen(name), NULL, 10);
	fclose(f);
	return value;
}

long step_cpu_ticks(const struct step *s, uint32_t node)
{
	char path[64];
	long user = -1, system = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", s->nodes[node].pid);
	f = fopen(path, "r");
	assert_non_null(f);
	assert_int_equal(
		fscanf(f,
		       "%*d (vmstep-net) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %ld %ld",
		       &user, &system),
		2);
	fclose(f);
	return user + system;
}
