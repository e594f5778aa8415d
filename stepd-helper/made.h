/* made.h - what a task makes outside of the step's directory, written down
 * before it is made
 *
 * As symbolic links in the step's directory. When the step ends without its
 * helpers having removed a file, slurmstepd or the epilog does
 * (spank/sweep.c), unless another VM has it locked.
 */
#ifndef VMSTEP_MADE_H
#define VMSTEP_MADE_H

#include "errmsg.h"
#include "task.h"

/* @path: an absolute one. Once is enough, twice does no harm. */
int made_record(const struct task *t, const char *path, struct errmsg *err);

/* It is gone, or stays. */
void made_forget(const struct task *t, const char *path);

#endif
