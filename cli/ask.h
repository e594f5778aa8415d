/* ask.h - a question to a step's tasks on this node: vmstep-api(7)'s client */
#ifndef VMSTEP_CLI_ASK_H
#define VMSTEP_CLI_ASK_H

#include <jansson.h>

#include "errmsg.h"

#define ASK_S 10 /* for an answer */

struct ask;

/* Connect to one of the tasks whose sockets are in @dir. -ENOENT: there is
 * none, so the step has ended here; -errno with words. */
int ask_open(const char *dir, struct ask **ret, struct errmsg *err);
void ask_close(struct ask *a); /* NULL is fine */

/* @params are stolen, also on failure; NULL: none. The result, a new
 * reference, in *ret; -EREMOTE: an error was answered, -EPROTO, -errno. */
int ask_call(struct ask *a, const char *method, json_t *params, json_t **ret,
	     struct errmsg *err);

#endif
