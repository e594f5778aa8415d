#include <config.h>

#include "escape.h"

enum escape_end escape_take(struct escape *e, const char *typed, size_t len,
			    size_t *ret_taken, char *out, size_t *ret_len)
{
	enum escape_end end = ESCAPE_ALL;
	size_t i, n = 0;

	for (i = 0; i < len && end == ESCAPE_ALL; i++) {
		char c = typed[i];

		if (e->tilde && c == '.') {
			end = ESCAPE_LEAVE;
		} else if (e->tilde && c == '?') {
			end = ESCAPE_HELP;
		} else if (!e->tilde && !e->within && c == '~') {
			e->tilde = true;
			continue;
		} else {
			if (e->tilde && c != '~')
				out[n++] = '~';
			out[n++] = c;
			e->within = c != '\r' && c != '\n';
		}
		e->tilde = false;
	}
	*ret_taken = i;
	*ret_len = n;
	return end;
}
