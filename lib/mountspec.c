#include <config.h>

#include "mountspec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"

int mountspec_check_dst(const char *path, struct errmsg *err)
{
	size_t words = 0;

	if (*path != '/')
		return errmsg_say(err, -EINVAL,
				  "'%s' is not a path from / in the guest",
				  path);
	for (const char *p = path; *p;) {
		size_t n;

		p += strspn(p, "/");
		n = strcspn(p, "/");
		if (n == 2 && strncmp(p, "..", 2) == 0)
			return errmsg_say(
				err, -EINVAL,
				"'%s' has '..' in it: name the directory itself",
				path);
		words += n > 0;
		p += n;
	}
	if (!words)
		return errmsg_say(
			err, -EINVAL,
			"'%s' would cover the guest's own files: name a directory below /",
			path);
	return 0;
}

int mountspecs_add(struct mountspecs *m, const char *src, const char *dst,
		   bool ro)
{
	struct mountspec *v = reallocarray(m->v, m->n + 1, sizeof(*v));

	if (!v)
		return -ENOMEM;
	m->v = v;
	v[m->n] = (struct mountspec){ strdup(src), strdup(dst), ro };
	m->n++;
	return v[m->n - 1].src && v[m->n - 1].dst ? 0 : -ENOMEM;
}

/* @text is changed. */
static int parse_one(struct mountspecs *m, char *text, struct errmsg *err)
{
	char *dst = strchr(text, ':'), *mode;
	int r;

	if (!dst || dst == text)
		return errmsg_say(
			err, -EINVAL,
			"'%s' is not SRC:DST: name a directory of the node and where the guest is to have it",
			text);
	*dst++ = '\0';
	mode = strchr(dst, ':');
	if (mode)
		*mode++ = '\0';
	r = mountspec_check_dst(dst, err);
	if (r < 0)
		return r;
	if (mode && strcmp(mode, "ro") != 0 && strcmp(mode, "rw") != 0)
		return errmsg_say(err, -EINVAL, "'%s' is not ro or rw", mode);
	r = mountspecs_add(m, text, dst, mode && strcmp(mode, "ro") == 0);
	return r < 0 ? errmsg_set(err, r, "mounts") : 0;
}

static void drop_after(struct mountspecs *m, size_t n)
{
	while (m->n > n) {
		m->n--;
		free(m->v[m->n].src);
		free(m->v[m->n].dst);
	}
}

int mountspecs_parse(struct mountspecs *m, const char *list, struct errmsg *err)
{
	_cleanup_free_ char *copy = strdup(list);
	char *rest = copy, *one;
	size_t before = m->n;
	int r = copy ? 0 : errmsg_set(err, -ENOMEM, "mounts");

	while (r == 0 && (one = strsep(&rest, ",")))
		r = parse_one(m, one, err);
	if (r < 0)
		drop_after(m, before);
	return r;
}

void mountspecs_done(struct mountspecs *m)
{
	drop_after(m, 0);
	free(m->v);
	*m = (struct mountspecs){ 0 };
}
