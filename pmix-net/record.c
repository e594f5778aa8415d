#include <config.h>

#include "record.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "rankset.h"

struct record {
	int fd; /* -1: none */
	off_t end;
	char *text; /* of rolls, as read */
	size_t len;
	struct rankset came;
	uint32_t *awaited; /* in no order */
	size_t n_awaited;
};

/* -- reading -------------------------------------------------------------- */

static void forget_awaited(struct record *r, uint32_t rank)
{
	for (size_t i = 0; i < r->n_awaited; i++)
		if (r->awaited[i] == rank)
			r->awaited[i--] = r->awaited[--r->n_awaited];
}

static int await(struct record *r, uint32_t rank)
{
	uint32_t *awaited =
		reallocarray(r->awaited, r->n_awaited + 1, sizeof(*awaited));

	if (!awaited)
		return -ENOMEM;
	r->awaited = awaited;
	r->awaited[r->n_awaited++] = rank;
	return rankset_add(&r->came, rank, rank);
}

/* Is it "@word RANK"? */
static bool is_about(const char *line, size_t len, const char *word,
		     uint32_t *rank)
{
	size_t n = strlen(word);
	char number[16], *end;
	unsigned long v;

	if (len <= n + 1 || len - n - 1 >= sizeof(number) ||
	    memcmp(line, word, n) != 0 || line[n] != ' ')
		return false;
	memcpy(number, line + n + 1, len - n - 1);
	number[len - n - 1] = '\0';
	v = strtoul(number, &end, 10);
	*rank = (uint32_t)v;
	return number[0] >= '0' && number[0] <= '9' && !*end && v <= RANK_MAX;
}

/* What is not about a helper moves to the front: a roll's. */
static int take_line(struct record *r, const char *line, size_t len)
{
	uint32_t rank;

	if (is_about(line, len, "came", &rank)) {
		forget_awaited(r, rank);
		return await(r, rank);
	}
	if (is_about(line, len, "left", &rank)) {
		forget_awaited(r, rank);
		return 0;
	}
	memmove(r->text + r->len, line, len);
	r->text[r->len + len] = '\n';
	r->len += len + 1;
	return 0;
}

static int read_file(struct record *r, size_t size)
{
	size_t n = 0;

	r->text = malloc(size + 1);
	if (!r->text)
		return -ENOMEM;
	while (n < size) {
		ssize_t got = pread(r->fd, r->text + n, size - n, (off_t)n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		n += (size_t)got;
	}
	r->end = (off_t)n;
	return 0;
}

/* A last line without its end was being written when we were killed. */
static int take_lines(struct record *r)
{
	const char *line = r->text, *end;
	size_t left = (size_t)r->end;
	int e = 0;

	while (e == 0 && (end = memchr(line, '\n', left))) {
		size_t len = (size_t)(end - line);

		e = take_line(r, line, len);
		line += len + 1;
		left -= len + 1;
	}
	r->end -= (off_t)left;
	return e;
}

int record_open(int fd, struct record **ret, struct errmsg *err)
{
	struct record *r = calloc(1, sizeof(*r));
	struct stat st = { 0 };
	int e = 0;

	if (!r) {
		close(fd);
		return errmsg_set(err, -ENOMEM, "record of the step");
	}
	r->fd = fd;
	if (fd >= 0 && fstat(fd, &st) < 0)
		e = -errno;
	else if (st.st_size > RECORD_BYTES_MAX)
		e = -EFBIG;
	if (e == 0 && fd >= 0)
		e = read_file(r, (size_t)st.st_size);
	if (e == 0 && r->text)
		e = take_lines(r);
	if (e < 0) {
		record_free(r);
		return errmsg_set(err, e, "record of the step");
	}
	*ret = r;
	return 0;
}

void record_free(struct record *r)
{
	if (!r)
		return;
	if (r->fd >= 0)
		close(r->fd);
	rankset_done(&r->came);
	free(r->awaited);
	free(r->text);
	free(r);
}

const char *record_text(const struct record *r, size_t *len)
{
	*len = r->len;
	return r->text;
}

bool record_has_come(const struct record *r, uint32_t rank)
{
	return rankset_has(&r->came, rank);
}

bool record_has_left(const struct record *r, uint32_t rank)
{
	for (size_t i = 0; i < r->n_awaited; i++)
		if (r->awaited[i] == rank)
			return false;
	return rankset_has(&r->came, rank);
}

uint32_t record_awaited(const struct record *r)
{
	return r->n_awaited ? r->awaited[0] : UINT32_MAX;
}

/* -- writing -------------------------------------------------------------- */

int record_add(struct record *r, const char *text, size_t len)
{
	off_t at = r->end;

	if (r->fd < 0)
		return 0;
	if (r->end + (off_t)len > RECORD_BYTES_MAX)
		return -ENOSPC;
	while (len) {
		ssize_t n = pwrite(r->fd, text, len, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		text += n;
		len -= (size_t)n;
		at += n;
	}
	r->end = at;
	return 0;
}

/* A line that cannot be written is missed by who reads it: not a reason to end
 * what works. */
static void add_helper(struct record *r, const char *what, uint32_t rank)
{
	char line[32];

	forget_awaited(r, rank);
	snprintf(line, sizeof(line), "%s %" PRIu32 "\n", what, rank);
	record_add(r, line, strlen(line));
}

void record_came(struct record *r, uint32_t rank)
{
	rankset_add(&r->came, rank, rank);
	add_helper(r, "came", rank);
}

void record_left(struct record *r, uint32_t rank)
{
	add_helper(r, "left", rank);
}
