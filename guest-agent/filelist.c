#include <config.h>

#include "filelist.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "file.h"
#include "param.h"

struct list {
	char **names; /* owned */
	size_t n, size;
};

static void list_done(struct list *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->names[i]);
	free(l->names);
}

static int list_add(struct list *l, const char *name)
{
	size_t size = l->size ? l->size * 2 : 64;
	char **names;

	if (l->n == l->size) {
		names = reallocarray(l->names, size, sizeof(*names));
		if (!names)
			return -ENOMEM;
		l->names = names;
		l->size = size;
	}
	l->names[l->n] = strdup(name);
	if (!l->names[l->n])
		return -ENOMEM;
	l->n++;
	return 0;
}

static bool is_meant(const struct filelist *f, const char *name)
{
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return false;
	if (f->after && strcmp(name, f->after) <= 0)
		return false;
	return !f->pattern || fnmatch(f->pattern, name, FNM_PERIOD) == 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int read_names(const struct filelist *f, DIR *d, struct list *l)
{
	struct dirent *e;
	int r = 0;

	while (r == 0 && (errno = 0, e = readdir(d)))
		if (is_meant(f, e->d_name))
			r = list_add(l, e->d_name);
	if (r == 0 && errno)
		r = -errno;
	if (l->n)
		qsort(l->names, l->n, sizeof(*l->names), by_name);
	return r;
}

/* NULL where it is gone meanwhile. */
static json_t *entry(int dir, const char *name)
{
	struct stat st;
	json_t *o;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return NULL;
	o = file_stat_json(&st);
	json_object_set_new(o, "name", param_from_text(name));
	return o;
}

/* As many as go into an answer. */
static json_t *entries(const struct filelist *f, int dir, const struct list *l,
		       size_t *ret_n)
{
	json_t *a = json_array();
	size_t bytes = 0, i;

	for (i = 0; i < l->n && i < f->limit; i++) {
		json_t *o = entry(dir, l->names[i]);
		size_t len = o ? json_dumpb(o, NULL, 0,
					    JSON_COMPACT | JSON_ENSURE_ASCII)
			       : 0;

		if (bytes + len > FILELIST_BYTES) {
			json_decref(o);
			break;
		}
		bytes += len + 1;
		if (o)
			json_array_append_new(a, o);
	}
	*ret_n = i;
	return a;
}

int filelist_take(const struct filelist *f, json_t **ret, struct errmsg *err)
{
	_cleanup_(list_done) struct list l = { 0 };
	DIR *d = opendir(f->path);
	size_t n = 0;
	json_t *o;
	int r;

	if (!d)
		return errmsg_set(err, -errno, "%s", f->path);
	r = read_names(f, d, &l);
	if (r < 0) {
		closedir(d);
		return errmsg_set(err, r, "%s", f->path);
	}
	o = json_pack("{s:o}", "entries", entries(f, dirfd(d), &l, &n));
	if (n < l.n)
		json_object_set_new(o, "next",
				    n ? param_from_text(l.names[n - 1])
				      : json_null());
	closedir(d);
	*ret = o;
	return o ? 0 : errmsg_set(err, -ENOMEM, "%s", f->path);
}
