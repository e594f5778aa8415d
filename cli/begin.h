/* begin.h - wait for a step that has not begun */
#ifndef VMSTEP_CLI_BEGIN_H
#define VMSTEP_CLI_BEGIN_H

#include <stdbool.h>

#include "command.h"

/* Wait until the step that @inv means has begun, and with @all each task that
 * it means answers; or until its job has ended, about which the next op has
 * words. What it waits for is said now and then. *timeout_s: how long; what is
 * left of it. *ret_job, to be freed, is what -j would say of the step: that we
 * are in a job may be forgotten by then. Returns an EXIT_ status: EXIT_NO_STEP
 * when time is up, which is said. */
int begin_wait(const struct invocation *inv, bool all, unsigned int *timeout_s,
	       char **ret_job);

#endif
