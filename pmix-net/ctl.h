/* ctl.h - the helpers of this node
 *
 * Serves the control socket (netctl.h): checks who connects and what they say,
 * and tells them what holds for the step. A helper that is refused gets the
 * words in a LOST message before its connection is closed.
 *
 * Owns:    the listening socket and the connections.
 * Borrows: the loop, the set of local ranks.
 * Thread:  the loop's.
 */
#ifndef VMSTEP_CTL_H
#define VMSTEP_CTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "errmsg.h"
#include "loop.h"
#include "netctl.h"
#include "rankset.h"

#define CTL_SPARE	 16   /* connections beyond one for each local rank */
#define CTL_TURN_AWAY_MS 1000 /* for a helper to come and hear why not */

struct ctl;

struct ctl_ops {
	/* The first word of @rank's helper; workers may run on @cpus, ""
	 * where it does not say. < 0 with words: refuse it. */
	int (*hello)(uint32_t rank, const char *cpus, struct errmsg *err,
		     void *arg);
	/* Its guest's port, maybe in place of another; @fd is owned from now
	 * on. < 0 with words: refuse the helper. */
	int (*port)(uint32_t rank, enum netctl_port kind, int fd,
		    struct errmsg *err, void *arg);
	/* Where its frames are to be written; as with a port. */
	int (*capture)(uint32_t rank, int fd, struct errmsg *err, void *arg);
	/* The socket for its messages; as with a port. */
	int (*ops)(uint32_t rank, int fd, struct errmsg *err, void *arg);
	/* @fd is borrowed. < 0 with words: refuse the helper. */
	int (*table)(const struct netctl *msg, int fd, struct errmsg *err,
		     void *arg);
	/* What was counted, of @rank's peers or of all (UINT32_MAX), in a memfd
	 * for the caller to close; -errno. */
	int (*stats)(uint32_t rank, void *arg);
	/* The last of the helpers ends, and wants a report: ctl_report(). */
	void (*report)(void *arg);
	void (*state)(uint32_t rank, enum netctl_state state, void *arg);
	/* @over: it had said done or failed before. */
	void (*closed)(uint32_t rank, bool over, void *arg);
	/* closed() was called for the last of them. */
	void (*all_closed)(void *arg);
	/* Someone or something was refused. */
	void (*refused)(const char *why, void *arg);
};

struct ctl_conf {
	struct loop *loop;
	int fd;			     /* listening; owned after success */
	const struct rankset *local; /* borrowed */
	uint32_t nranks;
	const char *link; /* for WELCOME; borrowed */
	int link_fd;	  /* the same; -1: none */
};

int ctl_new(const struct ctl_conf *conf, const struct ctl_ops *ops, void *arg,
	    struct ctl **ret, struct errmsg *err);
void ctl_free(struct ctl *c); /* NULL is fine; closes without closed() */

/* vmstep-net cannot start: tell who comes to @fd (borrowed) so, in a LOST
 * message. Waits for the first, CTL_TURN_AWAY_MS at most. */
void ctl_turn_away(int fd, const char *why);

/* How many have said hello and are still there. */
size_t ctl_helpers(const struct ctl *c);

/* Each of these goes to every helper, and to those who come later. */
/* The TABLE @msg, with its @fd (borrowed): what a vmstep-net that takes our
 * place is to be given. -errno where it cannot be kept. */
int ctl_tell_table(struct ctl *c, const struct netctl *msg, int fd);
/* To who wanted it; @fd (borrowed) is -1 without. */
void ctl_report(struct ctl *c, int fd);
void ctl_tell_all(struct ctl *c, enum netctl_state state);
void ctl_tell_lost(struct ctl *c, uint32_t rank, const char *text);

#endif
