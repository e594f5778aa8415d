#include <config.h>

#include "netstats.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"

#define MAGIC 0x766d7374u /* in a header's upper half, before the type */

static const size_t sizes[] = {
	[NETSTATS_NODE] = sizeof(struct netstats_node),
	[NETSTATS_PORT] = sizeof(struct netstats_port),
	[NETSTATS_RING] = sizeof(struct netstats_ring),
	[NETSTATS_LINK] = sizeof(struct netstats_link),
	[NETSTATS_PEERS] = sizeof(struct netstats_peers),
	[NETSTATS_PEER] = sizeof(struct netstats_peer),
};
static_assert(ARRAY_SIZE(sizes) == NETSTATS_TYPES, "every type has a size");

static uint64_t header(enum netstats_type type)
{
	return (uint64_t)MAGIC << 32 | (uint64_t)type;
}

static int grow(struct netstats *s, size_t words)
{
	size_t room = s->room ? 2 * s->room : 512;
	uint64_t *more;

	while (room < s->n + words)
		room *= 2;
	more = reallocarray(s->words, room, sizeof(*more));
	if (!more)
		return -ENOMEM;
	s->words = more;
	s->room = room;
	return 0;
}

void netstats_add(struct netstats *s, enum netstats_type type,
		  const void *record)
{
	size_t words = sizes[type] / sizeof(uint64_t);

	if (s->failed)
		return;
	if (s->n + 1 + words > s->room && grow(s, 1 + words) < 0) {
		s->failed = true;
		return;
	}
	s->words[s->n++] = header(type);
	memcpy(s->words + s->n, record, sizes[type]);
	s->n += words;
}

void netstats_append(struct netstats *s, const struct netstats *more)
{
	s->failed |= more->failed;
	if (s->failed || !more->n)
		return;
	if (s->n + more->n > s->room && grow(s, more->n) < 0) {
		s->failed = true;
		return;
	}
	memcpy(s->words + s->n, more->words, more->n * sizeof(*s->words));
	s->n += more->n;
}

void netstats_done(struct netstats *s)
{
	free(s->words);
	*s = (struct netstats){ 0 };
}

/* By way of big endian, so that netstats_swap() keeps a text. */
void netstats_name_set(struct netstats_name *name, const char *text)
{
	char bytes[NETSTATS_NAME] = "";

	snprintf(bytes, sizeof(bytes), "%s", text);
	memcpy(name->words, bytes, sizeof(bytes));
	netstats_swap(name->words, ARRAY_SIZE(name->words));
}

void netstats_name_get(const struct netstats_name *name,
		       char text[NETSTATS_NAME])
{
	struct netstats_name copy = *name;

	netstats_swap(copy.words, ARRAY_SIZE(copy.words));
	memcpy(text, copy.words, NETSTATS_NAME);
	text[NETSTATS_NAME - 1] = '\0';
}

void netstats_swap(uint64_t *words, size_t n)
{
	for (size_t i = 0; i < n; i++)
		words[i] = htobe64(words[i]);
}

int netstats_read(int fd, uint64_t **ret_words, size_t *ret_n)
{
	_cleanup_free_ uint64_t *words = NULL;
	off_t len = lseek(fd, 0, SEEK_END);
	ssize_t n;

	if (len < 0)
		return -errno;
	if (len == 0 || len % (off_t)sizeof(*words) || len > NETSTATS_BYTES_MAX)
		return -EPROTO;
	words = malloc((size_t)len);
	if (!words)
		return -ENOMEM;
	n = pread(fd, words, (size_t)len, 0);
	if (n != len)
		return n < 0 ? -errno : -EPROTO;
	*ret_n = (size_t)len / sizeof(*words);
	*ret_words = TAKE_PTR(words);
	return 0;
}

int netstats_peek(const struct netstats_reader *r)
{
	uint64_t word, type;

	if (r->at == r->n)
		return 0;
	word = r->words[r->at];
	type = word & UINT32_MAX;
	if (word >> 32 != MAGIC || type == 0 || type >= NETSTATS_TYPES ||
	    sizes[type] / sizeof(uint64_t) > r->n - r->at - 1)
		return -EPROTO;
	return (int)type;
}

int netstats_next(struct netstats_reader *r, const void **ret)
{
	int type = netstats_peek(r);

	if (type <= 0)
		return type;
	*ret = r->words + r->at + 1;
	r->at += 1 + sizes[type] / sizeof(uint64_t);
	return type;
}
