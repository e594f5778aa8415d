/* start_params.h - what the agent is told to run (doc/agent-port.md) */
#ifndef VMSTEP_START_PARAMS_H
#define VMSTEP_START_PARAMS_H

#include <jansson.h>
#include <sys/ioctl.h>
#include <termios.h>

#include "errmsg.h"
#include "spec.h"
#include "task.h"

struct guest_cmd {
	const char *const *argv; /* NULL at the end; borrowed during the call */
	const struct winsize *pty; /* NULL: no terminal */
	const char *term;	   /* TERM, with a terminal */
	/* It runs already in a guest that was restored: procs.h. */
	json_int_t attach;
};

/* The parameters of proc.start, without channels; NULL: no memory. */
json_t *start_params(const struct task *t, const struct spec *s,
		     const struct guest_cmd *cmd);

/* Of a call: a kernel takes not many more arguments, whatever the port does. */
#define START_PARAMS_MAX (256 * 1024)

/* Will the agent port carry the call? It takes no longer one than
 * START_PARAMS_MAX: -E2BIG with words. */
int start_params_check(const struct task *t, const struct spec *s,
		       const char *const *argv, struct errmsg *err);

#endif
