/* console_here.h - the serial console of a guest of this node, or another
 * stream of its task's
 *
 * What it says goes to our standard output; what we are given to type, with
 * the escapes of escape.h where it comes from a terminal, to the guest.
 */
#ifndef VMSTEP_CLI_CONSOLE_HERE_H
#define VMSTEP_CLI_CONSOLE_HERE_H

#include <stdbool.h>

#include "rankset.h"

struct console_here {
	const char *dir;	     /* the step's */
	const struct rankset *ranks; /* NULL: all; the first that is here */
	const char *op;		     /* what has the stream; NULL: vm.console */
	bool input;
};

/* Until the VM ends or the user leaves. Returns an exit status. */
int console_here(const struct console_here *conf);

#endif
