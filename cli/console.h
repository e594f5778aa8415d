/* console.h - vmstep console: a guest's serial console, and other streams */
#ifndef VMSTEP_CLI_CONSOLE_H
#define VMSTEP_CLI_CONSOLE_H

#include <stdbool.h>

#include "command.h"

extern const struct cmd_option console_options[];

int console_run(const struct invocation *inv);

/* A stream of one task's, here or, by another vmstep, on its node. */
struct console_way {
	const struct invocation *inv;
	const char *op; /* as in console_here.h */
	bool input;
	bool here;		  /* we are that other one */
	const char *const *words; /* what it is told */
	const char *how;	  /* as in elsewhere.h */
	bool unbuffered;
};

/* An exit status; words have been logged. */
int console_attach(const struct console_way *way);

#endif
