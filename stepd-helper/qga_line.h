/* qga_line.h - a line of JSON as it comes, with bounds
 *
 * Of a text in it more than a limit is dropped, on its way in: what is around
 * it stays readable, and nobody has to hold it.
 */
#ifndef VMSTEP_QGA_LINE_H
#define VMSTEP_QGA_LINE_H

#include <stdbool.h>
#include <stddef.h>

struct qga_line {
	char *data; /* owned; without the line's end */
	size_t len;
	size_t room;
	bool in_string, escape; /* where in the JSON it is */
	size_t string_len;
};

void qga_line_reset(struct qga_line *l); /* frees it, too */
/* Takes @c, which is not the line's end; or drops it, where it is of a text
 * that has @string_max bytes. False: the line would be longer than @max, or
 * there is no memory. */
bool qga_line_add(struct qga_line *l, char c, size_t max, size_t string_max);

#endif
