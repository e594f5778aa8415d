#include <config.h>

#include "copyhead.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "param.h"

void copyhead_done(struct copyhead *h)
{
	free(h->name);
	h->name = NULL;
}

static int write_line(int fd, json_t *o)
{
	_cleanup_free_ char *text =
		o ? json_dumps(o, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
	size_t len = text ? strlen(text) : 0, at = 0;

	json_decref(o);
	if (!text)
		return -ENOMEM;
	text[len++] = '\n'; /* in the place of the NUL */
	while (at < len) {
		ssize_t n = write(fd, text + at, len - at);

		if (n < 0 && errno != EINTR)
			return -errno;
		at += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

int copyhead_write(int fd, const struct copyhead *h)
{
	return write_line(fd, json_pack("{s:s, s:o, s:I, s:I, s:I}", "type",
					h->dir ? "dir" : "file", "name",
					param_from_text(h->name), "mode",
					(json_int_t)h->mode, "mtime_ns",
					(json_int_t)h->mtime_ns, "size",
					(json_int_t)h->size));
}

int copyhead_write_error(int fd, const char *text)
{
	return write_line(fd,
			  json_pack("{s:o}", "error", param_from_text(text)));
}

static int take_fields(const json_t *o, struct copyhead *h, struct errmsg *err)
{
	static const char *const types[] = { "file", "dir", NULL };
	int type = -1, r = param_word(o, "type", types, &type, err);

	if (r == 0 && type < 0)
		r = errmsg_say(err, -EPROTO, "a copy without a type");
	h->dir = type == 1;
	if (r == 0)
		r = param_text(o, "name", &h->name, err);
	if (r == 0 && (!h->name || strchr(h->name, '/') ||
		       strcmp(h->name, ".") == 0 || strcmp(h->name, "..") == 0))
		r = errmsg_say(err, -EPROTO, "a copy with an odd name");
	if (r == 0)
		r = param_int(o, "mode", -1, 07777, &h->mode, err);
	if (r == 0)
		r = param_int(o, "mtime_ns", INT64_MIN, INT64_MAX, &h->mtime_ns,
			      err);
	if (r == 0)
		r = param_int(o, "size", -1, INT64_MAX, &h->size, err);
	return r == -EINVAL ? -EPROTO : r;
}

int copyhead_parse(const char *text, size_t len, struct copyhead *ret,
		   struct errmsg *err)
{
	json_t *o = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	_cleanup_free_ char *error = NULL;
	struct copyhead h = { .mode = -1, .mtime_ns = -1, .size = -1 };
	int r = json_is_object(o) ? param_text(o, "error", &error, err)
				  : errmsg_say(err, -EPROTO,
					       "a copy does not begin as one");

	if (r == 0 && error)
		r = errmsg_say(
			err, -EREMOTE, "%s",
			*error ? error
			       : "the other side failed, and gave no reason");
	if (r == 0)
		r = take_fields(o, &h, err);
	json_decref(o);
	if (r < 0) {
		copyhead_done(&h);
		return r == -EINVAL ? -EPROTO : r;
	}
	*ret = h;
	return 0;
}

/* Byte by byte: what follows is another's. */
int copyhead_read(int fd, struct copyhead *ret, struct errmsg *err)
{
	_cleanup_free_ char *text = malloc(COPYHEAD_MAX);
	size_t len = 0;
	ssize_t n = 0;

	if (!text)
		return errmsg_set(err, -ENOMEM, "copy");
	while (len < COPYHEAD_MAX) {
		n = read(fd, text + len, 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0 || text[len] == '\n')
			break;
		len++;
	}
	if (n < 0)
		return errmsg_set(err, -errno, "copy");
	if (n == 0 && !len)
		return errmsg_say(err, -ENODATA, "nothing came");
	return copyhead_parse(text, len, ret, err);
}

char *copyhead_name(const char *path)
{
	size_t end = strlen(path), at;

	while (end && path[end - 1] == '/')
		end--;
	for (at = end; at && path[at - 1] != '/';)
		at--;
	return strndup(path + at, end - at);
}

char *copyhead_place(const struct copyhead *h, const char *path, bool is_dir)
{
	size_t len = strlen(path);
	bool slash = len && path[len - 1] == '/';
	char *place;

	if (!is_dir && !slash)
		return strdup(path);
	if (asprintf(&place, "%s%s%s", path, slash ? "" : "/",
		     *h->name ? h->name : "stdin") < 0)
		return NULL;
	return place;
}
