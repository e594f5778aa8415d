#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "fileremove.h"
#include "job.h"
#include "kernel.h"
#include "param.h"
#include "spawn.h"

/* Kernels and ops that are made while the step runs: all of them are in
 * KERNEL_ADDED. What the image has stays as it is. */

static int no_memory(struct errmsg *err)
{
	return errmsg_set(err, -ENOMEM, "kernel");
}

/* Make the directory of @kernel, which may be there already. */
static int make_kernel(const char *kernel, struct errmsg *err)
{
	_cleanup_free_ char *path = kernel_path(KERNEL_IS_ADDED, kernel, NULL);
	int r = path ? file_make_parents(path, true, NULL) : -ENOMEM;

	return r < 0 ? errmsg_set(err, r, "kernel %s", kernel) : 0;
}

/* -- an op's file ---------------------------------------------------------- */

/* The program that "#!" needs: "sh" is where a process would find it. */
static int find_interp(const char *interp, char **ret, struct errmsg *err)
{
	const char *path = SPAWN_PATH, *end;

	if (strpbrk(interp, " \n\t"))
		return errmsg_say(err, -EINVAL, "interp: one word");
	for (; *path; path = *end ? end + 1 : end) {
		end = strchrnul(path, ':');
		free(*ret);
		*ret = NULL;
		if (asprintf(ret, "%.*s%s%s",
			     *interp == '/' ? 0 : (int)(end - path), path,
			     *interp == '/' ? "" : "/", interp) < 0) {
			*ret = NULL;
			return no_memory(err);
		}
		if (access(*ret, X_OK) == 0)
			return 0;
	}
	return errmsg_say(err, -ENOENT, "interp: there is no '%.80s' here",
			  interp);
}

/* A line of it must not become two. */
static int one_line(const char *name, const char *text, struct errmsg *err)
{
	return text && strchr(text, '\n')
		       ? errmsg_say(err, -EINVAL, "%s: has to be one line",
				    name)
		       : 0;
}

struct op_text {
	char *code, *interp, *params, *help, *user;
	int64_t timeout_ms;
};

static void op_text_done(struct op_text *t)
{
	free(t->code);
	free(t->interp);
	free(t->params);
	free(t->help);
	free(t->user);
}

static int parse_text(const json_t *params, struct op_text *t,
		      struct errmsg *err)
{
	int r = param_text(params, "code", &t->code, err);

	if (r == 0)
		r = param_text(params, "interp", &t->interp, err);
	if (r == 0)
		r = param_text(params, "params", &t->params, err);
	if (r == 0)
		r = param_text(params, "help", &t->help, err);
	if (r == 0)
		r = param_text(params, "run_as", &t->user, err);
	if (r == 0)
		r = param_int(params, "timeout_ms", 1, INT32_MAX,
			      &t->timeout_ms, err);
	if (r == 0 && !t->code)
		r = errmsg_say(err, -EINVAL, "code: is missing");
	if (r == 0)
		r = one_line("params", t->params, err);
	if (r == 0)
		r = one_line("help", t->help, err);
	return r < 0 ? r : one_line("run_as", t->user, err);
}

/* The lines of ophead.h, and then the code; "#!" is before both. */
static void print_op(FILE *f, const char *op, const char *interp,
		     const struct op_text *t)
{
	const char *code = t->code;

	if (interp) {
		fprintf(f, "#!%s\n", interp);
	} else if (strncmp(code, "#!", 2) == 0) {
		size_t len = strcspn(code, "\n");

		fprintf(f, "%.*s\n", (int)len, code);
		code += code[len] ? len + 1 : len;
	}
	if (t->params || t->help)
		fprintf(f, "# op: %s(%s): %s\n", op, t->params ? t->params : "",
			t->help ? t->help : "");
	if (t->user)
		fprintf(f, "# user: %s\n", t->user);
	if (t->timeout_ms)
		fprintf(f, "# timeout: %.3f\n", (double)t->timeout_ms / 1000);
	fputs(code, f);
	if (*code && code[strlen(code) - 1] != '\n')
		fputc('\n', f);
}

/* Whole, at the name @path, or not at all. */
static int put_in_place(const char *temp, const char *path, bool replace,
			struct errmsg *err)
{
	int r = 0;

	if (replace ? rename(temp, path) < 0 : link(temp, path) < 0)
		r = -errno;
	if (!replace || r < 0)
		unlink(temp);
	if (r == -EEXIST)
		return errmsg_say(err, r, "%s is there already (replace)",
				  path);
	return r < 0 ? errmsg_set(err, r, "%s", path) : 0;
}

static int write_op(const char *path, const char *op, const char *interp,
		    const struct op_text *t, bool replace, struct errmsg *err)
{
	_cleanup_free_ char *temp = NULL;
	FILE *f;
	int fd, r;

	/* no name of an op, so nobody takes it for one */
	if (asprintf(&temp, "%s~XXXXXX", path) < 0)
		return no_memory(err);
	fd = mkstemp(temp);
	if (fd < 0 || fchmod(fd, 0755) < 0 || !(f = fdopen(fd, "w")))
		return errmsg_set(err, -errno, "%s", path);
	print_op(f, op, interp, t);
	r = ferror(f) ? -EIO : 0;
	if (fclose(f) != 0 && r == 0)
		r = -errno;
	if (r < 0) {
		unlink(temp);
		return errmsg_set(err, r, "%s", path);
	}
	return put_in_place(temp, path, replace, err);
}

static int link_op(const char *path, const char *target, bool replace,
		   struct errmsg *err)
{
	_cleanup_free_ char *temp = NULL;

	if (*target != '/')
		return errmsg_say(err, -EINVAL, "path: has to be absolute");
	if (access(target, X_OK) < 0)
		return errmsg_set(err, -errno, "%s", target);
	if (!replace && symlink(target, path) == 0)
		return 0;
	if (!replace)
		return errmsg_set(err, -errno, "%s", path);
	if (asprintf(&temp, "%s~%d", path, (int)getpid()) < 0)
		return no_memory(err);
	if (symlink(target, temp) < 0)
		return errmsg_set(err, -errno, "%s", temp);
	return put_in_place(temp, path, true, err);
}

static int register_text(const char *path, const char *op, const json_t *params,
			 bool replace, struct errmsg *err)
{
	_cleanup_(op_text_done) struct op_text t = { 0 };
	_cleanup_free_ char *interp = NULL;
	int r = parse_text(params, &t, err);

	if (r == 0 && t.interp)
		r = find_interp(t.interp, &interp, err);
	if (r == 0 && !t.interp && strncmp(t.code, "#!", 2) != 0)
		r = errmsg_say(
			err, -EINVAL,
			"interp: is missing, and the code does not begin with #!");
	return r < 0 ? r : write_op(path, op, interp, &t, replace, err);
}

/* An op by what @params say of it: code, or path. */
static int register_op(const char *kernel, const char *op, const json_t *params,
		       struct errmsg *err)
{
	_cleanup_free_ char *path = kernel_path(KERNEL_IS_ADDED, kernel, op);
	_cleanup_free_ char *target = NULL;
	bool replace = false;
	int r = param_bool(params, "replace", &replace, err);

	if (!path)
		return no_memory(err);
	if (r == 0)
		r = param_text(params, "path", &target, err);
	if (r == 0 && !target == !json_object_get(params, "code"))
		r = errmsg_say(err, -EINVAL,
			       "one of path and code has to be there");
	if (r == 0)
		r = make_kernel(kernel, err);
	if (r < 0)
		return r;
	return target ? link_op(path, target, replace, err)
		      : register_text(path, op, params, replace, err);
}

/* -- the methods ----------------------------------------------------------- */

static int do_register(struct job_child *c, const json_t *params,
		       json_t **result, struct errmsg *err)
{
	_cleanup_free_ char *kernel = NULL, *op = NULL;
	int r;

	c->what = "op";
	r = kernel_need(params, "kernel", &kernel, err);
	if (r == 0)
		r = kernel_need(params, "op", &op, err);
	if (r == 0)
		r = kernel_check(kernel, err);
	return r < 0 ? r : register_op(kernel, op, params, err);
}

static int do_unregister(struct job_child *c, const json_t *params,
			 json_t **result, struct errmsg *err)
{
	_cleanup_free_ char *kernel = NULL, *op = NULL, *path = NULL;
	_cleanup_free_ char *shipped = NULL;
	int r;

	c->what = "op";
	r = kernel_need(params, "kernel", &kernel, err);
	if (r == 0)
		r = kernel_need(params, "op", &op, err);
	if (r == 0)
		r = kernel_check(kernel, err);
	if (r < 0)
		return r;
	path = kernel_path(KERNEL_IS_ADDED, kernel, op);
	shipped = kernel_path(KERNEL_IS_SHIPPED, kernel, op);
	if (!path || !shipped)
		return no_memory(err);
	if (unlink(path) == 0)
		return 0;
	if (errno == ENOENT && access(shipped, F_OK) == 0)
		return errmsg_say(err, -EPERM,
				  "op '%s' of kernel '%s' is the image's", op,
				  kernel);
	if (errno == ENOENT)
		return errmsg_say(err, -ENOENT, "kernel '%s' has no op '%s'",
				  kernel, op);
	return errmsg_set(err, -errno, "%s", path);
}

struct copy {
	const char *to;
};

static int copy_file(int from, int to)
{
	char buf[65536];
	ssize_t n;

	while ((n = read(from, buf, sizeof(buf))) > 0)
		for (ssize_t at = 0; at < n;) {
			ssize_t w = write(to, buf + at, (size_t)(n - at));

			if (w < 0 && errno != EINTR)
				return -errno;
			at += w > 0 ? w : 0;
		}
	return n < 0 ? -errno : 0;
}

static int copy_op(const char *op, const char *path, void *arg,
		   struct errmsg *err)
{
	struct copy *c = arg;
	_cleanup_free_ char *to = kernel_path(KERNEL_IS_ADDED, c->to, op);
	_cleanup_close_ int in = open(path, O_RDONLY | O_CLOEXEC), out = -1;
	int r;

	if (!to)
		return no_memory(err);
	if (in < 0)
		return errmsg_set(err, -errno, "%s", path);
	out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
	if (out < 0 || fchmod(out, 0755) < 0)
		return errmsg_set(err, -errno, "%s", to);
	r = copy_file(in, out);
	return r < 0 ? errmsg_set(err, r, "%s", to) : 0;
}

static int drop_added(const char *kernel, struct errmsg *err)
{
	_cleanup_free_ char *path = kernel_path(KERNEL_IS_ADDED, kernel, NULL);

	return path ? fileremove(path, true, err) : no_memory(err);
}

/* Make @kernel with the ops of @base (NULL: none); -EEXIST. */
static int new_kernel(const char *kernel, const char *base, struct errmsg *err)
{
	struct copy c = { kernel };
	struct errmsg ignored;
	int r;

	if (base && (r = kernel_check(base, err)) < 0)
		return r;
	for (int w = 0; w < KERNEL_WHERES; w++)
		if (kernel_has(w, kernel))
			return errmsg_say(err, -EEXIST,
					  "kernel '%s' is there already",
					  kernel);
	r = make_kernel(kernel, err);
	if (r == 0 && base)
		r = kernel_each(base, copy_op, &c, err);
	if (r < 0)
		drop_added(kernel, &ignored);
	return r;
}

static int do_add(struct job_child *c, const json_t *params, json_t **result,
		  struct errmsg *err)
{
	_cleanup_free_ char *kernel = NULL, *base = NULL;
	json_t *ops = json_object_get(params, "ops"), *one;
	struct errmsg ignored;
	const char *op;
	int r;

	c->what = "kernel";
	r = kernel_need(params, "kernel", &kernel, err);
	if (r == 0 && json_object_get(params, "base"))
		r = kernel_need(params, "base", &base, err);
	if (r == 0 && ops && !json_is_object(ops))
		r = errmsg_say(err, -EINVAL, "ops: not an object");
	if (r == 0)
		r = new_kernel(kernel, base, err);
	if (r < 0)
		return r;
	json_object_foreach (ops, op, one) {
		r = opname_check("ops", op, err);
		if (r == 0 && !json_is_object(one))
			r = errmsg_say(err, -EINVAL, "ops: %s: not an object",
				       op);
		if (r == 0)
			r = register_op(kernel, op, one, err);
		if (r < 0) {
			drop_added(kernel, &ignored);
			return r;
		}
	}
	return 0;
}

static int do_copy(struct job_child *c, const json_t *params, json_t **result,
		   struct errmsg *err)
{
	_cleanup_free_ char *from = NULL, *to = NULL;
	int r;

	c->what = "kernel";
	r = kernel_need(params, "kernel", &from, err);
	if (r == 0)
		r = kernel_need(params, "name", &to, err);
	return r < 0 ? r : new_kernel(to, from, err);
}

static int do_drop(struct job_child *c, const json_t *params, json_t **result,
		   struct errmsg *err)
{
	_cleanup_free_ char *kernel = NULL;
	int r;

	c->what = "kernel";
	r = kernel_need(params, "kernel", &kernel, err);
	if (r == 0)
		r = kernel_check(kernel, err);
	if (r == 0 && !kernel_has(KERNEL_IS_ADDED, kernel))
		r = errmsg_say(err, -EPERM, "kernel '%s' is the image's",
			       kernel);
	return r < 0 ? r : drop_added(kernel, err);
}

void kernel_add(struct rpc_call *call, const json_t *params, void *agent)
{
	job_start(agent, call, params, JOB_PLAIN, do_add);
}

void kernel_copy(struct rpc_call *call, const json_t *params, void *agent)
{
	job_start(agent, call, params, JOB_PLAIN, do_copy);
}

void kernel_drop(struct rpc_call *call, const json_t *params, void *agent)
{
	job_start(agent, call, params, JOB_PLAIN, do_drop);
}

void kernel_register(struct rpc_call *call, const json_t *params, void *agent)
{
	job_start(agent, call, params, JOB_PLAIN, do_register);
}

void kernel_unregister(struct rpc_call *call, const json_t *params, void *agent)
{
	job_start(agent, call, params, JOB_PLAIN, do_unregister);
}
