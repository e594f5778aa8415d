#include <config.h>

#include "kernel.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "call.h"
#include "cleanup.h"
#include "log.h"
#include "ops.h"
#include "plain.h"

/* -- what is shown --------------------------------------------------------- */

/* The text @name of @o between two others; nothing where there is none. */
static void say(const char *before, const json_t *o, const char *name,
		const char *after)
{
	const char *text = json_string_value(json_object_get(o, name));
	char harmless[ERRMSG_MAX];

	plain_line(text ? text : "", harmless, sizeof(harmless));
	if (*harmless)
		printf("%s%s%s", before, harmless, after);
}

void kernel_show_list(const char *rank, const json_t *result)
{
	json_t *kernel;
	size_t i;

	json_array_foreach (json_object_get(result, "kernels"), i, kernel) {
		printf("%s: ", rank);
		say("", kernel, "kernel", " ");
		printf("(%lld ops, ", (long long)json_integer_value(
					      json_object_get(kernel, "ops")));
		say("", kernel, "where", ")\n");
	}
}

void kernel_show_ops(const char *rank, const json_t *result)
{
	json_t *op;
	size_t i;

	json_array_foreach (json_object_get(result, "ops"), i, op) {
		printf("%s: ", rank);
		say("", op, "op", "(");
		say("", op, "params", "");
		putchar(')');
		say(": ", op, "help", "");
		say(" [as ", op, "user", "]");
		say(" [refused: ", op, "refused", "]");
		putchar('\n');
	}
}

/* -- what is added --------------------------------------------------------- */

static int read_script(int fd, const char *path, size_t *room, char **ret,
		       struct errmsg *err)
{
	_cleanup_free_ char *text = malloc(*room + 1);
	size_t len = 0;
	ssize_t n = 0;

	if (!text)
		return errmsg_set(err, -ENOMEM, "%s", path);
	while (len <= *room && (n = read(fd, text + len, *room + 1 - len)) > 0)
		len += (size_t)n;
	if (n < 0)
		return errmsg_set(err, -errno, "%s", path);
	if (len > *room)
		return errmsg_say(
			err, -E2BIG,
			"%s: scripts of more than %d bytes in all: copy them with vmstep cp, and then name them by op.register",
			path, KERNEL_SCRIPTS_MAX);
	text[len] = '\0';
	if (memchr(text, '\0', len) || strncmp(text, "#!", 2) != 0)
		return errmsg_say(
			err, -EINVAL,
			"%s: is no script, which begins with #!: copy a program with vmstep cp, and then name it by op.register",
			path);
	*room -= len;
	*ret = TAKE_PTR(text);
	return 0;
}

static int add_script(json_t *ops, int dir, const char *path, size_t *room,
		      struct errmsg *err)
{
	const char *slash = strrchr(path, '/');
	_cleanup_close_ int fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
	_cleanup_free_ char *text = NULL;
	json_t *one;
	int r;

	if (fd < 0)
		return errmsg_set(err, -errno, "%s", path);
	r = read_script(fd, path, room, &text, err);
	if (r < 0)
		return r;
	one = json_pack("{s:s}", "code", text);
	if (!one)
		return errmsg_say(err, -EINVAL, "%s: is not UTF-8", path);
	json_object_set_new(ops, slash ? slash + 1 : path, one);
	return 0;
}

/* Its executables; what else is there is none of them. */
static int add_dir(json_t *ops, const char *path, size_t *room,
		   struct errmsg *err)
{
	DIR *d = opendir(path);
	struct dirent *e;
	struct stat st;
	int r = 0;

	if (!d)
		return errmsg_set(err, -errno, "%s", path);
	while (r == 0 && (e = readdir(d)))
		if (fstatat(dirfd(d), e->d_name, &st, 0) == 0 &&
		    S_ISREG(st.st_mode) && (st.st_mode & 0100))
			r = add_script(ops, dirfd(d), e->d_name, room, err);
	closedir(d);
	return r < 0 ? errmsg_prefix(err, r, "%s", path) : 0;
}

json_t *kernel_scripts(const char *const *paths, int n, struct errmsg *err)
{
	size_t room = KERNEL_SCRIPTS_MAX;
	json_t *ops = json_object();
	struct stat st;
	int r = 0;

	for (int i = 0; i < n && r == 0; i++)
		if (stat(paths[i], &st) < 0)
			r = errmsg_set(err, -errno, "%s", paths[i]);
		else if (S_ISDIR(st.st_mode))
			r = add_dir(ops, paths[i], &room, err);
		else
			r = add_script(ops, AT_FDCWD, paths[i], &room, err);
	if (r == 0)
		return ops;
	json_decref(ops);
	return NULL;
}

/* -- the command ----------------------------------------------------------- */

static int usage(void)
{
	log_err("kernel list; kernel ops KERNEL; kernel add KERNEL [SCRIPT|DIR]...; kernel drop KERNEL");
	return EXIT_USAGE;
}

static int add(const struct invocation *inv)
{
	struct errmsg err;
	json_t *ops = kernel_scripts(inv->args + 2, inv->n_args - 2, &err);

	if (!ops) {
		log_err("%s", err.text);
		return EXIT_USAGE;
	}
	return ops_ask(
		inv, "kernel.add",
		json_pack("{s:s, s:o}", "kernel", inv->args[1], "ops", ops),
		CALL_S, NULL);
}

int kernel_run(const struct invocation *inv)
{
	const char *what = inv->args[0];
	const char *kernel = inv->n_args > 1 ? inv->args[1] : NULL;

	if (strcmp(what, "list") == 0 && !kernel)
		return ops_ask(inv, "kernel.list", NULL, CALL_S,
			       kernel_show_list);
	if (strcmp(what, "add") == 0 && kernel)
		return add(inv);
	if (inv->n_args != 2)
		return usage();
	if (strcmp(what, "ops") == 0)
		return ops_ask(inv, "kernel.get",
			       json_pack("{s:s}", "kernel", kernel), CALL_S,
			       kernel_show_ops);
	if (strcmp(what, "drop") == 0)
		return ops_ask(inv, "kernel.drop",
			       json_pack("{s:s}", "kernel", kernel), CALL_S,
			       NULL);
	return usage();
}
