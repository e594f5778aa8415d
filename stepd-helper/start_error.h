/* start_error.h - why the guest did not run the command, in the user's terms
 *
 * The agent knows files and users; which option named them, and that they are
 * looked up in the guest, is known here.
 */
#ifndef VMSTEP_START_ERROR_H
#define VMSTEP_START_ERROR_H

#include "errmsg.h"
#include "spec.h"

/* The agent's answer to proc.start (doc/agent-port.md). */
struct start_error {
	int code;	     /* of the error */
	const char *what;    /* data.what; may be NULL */
	const char *message; /* the agent's words */
};

/* The task's exit status, and the words for it. @command as the user gave it.
 */
int start_error_status(const struct start_error *e, const struct spec *s,
		       const char *command, struct errmsg *ret);

#endif
