/* hosts.h - the step's guests as lines of a hosts file
 *
 * The seed brings them for what runs before the agent does; the agent writes
 * them in any guest.
 */
#ifndef VMSTEP_HOSTS_H
#define VMSTEP_HOSTS_H

#include "errmsg.h"
#include "spec.h"
#include "task.h"

/* A file of more lines than this is left to the user: it would not fit one
 * message to the agent. */
#define HOSTS_MAX 4096

/* A line a rank in *ret, to be freed: address, name with the domain where one
 * is known, name. -E2BIG, without a word, where there would be too many. */
int hosts_text(const struct task *t, const struct spec *s, char **ret);
/* Add the node, where the guest has a card that leads to it (usernet.h), to
 * *text, which may be NULL. */
int hosts_usernet(const struct task *t, const struct spec *s, char **text);

#endif
