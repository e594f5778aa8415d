/* group.h - names for sets of ranks
 *
 * A group is a value "@NAME=RANKS" of --vm-config; files bring them (see
 * configfile.h). "@NAME:" before a value of another option stands for
 * "RANKS:". In srun all of them are replaced, so that no node has to; the
 * groups themselves go along, for `vmstep -r @NAME`.
 */
#ifndef VMSTEP_GROUP_H
#define VMSTEP_GROUP_H

#include <stddef.h>

#include "errmsg.h"
#include "option.h"

/* How long is the name that @text begins with, behind a '@'? 0: it is no
 * group's. A name is made of letters, digits, '_' and '-'. */
size_t group_name_len(const char *text);
/* "@NAME=RANKS"? */
int group_check(const char *text, struct errmsg *err);
/* The ranks of @name, @len bytes; the last of that name counts. NULL: there is
 * no such group. */
const char *group_find(const struct optset *set, const char *name, size_t len);
/* Replace all in @set. -EINVAL with words that name the option. */
int group_resolve(struct optset *set, struct errmsg *err);

#endif
