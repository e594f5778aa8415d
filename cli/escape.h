/* escape.h - what a user types to leave a console, as with ssh
 *
 * At the beginning of a line ~. leaves, ~? asks for help, ~~ is one ~; anything
 * else behind it goes as it is.
 */
#ifndef VMSTEP_CLI_ESCAPE_H
#define VMSTEP_CLI_ESCAPE_H

#include <stdbool.h>
#include <stddef.h>

struct escape {
	bool within; /* a line */
	bool tilde;  /* the last byte was one that may be an escape */
};

enum escape_end { ESCAPE_ALL, ESCAPE_HELP, ESCAPE_LEAVE };

/* @len bytes were typed: what of them is to go to @out, which has room for
 * twice as many, is *ret_len bytes. *ret_taken is how many were looked at; with
 * ESCAPE_ALL all. */
enum escape_end escape_take(struct escape *e, const char *typed, size_t len,
			    size_t *ret_taken, char *out, size_t *ret_len);

#endif
