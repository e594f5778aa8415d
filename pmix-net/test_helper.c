#include <config.h>

#include "test_helper.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define RANKS_TEXT 32

static void ranks_text(uint32_t node, uint32_t per_node, char text[RANKS_TEXT])
{
	uint32_t first = node * per_node;

	snprintf(text, RANKS_TEXT, "%" PRIu32 "-%" PRIu32, first,
		 first + per_node - 1);
}

int helper_exec(const struct helper_conf *conf)
{
	char node[32], ranks[16 + RANKS_TEXT], nranks[32], bind[80], log[256];
	char workers[32], options[256];
	char fds[3][32];
	const struct {
		const char *name;
		int fd;
	} given[3] = { { "ctl", conf->ctl_fd },
		       { "lock", conf->lock_fd },
		       { "link", conf->link_fd } };
	char *argv[24] = { (char[]){ "vmstep-net" }, node, ranks, nranks,
			   bind };
	/* contrib/coverage says something by it */
	const char *all_have = getenv("TEST_NET_OPTIONS");
	char text[RANKS_TEXT];
	int n = 5;

	ranks_text(conf->node, conf->per_node, text);
	snprintf(node, sizeof(node), "--node=node%" PRIu32, conf->node);
	snprintf(ranks, sizeof(ranks), "--ranks=%s", text);
	snprintf(nranks, sizeof(nranks), "--nranks=%" PRIu32, conf->nranks);
	snprintf(bind, sizeof(bind), "--bind=%s", conf->bind);
	for (int i = 0; i < 3; i++) {
		if (given[i].fd < 0)
			continue;
		snprintf(fds[i], sizeof(fds[i]), "--%s=%d", given[i].name,
			 given[i].fd);
		argv[n++] = fds[i];
	}
	if (conf->log) {
		snprintf(log, sizeof(log), "--log=%s", conf->log);
		argv[n++] = log;
	}
	if (conf->links)
		argv[n++] = (char *)(uintptr_t)conf->links;
	if (conf->workers) {
		snprintf(workers, sizeof(workers), "--workers=%u",
			 conf->workers);
		argv[n++] = workers;
	}
	snprintf(options, sizeof(options), "%s %s",
		 conf->options ? conf->options : "", all_have ? all_have : "");
	for (char *o = strtok(options, " "); o && n < 23; o = strtok(NULL, " "))
		argv[n++] = o;
	execv(conf->program, argv);
	return -errno;
}

/* -- messages ------------------------------------------------------------- */

struct netctl helper_hello(uint32_t rank, uint32_t nranks)
{
	struct netctl m = netmsg(NETCTL_HELLO);

	m.hello.rank = rank;
	m.hello.nranks = nranks;
	return m;
}

struct netctl helper_port(enum netctl_port kind)
{
	struct netctl m = netmsg(NETCTL_PORT);

	m.port.kind = kind;
	return m;
}

struct netctl helper_state(enum netctl_state state)
{
	struct netctl m = netmsg(NETCTL_STATE);

	m.state.state = state;
	return m;
}

int helper_table(uint32_t nnodes, uint32_t per_node, helper_address_fn address,
		 const void *arg)
{
	int fd = memfd_create("table", MFD_CLOEXEC);
	char ranks[RANKS_TEXT];

	if (fd < 0)
		return -errno;
	for (uint32_t n = 0; n < nnodes; n++) {
		ranks_text(n, per_node, ranks);
		dprintf(fd, "%s %s\n", address(n, arg), ranks);
	}
	return fd;
}

ssize_t helper_receive(int ctl, int ms, struct netctl *ret,
		       int fds[NETCTL_FDS_MAX])
{
	struct pollfd p = { ctl, POLLIN, 0 };

	if (poll(&p, 1, ms) != 1)
		return -ETIMEDOUT;
	return netmsg_receive(ctl, ret, fds);
}
