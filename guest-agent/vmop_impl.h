/* vmop_impl.h - what the parts of vmop share
 *
 *   vmop.c      the program, and commands that ask once
 *   vmop_msg.c  send and recv
 */
#ifndef VMSTEP_VMOP_IMPL_H
#define VMSTEP_VMOP_IMPL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "cleanup.h"

enum {
	EXIT_REFUSED = 1,
	EXIT_USAGE = 2,
	EXIT_TIMED_OUT = 124,
};

struct options {
	const char *queue, *ref, *reply_to, *ranks, *wait, *timeout;
	bool has_from, absent, has_version;
	json_int_t from, version;
	int count;
	bool json, lines;
};

struct vmop {
	struct options o;
	int argc;
	char **argv; /* the command's own */
	FILE *host;
};

static inline void json_freep(json_t **j)
{
	json_decref(*j);
}
#define _cleanup_json_ _cleanup_(json_freep)

/* Say it, and return @status. */
int vmop_fail(int status, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* As the error of an answer has it. */
int vmop_refused(const json_t *error);
/* Ask for @method; @params (stolen) NULL: they could not be made. 0 with the
 * result in *ret, or an exit status; messages are written. */
int vmop_ask(struct vmop *v, const char *method, json_t *params, json_t **ret);

void vmop_set_text(json_t *params, const char *name, const char *text);
/* "1.5" seconds as 1500. 0 or an exit status. */
int vmop_set_ms(const struct vmop *v, json_t *params, const char *name);
/* @text, or where it is "-" or missing what stdin has. NULL: it is none. */
json_t *vmop_value(const struct vmop *v, const char *text);
void vmop_print_json(const json_t *j, size_t flags);
/* A text as it is; anything else as JSON. */
void vmop_print(const json_t *j);

/* -- vmop_msg.c ------------------------------------------------------------ */

int vmop_send(struct vmop *v);
int vmop_recv(struct vmop *v);

#endif
