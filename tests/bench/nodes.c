#include <config.h>

#include "nodes.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "test_helper.h"

#define WAIT_MS 10000

struct node {
	pid_t pid;
	struct sockaddr_un un; /* abstract: no file is left */
	socklen_t un_len;
	char link[NETCTL_TEXT_LEN];
};

struct nodes {
	struct nodes_conf conf;
	uint32_t nranks, present; /* present: of those nodes that are there */
	struct node *nodes;
	int *ctl; /* by rank */
};

/* -- processes ------------------------------------------------------------ */

/* With its own /sys: UCX looks for devices there. */
static void enter_netns(int netns)
{
	check(setns(netns, CLONE_NEWNET), "enter a network namespace");
	check(unshare(CLONE_NEWNS), "a mount namespace");
	check(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "mounts");
	check(mount("sysfs", "/sys", "sysfs", 0, NULL), "/sys");
}

static void exec_net(const struct nodes *s, uint32_t node, int fd)
{
	const struct nodes_conf *c = &s->conf;
	const struct helper_conf conf = {
		.program = c->program,
		.bind = c->address ? c->address[node] : "127.0.0.1",
		.log = c->log,
		.options = c->options,
		.node = node,
		.per_node = c->per_node,
		.nranks = s->nranks,
		.ctl_fd = fd,
		.lock_fd = -1,
		.link_fd = -1,
	};

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (c->cpu)
		pin(c->cpu[node]);
	if (c->netns)
		enter_netns(c->netns[node]);
	check(helper_exec(&conf), c->program);
}

static void start_node(struct nodes *s, uint32_t node)
{
	struct node *n = &s->nodes[node];
	int fd = check(socket(AF_UNIX, SOCK_SEQPACKET, 0), "socket");

	n->un.sun_family = AF_UNIX;
	n->un_len = sizeof(n->un);
	check(bind(fd, (struct sockaddr *)&n->un, sizeof(sa_family_t)), "bind");
	check(listen(fd, SOMAXCONN), "listen");
	check(getsockname(fd, (struct sockaddr *)&n->un, &n->un_len),
	      "getsockname");
	n->pid = check(fork(), "fork");
	if (n->pid == 0)
		exec_net(s, node, fd);
	close(fd);
}

struct nodes *nodes_start(const struct nodes_conf *conf)
{
	struct nodes *s = calloc(1, sizeof(*s));

	if (!s)
		die("out of memory");
	s->conf = *conf;
	s->present = conf->nnodes * conf->per_node;
	s->nranks = (conf->nnodes + conf->absent) * conf->per_node;
	s->nodes = calloc(conf->nnodes, sizeof(*s->nodes));
	s->ctl = calloc(s->present, sizeof(*s->ctl));
	if (!s->nodes || !s->ctl)
		die("out of memory");
	for (uint32_t n = 0; n < conf->nnodes; n++)
		start_node(s, n);
	return s;
}

pid_t nodes_pid(const struct nodes *s, uint32_t node)
{
	return s->nodes[node].pid;
}

/* -- what helpers say ----------------------------------------------------- */

static void say(int ctl, const struct netctl *msg, int fd)
{
	check(netmsg_send(ctl, msg, fd), "a message to vmstep-net");
}

/* What comes along is nothing to us. */
static struct netctl hear(int ctl)
{
	int fds[NETCTL_FDS_MAX];
	struct netctl msg;

	if (helper_receive(ctl, WAIT_MS, &msg, fds) != sizeof(msg))
		die("vmstep-net does not answer");
	for (int i = 0; i < NETCTL_FDS_MAX; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	if (msg.type == NETCTL_LOST)
		die("vmstep-net: %.*s", (int)sizeof(msg.lost.text),
		    msg.lost.text);
	return msg;
}

void nodes_join(struct nodes *s, uint32_t rank, enum netctl_port kind, int fd)
{
	const struct netctl hello = helper_hello(rank, s->nranks);
	const struct netctl port = helper_port(kind);
	struct node *n = &s->nodes[rank / s->conf.per_node];
	struct netctl welcome;
	int ctl;

	ctl = check(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0),
		    "socket");
	check(connect(ctl, (struct sockaddr *)&n->un, n->un_len),
	      "connect to vmstep-net");
	say(ctl, &hello, -1);
	welcome = hear(ctl);
	if (welcome.type != NETCTL_WELCOME)
		die("vmstep-net says %u, not WELCOME", welcome.type);
	memcpy(n->link, welcome.welcome.link, sizeof(n->link));
	say(ctl, &port, fd);
	close(fd);
	s->ctl[rank] = ctl;
}

static const char *node_address(uint32_t node, const void *arg)
{
	const struct nodes *s = arg;

	return node < s->conf.nnodes ? s->nodes[node].link : "127.0.0.1:1";
}

void nodes_table(struct nodes *s)
{
	uint32_t nnodes = s->conf.nnodes + s->conf.absent;
	struct netctl msg = netmsg(NETCTL_TABLE);
	int fd = check(helper_table(nnodes, s->conf.per_node, node_address, s),
		       "the table of nodes");

	msg.table.nnodes = nnodes;
	msg.table.nranks = s->nranks;
	memset(msg.table.key, 0x5a, sizeof(msg.table.key));
	for (uint32_t n = 0; n < s->conf.nnodes; n++) {
		msg.table.node = n;
		say(s->ctl[n * s->conf.per_node], &msg, fd);
	}
	close(fd);
}

void nodes_say_all(struct nodes *s, enum netctl_state state)
{
	const struct netctl msg = helper_state(state);

	for (uint32_t r = 0; r < s->present; r++)
		say(s->ctl[r], &msg, -1);
}

void nodes_await_all(struct nodes *s, enum netctl_state state)
{
	struct netctl msg;

	for (uint32_t r = 0; r < s->present; r++)
		do
			msg = hear(s->ctl[r]);
		while (msg.type != NETCTL_ALL || msg.all.state != state);
}

/* -- the end -------------------------------------------------------------- */

static void wait_end(struct nodes *s, uint32_t node)
{
	int64_t until = now_ns() + WAIT_MS * 1000000ll;
	int status = 0;

	while (waitpid(s->nodes[node].pid, &status, WNOHANG) == 0) {
		if (now_ns() > until)
			die("vmstep-net does not end");
		poll(NULL, 0, 1);
	}
	if (status && !s->conf.absent)
		die("vmstep-net ended with status %#x", (unsigned int)status);
}

/* Helpers whose commands have ended are missed by nobody. */
void nodes_end(struct nodes *s)
{
	if (!s->conf.absent) {
		nodes_say_all(s, NETCTL_DONE);
		nodes_await_all(s, NETCTL_DONE);
	}
	for (uint32_t n = 0; n < s->conf.nnodes && s->conf.absent; n++)
		kill(s->nodes[n].pid, SIGKILL);
	for (uint32_t r = 0; r < s->present; r++)
		close(s->ctl[r]);
	for (uint32_t n = 0; n < s->conf.nnodes; n++)
		wait_end(s, n);
	free(s->ctl);
	free(s->nodes);
	free(s);
}
