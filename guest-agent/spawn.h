/* spawn.h - fork, become a user, run a program
 *
 * The child gets a session of its own, default signal dispositions and an
 * empty mask, umask 022, the user's groups, and the three descriptors; all
 * others are closed on exec. What fails in it before the program runs comes
 * back as a step and an errno.
 */
#ifndef VMSTEP_SPAWN_H
#define VMSTEP_SPAWN_H

#include <stdbool.h>
#include <sys/types.h>

#include "account.h"
#include "errmsg.h"

struct spawn {
	char *const *argv; /* argv[0] is looked up in envp's PATH */
	char *const *envp;
	const char *cwd; /* NULL: the user's home, or "/" without one */
	const struct account *user;
	int in, out, err; /* -1: /dev/null */
	bool tty;	  /* in is a terminal: make it the controlling one */
	bool bound;	  /* it is killed when the agent ends, however */
};

enum spawn_step {
	SPAWN_SESSION,
	SPAWN_STDIO,
	SPAWN_USER,
	SPAWN_CWD,
	SPAWN_LOOKUP,	   /* no such program */
	SPAWN_EXEC,	   /* there is one, it cannot be run */
	SPAWN_INTERPRETER, /* it names an interpreter that is not there */
};

struct spawn_failure {
	int step;  /* enum spawn_step */
	int error; /* errno */
};

#define SPAWN_PATH \
	"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* Returns 0 with the child in *ret_pid, and in *ret_fd a non-blocking
 * descriptor (the caller's) that gives a struct spawn_failure, or end of file
 * as soon as the program runs. Else -errno. */
int spawn_start(const struct spawn *s, pid_t *ret_pid, int *ret_fd,
		struct errmsg *err);
/* In any child, after fork: what is the agent's own goes, as its signals' masks
 * and its place when memory runs out. Async-signal-safe. */
void spawn_reset(void);
/* Become the user, for good. Without root: only who one is. -errno. */
int spawn_become(const struct account *a);
/* The words for @f: "no such command: foo". */
void spawn_failure_text(const struct spawn_failure *f, const char *program,
			const char *cwd, struct errmsg *ret);

#endif
