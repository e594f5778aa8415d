/* savedir.h - the directory of a saved step: there when it is whole
 *
 * Until then it is one beside it, by a name that begins with ".vmstep-save-",
 * and is written down (made.h), so that it does not outlive the step.
 */
#ifndef VMSTEP_SAVEDIR_H
#define VMSTEP_SAVEDIR_H

#include "errmsg.h"
#include "task.h"

struct savedir;

/* @path (absolute) is not there yet, or is an empty directory: -EEXIST. */
int savedir_new(const char *path, const struct task *t, struct savedir **ret,
		struct errmsg *err);
void savedir_free(struct savedir *d); /* NULL is fine */

/* Both without links; borrowed. */
const char *savedir_path(const struct savedir *d);
const char *savedir_temp(const struct savedir *d);

/* All tasks have written their part: add the step's, and give it its name. */
int savedir_finish(struct savedir *d, const struct task *t, struct errmsg *err);
/* Remove it, where it has not got its name. */
void savedir_drop(struct savedir *d);

#endif
