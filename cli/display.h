/* display.h - the display of a VM (--vm-display), from wherever the user is
 *
 * It is a unix socket in the step's directory, which speaks VNC.
 */
#ifndef VMSTEP_CLI_DISPLAY_H
#define VMSTEP_CLI_DISPLAY_H

#include "command.h"

extern const struct cmd_option display_options[];

int display_run(const struct invocation *inv);

#endif
