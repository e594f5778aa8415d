#include <config.h>

#include "memstream.h"

#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "cleanup.h"

static bool make_room(struct memstream *m, size_t more)
{
	size_t room = m->room ? m->room : sizeof(m->buffer);
	char *text;

	while (room - m->len <= more) /* and the NUL */
		room *= 2;
	if (room == m->room)
		return true;
	text = realloc(m->text, room);
	if (!text)
		return false;
	m->text = text;
	m->room = room;
	return true;
}

/* 0 is an error to stdio, which does not come again with the same bytes. */
static ssize_t write_text(void *cookie, const char *data, size_t n)
{
	struct memstream *m = cookie;

	if (m->lost || !make_room(m, n)) {
		m->lost = true;
		return 0;
	}
	memcpy(m->text + m->len, data, n);
	m->len += n;
	return (ssize_t)n;
}

FILE *memstream_open(struct memstream *m)
{
	static const cookie_io_functions_t io = { .write = write_text };

	*m = (struct memstream){ 0 };
	m->f = fopencookie(m, "w", io);
	if (m->f) /* stdio's own buffer would be one more that there may not be
		   */
		setvbuf(m->f, m->buffer, _IOFBF, sizeof(m->buffer));
	return m->f;
}

char *memstream_close(struct memstream *m, size_t *ret_len)
{
	_cleanup_free_ char *text = NULL;
	bool whole = fclose(TAKE_PTR(m->f)) == 0 && !m->lost && make_room(m, 0);

	text = TAKE_PTR(m->text);
	if (!whole)
		return NULL;
	text[m->len] = '\0';
	if (ret_len)
		*ret_len = m->len;
	return TAKE_PTR(text);
}
