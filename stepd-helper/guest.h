/* guest.h - the agent in the guest, seen from the host (doc/agent-port.md)
 *
 * Owns the host's end of the agent port. Thread: the loop's. The guest is not
 * trusted: what it answers is checked, and it is asked one thing at a time
 * only by what is here.
 */
#ifndef VMSTEP_GUEST_H
#define VMSTEP_GUEST_H

#include <jansson.h>
#include <stdbool.h>
#include <termios.h>
#include <sys/ioctl.h>

#include "errmsg.h"
#include "loop.h"
#include "spec.h"
#include "start_params.h"
#include "task.h"

struct guest;

struct guest_ops {
	/* The agent said hello; it may be told things now. */
	void (*hello)(void *arg);
	/* The agent is gone, or is another one now (the guest rebooted). */
	void (*lost)(const char *why, void *arg);
};

int guest_new(struct loop *l, int fd, const struct task *t,
	      const struct spec *s, const struct guest_ops *ops, void *arg,
	      struct guest **ret, struct errmsg *err); /* takes @fd */
void guest_free(struct guest *g);		       /* NULL is fine */

/* @error: NULL, or the words of what went wrong. */
typedef void (*guest_done_fn)(const char *error, void *arg);

/* Give the guest its address, name and hosts file. */
int guest_configure(struct guest *g, guest_done_fn fn, void *arg);

/* How a command ended, as an exit status for srun; @error has words where it
 * could not be run. */
typedef void (*guest_exit_fn)(int status, const char *error, void *arg);

/* Run the command with our stdin, stdout and stderr; @fn is called once, when
 * it has ended and its output is written. */
int guest_run(struct guest *g, const struct guest_cmd *cmd, guest_exit_fn fn,
	      void *arg);
void guest_signal(struct guest *g, int sig);
void guest_resize(struct guest *g, const struct winsize *ws);
/* Ask for an orderly power-off; no answer is waited for. */
int guest_shutdown(struct guest *g);

#endif
