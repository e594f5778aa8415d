/* test_helper.h - what helpers do for their vmstep-net, where there is none
 *
 * For tests and benchmarks that start real vmstep-net processes and speak
 * lib/netctl.h with them, by lib/netmsg.h. Rank r is on node r / per_node.
 */
#ifndef VMSTEP_TEST_HELPER_H
#define VMSTEP_TEST_HELPER_H

#include <stdint.h>

#include "netmsg.h"

struct helper_conf {
	const char *program, *bind;
	const char *log;     /* NULL: none */
	const char *options; /* more, blanks between; NULL: none */
	const char *links;   /* one more, for what its links are like */
	uint32_t node, per_node, nranks;
	unsigned int workers; /* 0: as it likes */
	/* What the process inherits; -1: none. */
	int ctl_fd, lock_fd, link_fd;
};

/* Become vmstep-net. Returns -errno. */
int helper_exec(const struct helper_conf *conf);

struct netctl helper_hello(uint32_t rank, uint32_t nranks);
struct netctl helper_port(enum netctl_port kind);
struct netctl helper_state(enum netctl_state state);

/* The memfd that goes with a TABLE; -errno. @address: where a node is. */
typedef const char *(*helper_address_fn)(uint32_t node, const void *arg);
int helper_table(uint32_t nnodes, uint32_t per_node, helper_address_fn address,
		 const void *arg);

/* Wait up to @ms for the next message. Its length, 0 at the end, -ETIMEDOUT,
 * or another -errno; @fds as in netmsg_receive(). */
ssize_t helper_receive(int ctl, int ms, struct netctl *ret,
		       int fds[NETCTL_FDS_MAX]);

#endif
