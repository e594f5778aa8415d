#include <config.h>

#include "nodes.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define WAIT_MS 10000

struct node {
	pid_t pid;
	struct sockaddr_un un; /* abstract: no file is left */
	socklen_t un_len;
	char link[NETCTL_TEXT_LEN];
};

struct nodes {
	struct nodes_conf conf;
	uint32_t nranks;
	struct node nodes[NODES_MAX];
	int ctl[NODES_RANK_MAX]; /* by rank */
};

static void ranks_text(const struct nodes *s, uint32_t node, char text[32])
{
	uint32_t first = node * s->conf.per_node;

	snprintf(text, 32, "%" PRIu32 "-%" PRIu32, first,
		 first + s->conf.per_node - 1);
}

/* -- processes ------------------------------------------------------------ */

static void exec_net(const struct nodes *s, uint32_t node, int fd)
{
	char ctl[32], ranks[64], nranks[32], name[32], bind[80], text[32];
	char log[256];
	const char *address = s->conf.address[node];
	int netns = s->conf.netns[node];

	ranks_text(s, node, text);
	snprintf(ctl, sizeof(ctl), "--ctl=%d", fd);
	snprintf(ranks, sizeof(ranks), "--ranks=%s", text);
	snprintf(nranks, sizeof(nranks), "--nranks=%" PRIu32, s->nranks);
	snprintf(name, sizeof(name), "--node=node%" PRIu32, node);
	snprintf(bind, sizeof(bind), "--bind=%s",
		 address ? address : "127.0.0.1");
	snprintf(log, sizeof(log), "--log=%s", s->conf.log ? s->conf.log : "");
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	pin(s->conf.cpu[node]);
	if (netns >= 0)
		check(setns(netns, CLONE_NEWNET), "enter a network namespace");
	execl(s->conf.program, "vmstep-net", ctl, ranks, nranks, name, bind,
	      s->conf.log ? log : NULL, (char *)NULL);
	die("%s: %s", s->conf.program, strerror(errno));
}

static void start_node(struct nodes *s, uint32_t node)
{
	struct node *n = &s->nodes[node];
	int fd = check(socket(AF_UNIX, SOCK_SEQPACKET, 0), "socket");

	n->un.sun_family = AF_UNIX;
	n->un_len = sizeof(n->un);
	check(bind(fd, (struct sockaddr *)&n->un, sizeof(sa_family_t)), "bind");
	check(listen(fd, NODES_RANK_MAX), "listen");
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
	s->nranks = conf->nnodes * conf->per_node;
	if (conf->nnodes > NODES_MAX || s->nranks > NODES_RANK_MAX)
		die("too many nodes or ranks");
	for (uint32_t n = 0; n < conf->nnodes; n++)
		start_node(s, n);
	return s;
}

pid_t nodes_pid(const struct nodes *s, uint32_t node)
{
	return s->nodes[node].pid;
}

/* -- what helpers say ----------------------------------------------------- */

/* @fd -1: none rides along. */
static void say(int ctl, const struct netctl *msg, int fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { (void *)(uintptr_t)msg, sizeof(*msg) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c;

	if (fd >= 0) {
		m.msg_control = &control;
		m.msg_controllen = sizeof(control);
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	check((int)sendmsg(ctl, &m, MSG_NOSIGNAL), "a message to vmstep-net");
}

static struct netctl hear(int ctl)
{
	struct pollfd p = { ctl, POLLIN, 0 };
	struct netctl msg;

	if (poll(&p, 1, WAIT_MS) != 1 ||
	    recv(ctl, &msg, sizeof(msg), 0) != sizeof(msg))
		die("vmstep-net does not answer");
	if (msg.type == NETCTL_LOST)
		die("vmstep-net: %.*s", (int)sizeof(msg.lost.text),
		    msg.lost.text);
	return msg;
}

void nodes_join(struct nodes *s, uint32_t rank, enum netctl_port kind, int fd)
{
	const struct netctl hello = {
		.version = NETCTL_VERSION,
		.type = NETCTL_HELLO,
		.hello = { rank, s->nranks },
	};
	const struct netctl port = {
		.version = NETCTL_VERSION,
		.type = NETCTL_PORT,
		.port = { kind },
	};
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

void nodes_table(struct nodes *s)
{
	struct netctl msg = {
		.version = NETCTL_VERSION,
		.type = NETCTL_TABLE,
		.table = { .nnodes = s->conf.nnodes, .nranks = s->nranks },
	};
	int fd = check(memfd_create("table", MFD_CLOEXEC), "memfd");
	char ranks[32];

	for (uint32_t n = 0; n < s->conf.nnodes; n++) {
		ranks_text(s, n, ranks);
		dprintf(fd, "%s %s\n", s->nodes[n].link, ranks);
	}
	memset(msg.table.key, 0x5a, sizeof(msg.table.key));
	for (uint32_t n = 0; n < s->conf.nnodes; n++) {
		msg.table.node = n;
		say(s->ctl[n * s->conf.per_node], &msg, fd);
	}
	close(fd);
}

/* -- the end -------------------------------------------------------------- */

/* As helpers do whose commands have ended: nobody is missed then. */
static void say_done(struct nodes *s)
{
	const struct netctl done = {
		.version = NETCTL_VERSION,
		.type = NETCTL_STATE,
		.state = { NETCTL_DONE },
	};
	struct netctl msg;

	for (uint32_t r = 0; r < s->nranks; r++)
		say(s->ctl[r], &done, -1);
	for (uint32_t r = 0; r < s->nranks; r++)
		do
			msg = hear(s->ctl[r]);
		while (msg.type != NETCTL_ALL || msg.all.state != NETCTL_DONE);
}

void nodes_end(struct nodes *s)
{
	int64_t until = now_ns() + WAIT_MS * 1000000ll;
	int status = 0;

	say_done(s);
	for (uint32_t r = 0; r < s->nranks; r++)
		close(s->ctl[r]);
	for (uint32_t n = 0; n < s->conf.nnodes; n++) {
		while (waitpid(s->nodes[n].pid, &status, WNOHANG) == 0) {
			if (now_ns() > until)
				die("vmstep-net does not end");
			poll(NULL, 0, 1);
		}
		if (status)
			die("vmstep-net ended with status %#x",
			    (unsigned int)status);
	}
	free(s);
}
