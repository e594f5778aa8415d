#include <config.h>

#include "kernel.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "job.h"
#include "param.h"

#define OPS_MAX 1024 /* of a kernel, and kernels */

static const char *dirs[KERNEL_WHERES] = {
	[KERNEL_IS_ADDED] = KERNEL_ADDED,
	[KERNEL_IS_SHIPPED] = KERNEL_SHIPPED,
};

void kernel_set_dirs(const char *added, const char *shipped)
{
	dirs[KERNEL_IS_ADDED] = added;
	dirs[KERNEL_IS_SHIPPED] = shipped;
}

int kernel_need(const json_t *params, const char *name, char **ret,
		struct errmsg *err)
{
	int r = file_need(params, name, ret, err);

	return r < 0 ? r : opname_check(name, *ret, err);
}

char *kernel_path(enum kernel_where where, const char *kernel, const char *op)
{
	char *path;

	if (asprintf(&path, "%s/%s%s%s", dirs[where], kernel, op ? "/" : "",
		     op ? op : "") < 0)
		return NULL;
	return path;
}

bool kernel_has(enum kernel_where where, const char *kernel)
{
	_cleanup_free_ char *path = kernel_path(where, kernel, NULL);
	struct stat st;

	return path && stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

int kernel_check(const char *kernel, struct errmsg *err)
{
	for (int w = 0; w < KERNEL_WHERES; w++)
		if (kernel_has(w, kernel))
			return 0;
	return errmsg_say(err, -ENOENT,
			  "no kernel '%s' in this guest; kernel.list has them",
			  kernel);
}

/* -- names ----------------------------------------------------------------- */

struct names {
	char **v; /* owned, sorted, each once */
	size_t n;
};

static void names_done(struct names *n)
{
	for (size_t i = 0; i < n->n; i++)
		free(n->v[i]);
	free(n->v);
}

/* What does not look like a name is none: "add~", ".add.swp", "README.md~". */
static int names_add(struct names *n, const char *name, struct errmsg *err)
{
	size_t at = 0;
	char **v;

	if (opname_check("name", name, err) < 0)
		return 0;
	while (at < n->n && strcmp(n->v[at], name) < 0)
		at++;
	if (at < n->n && strcmp(n->v[at], name) == 0)
		return 0;
	if (n->n == OPS_MAX)
		return errmsg_say(err, -E2BIG, "more than %d names", OPS_MAX);
	v = reallocarray(n->v, n->n + 1, sizeof(*v));
	if (!v)
		return errmsg_set(err, -ENOMEM, "names");
	n->v = v;
	memmove(v + at + 1, v + at, (n->n - at) * sizeof(*v));
	v[at] = strdup(name);
	n->n++;
	return v[at] ? 0 : errmsg_set(err, -ENOMEM, "names");
}

/* Those in directory @path, if there is one. */
static int names_read(struct names *n, const char *path, struct errmsg *err)
{
	DIR *d = opendir(path);
	struct dirent *e;
	int r = 0;

	if (!d && (errno == ENOENT || errno == ENOTDIR))
		return 0;
	if (!d)
		return errmsg_set(err, -errno, "%s", path);
	while (r == 0 && (e = readdir(d)))
		r = names_add(n, e->d_name, err);
	closedir(d);
	return r;
}

/* -- an op ----------------------------------------------------------------- */

static int check_owner(const char *path, const struct stat *st,
		       struct errmsg *err)
{
	if ((st->st_uid == 0 || st->st_uid == geteuid()) &&
	    !(st->st_mode & (S_IWGRP | S_IWOTH)))
		return 0;
	return errmsg_say(
		err, -EPERM,
		"%s: others than root can write to it: its owner has to be root, its mode 755",
		path);
}

/* Who could replace it? */
static int check_dirs(enum kernel_where where, const char *kernel,
		      struct errmsg *err)
{
	_cleanup_free_ char *path = kernel_path(where, kernel, NULL);
	struct stat st;
	int r;

	if (!path)
		return errmsg_set(err, -ENOMEM, "kernel %s", kernel);
	if (stat(dirs[where], &st) < 0)
		return errmsg_set(err, -errno, "%s", dirs[where]);
	r = check_owner(dirs[where], &st, err);
	if (r < 0)
		return r;
	if (stat(path, &st) < 0)
		return errmsg_set(err, -errno, "%s", path);
	return check_owner(path, &st, err);
}

static int read_head(const char *path, struct ophead *ret, struct errmsg *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char text[OPHEAD_BYTES];
	ssize_t n = 0;
	size_t len = 0;
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return errmsg_set(err, -errno, "%s", path);
	r = check_owner(path, &st, err);
	if (r < 0)
		return r;
	if (!S_ISREG(st.st_mode) || !(st.st_mode & 0111))
		return errmsg_say(err, -EACCES, "%s: is not executable", path);
	while (len < sizeof(text) &&
	       (n = read(fd, text + len, sizeof(text) - len)) > 0)
		len += (size_t)n;
	if (n < 0)
		return errmsg_set(err, -errno, "%s", path);
	r = ophead_parse(text, len, ret, err);
	return r < 0 ? errmsg_prefix(err, -ENOEXEC, "%s", path) : 0;
}

static json_t *op_json(const char *op, const char *path, const struct ophead *h)
{
	json_t *o = json_pack("{s:s, s:s}", "op", op, "path", path);

	json_object_set_new(o, "params", param_from_text(h->params));
	json_object_set_new(o, "help", param_from_text(h->help));
	if (*h->user)
		json_object_set_new(o, "user", param_from_text(h->user));
	if (h->timeout_ms)
		json_object_set_new(o, "timeout_ms",
				    json_integer(h->timeout_ms));
	return o;
}

int kernel_each(const char *kernel, kernel_op_fn fn, void *arg,
		struct errmsg *err)
{
	_cleanup_(names_done) struct names names = { 0 };
	int r = 0;

	for (int w = 0; w < KERNEL_WHERES && r == 0; w++) {
		_cleanup_free_ char *path = kernel_path(w, kernel, NULL);

		r = path ? names_read(&names, path, err)
			 : errmsg_set(err, -ENOMEM, "kernel %s", kernel);
	}
	for (size_t i = 0; i < names.n && r == 0; i++) {
		_cleanup_free_ char *added =
			kernel_path(KERNEL_IS_ADDED, kernel, names.v[i]);
		_cleanup_free_ char *shipped =
			kernel_path(KERNEL_IS_SHIPPED, kernel, names.v[i]);

		if (!added || !shipped)
			return errmsg_set(err, -ENOMEM, "kernel %s", kernel);
		r = fn(names.v[i], access(added, F_OK) == 0 ? added : shipped,
		       arg, err);
	}
	return r;
}

/* -- the methods ----------------------------------------------------------- */

static int do_find_op(struct job_child *c, const json_t *params,
		      json_t **result, struct errmsg *err)
{
	_cleanup_free_ char *kernel = NULL, *op = NULL;
	struct ophead head;
	int r;

	c->what = "op";
	r = kernel_need(params, "kernel", &kernel, err);
	if (r == 0)
		r = kernel_need(params, "op", &op, err);
	if (r == 0)
		r = kernel_check(kernel, err);
	for (int w = 0; w < KERNEL_WHERES && r == 0; w++) {
		_cleanup_free_ char *path = kernel_path(w, kernel, op);

		if (!path)
			return errmsg_set(err, -ENOMEM, "op %s", op);
		if (access(path, F_OK) < 0)
			continue;
		r = check_dirs(w, kernel, err);
		if (r == 0)
			r = read_head(path, &head, err);
		if (r == 0)
			*result = op_json(op, path, &head);
		return r;
	}
	return r < 0 ? r
		     : errmsg_say(
			       err, -ENOENT,
			       "kernel '%s' has no op '%s'; kernel.ops has its ops",
			       kernel, op);
}

static int add_op(const char *op, const char *path, void *arg,
		  struct errmsg *err)
{
	struct ophead head = { "" };
	struct errmsg why;
	int r = read_head(path, &head, &why);
	json_t *o = op_json(op, path, &head);

	if (r < 0)
		json_object_set_new(o, "refused", param_from_text(why.text));
	json_array_append_new(arg, o);
	return 0;
}

static const char *where_text(const char *kernel)
{
	bool added = kernel_has(KERNEL_IS_ADDED, kernel);
	bool shipped = kernel_has(KERNEL_IS_SHIPPED, kernel);

	return added && shipped ? "both" : added ? "added" : "image";
}

static int do_get(struct job_child *c, const json_t *params, json_t **result,
		  struct errmsg *err)
{
	_cleanup_free_ char *kernel = NULL;
	json_t *ops = json_array();
	int r;

	c->what = "kernel";
	r = kernel_need(params, "kernel", &kernel, err);
	if (r == 0)
		r = kernel_check(kernel, err);
	if (r == 0)
		r = kernel_each(kernel, add_op, ops, err);
	if (r == 0)
		*result = json_pack("{s:s, s:s, s:O}", "kernel", kernel,
				    "where", where_text(kernel), "ops", ops);
	json_decref(ops);
	return r;
}

static int count_op(const char *op, const char *path, void *arg,
		    struct errmsg *err)
{
	++*(json_int_t *)arg;
	return 0;
}

static int do_list(struct job_child *c, const json_t *params, json_t **result,
		   struct errmsg *err)
{
	_cleanup_(names_done) struct names names = { 0 };
	json_t *list = json_array();
	int r = 0;

	c->what = "kernel";
	for (int w = 0; w < KERNEL_WHERES && r == 0; w++)
		r = names_read(&names, dirs[w], err);
	for (size_t i = 0; i < names.n && r == 0; i++) {
		const char *kernel = names.v[i];
		json_int_t n = 0;

		if (kernel_check(kernel, err) < 0)
			continue; /* a file */
		r = kernel_each(kernel, count_op, &n, err);
		json_array_append_new(
			list, json_pack("{s:s, s:s, s:I}", "kernel", kernel,
					"where", where_text(kernel), "ops", n));
	}
	if (r == 0)
		*result = json_pack("{s:O}", "kernels", list);
	json_decref(list);
	return r;
}

void kernel_find_op(struct rpc_call *call, const json_t *params, void *agent)
{
	job_start(agent, call, params, JOB_PLAIN, do_find_op);
}

void kernel_get(struct rpc_call *call, const json_t *params, void *agent)
{
	job_start(agent, call, params, JOB_PLAIN, do_get);
}

void kernel_list(struct rpc_call *call, const json_t *params, void *agent)
{
	job_start(agent, call, params, JOB_PLAIN, do_list);
}
