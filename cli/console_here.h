/* console_here.h - the serial console of a guest of this node
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
	bool input;
};

/* Until the VM ends or the user leaves. Returns an exit status. */
int console_here(const struct console_here *conf);

#endif
