/* start.h - what proc.start asks for */
#ifndef VMSTEP_START_H
#define VMSTEP_START_H

#include <jansson.h>

#include "account.h"
#include "errmsg.h"
#include "procio.h"

struct start {
	char **argv; /* owned, NULL at the end, at least one */
	char **env;  /* owned, NULL at the end: "NAME=value" as given */
	bool env_clear;
	bool bound;	  /* it does not outlive the agent */
	char *cwd, *user; /* owned; NULL: the default */
	char *term;	  /* owned; of a pty */
	struct procio_spec io;
};

/* -EINVAL with words that name the parameter. */
int start_parse(const json_t *params, struct start *ret, struct errmsg *err);
void start_done(struct start *s);

/* The environment for the process: what a login of @a would have, and over it
 * what was given; with env_clear only that. To be freed by start_free_env();
 * NULL without memory. */
char **start_env(const struct start *s, const struct account *a);
void start_free_env(char **env); /* NULL is fine */

#endif
