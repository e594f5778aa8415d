/* test_step.h - a step of real vmstep-net processes on 127.0.0.1
 *
 * The test plays every helper (lib/netctl.h) and every QEMU (-netdev stream)
 * that it does not have from elsewhere.
 * Whatever goes wrong fails the cmocka test that runs.
 */
#ifndef VMSTEP_TEST_STEP_H
#define VMSTEP_TEST_STEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "netctl.h"

#define STEP_NODES_MAX 32
#define STEP_RANKS_MAX 64
#define STEP_WAIT_MS   60000 /* for anything that has to happen */

struct step_node {
	pid_t pid; /* 0: none */
	char dir[64], socket[96], log[96];
	char address[NETCTL_TEXT_LEN]; /* as WELCOME says it, unless ... */
	bool wired; /* ... there is a wire in front of it (test_proxy.h) */
	int ctl_fd, link_fd; /* listening; helpers have copies. -1: none */
	long log_from;	     /* what is before is past */
};

struct step_rank {
	int ctl;  /* to its vmstep-net; -1: closed */
	int qemu; /* the guest's end of its port; -1: closed */
	int port; /* the other one: what vmstep-net is given */
	enum netctl_port kind;
};

struct step {
	uint32_t nnodes, per_node, nranks;
	const char *options;
	bool may_fail; /* its processes need not end with status 0 */
	struct step_node nodes[STEP_NODES_MAX];
	struct step_rank ranks[STEP_RANKS_MAX];
	uint8_t key[NETCTL_KEY_LEN];
};

/* A further option of every process from now on, for what its links are like;
 * NULL: none. */
extern const char *step_links;

/* Start the processes, with @options if not NULL, blanks between them. Rank r
 * is on node r / @per_node. */
void step_start(struct step *s, uint32_t nnodes, uint32_t per_node,
		const char *options);
/* One of them, again. */
void step_start_node(struct step *s, uint32_t node);
/* Of each process. With more than one, step_hello() asks each port a question,
 * which is counted. */
unsigned int step_workers(void);
/* Every helper's HELLO, with a port, and its WELCOME. */
void step_hello(struct step *s);
void step_hello_of(struct step *s, uint32_t rank);
/* The same with @fd, owned from now on, for its port: the other end is not the
 * test's. */
void step_hello_with(struct step *s, uint32_t rank, enum netctl_port kind,
		     int fd);
/* TABLE to every node, or to one, with @key. */
void step_table(struct step *s);
/* It holds: frames are other workers' business, and may overtake it. */
void step_hear_table(struct step *s);
void step_table_to(struct step *s, uint32_t node, const uint8_t *key);
void step_table_from(struct step *s, uint32_t rank, const uint8_t *key);
/* Hello, table, and that it holds. */
void step_meet(struct step *s);
/* All of the above. */
void step_begin(struct step *s, uint32_t nnodes, uint32_t per_node);
/* Close what is open; every process that was not killed ends well. */
void step_end(struct step *s);

int step_connect(const struct step *s, uint32_t node);
void step_send(int ctl, const struct netctl *msg, int fd); /* fd -1: none */
/* The next message, of @type; a TABLE may come before. */
struct netctl step_expect(int ctl, enum netctl_type type);
void step_expect_end(int ctl); /* it was closed */
void step_say(struct step *s, uint32_t rank, enum netctl_state state);
void step_say_all(struct step *s, enum netctl_state state);
void step_expect_all(struct step *s, enum netctl_state state);

void step_leave(struct step *s, uint32_t node); /* its helpers close */
void step_kill(struct step *s, uint32_t node);	/* -9, helpers and all */
/* Kill -9 vmstep-net only; its helpers start it again, and say hello. */
void step_restart(struct step *s, uint32_t node);
/* Its process ends by itself, with status 0. */
void step_wait_end(struct step *s, uint32_t node);

/* Frames at the guests' ends. Questions about multicast are passed over. */
void step_put(struct step *s, uint32_t rank, const void *frame, size_t len);
/* The next frame's length. */
size_t step_get(struct step *s, uint32_t rank, uint8_t *frame, size_t size);
void step_expect_frame(struct step *s, uint32_t rank, const uint8_t *frame,
		       size_t len);
bool step_has_frame(struct step *s, uint32_t rank, int ms);
bool step_has_message(struct step *s, uint32_t rank, int ms); /* or end */

/* Wait until @node's log has @text; has it? what it has now is past. */
void step_wait_log(struct step *s, uint32_t node, const char *text);
bool step_has_log(const struct step *s, uint32_t node, const char *text);
void step_forget_log(struct step *s, uint32_t node);
/* A line of /proc/PID/status, as in "VmRSS:", as a number. */
long step_status(const struct step *s, uint32_t node, const char *name);
long step_cpu_ticks(const struct step *s, uint32_t node);

#endif
