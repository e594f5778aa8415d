#include <config.h>

#include "qga_line.h"

#include <stdlib.h>

#include "cleanup.h"

void qga_line_reset(struct qga_line *l)
{
	free(l->data);
	*l = (struct qga_line){ 0 };
}

static bool keep(struct qga_line *l, char c)
{
	size_t room = l->room ? l->room * 2 : 4096;
	char *more;

	if (l->len == l->room) {
		more = realloc(l->data, room);
		if (!more)
			return false;
		l->data = more;
		l->room = room;
	}
	l->data[l->len++] = c;
	return true;
}

/* Is @c of a text that is too long? */
static bool is_cut(struct qga_line *l, char c, size_t string_max)
{
	bool was_escape = l->escape;

	if (!l->in_string) {
		l->in_string = c == '"';
		l->string_len = 0;
		return false;
	}
	l->escape = !was_escape && c == '\\';
	if (c == '"' && !was_escape) {
		l->in_string = false;
		return false;
	}
	if (l->string_len == string_max)
		return true;
	/* a pair stays together */
	l->string_len += was_escape || !l->escape;
	return false;
}

bool qga_line_add(struct qga_line *l, char c, size_t max, size_t string_max)
{
	return is_cut(l, c, string_max) || (l->len < max && keep(l, c));
}
