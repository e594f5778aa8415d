#include <config.h>

#include "start.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "param.h"
#include "spawn.h"

void start_free_env(char **env)
{
	for (char **e = env; e && *e; e++)
		free(*e);
	free(env);
}

void start_done(struct start *s)
{
	start_free_env(s->argv);
	start_free_env(s->env);
	free(s->cwd);
	free(s->user);
	free(s->term);
	*s = (struct start){ 0 };
}

static int parse_argv(const json_t *list, struct start *s, struct errmsg *err)
{
	size_t n = json_array_size(list);
	int r = 0;

	if (!n)
		return errmsg_say(err, -EINVAL,
				  "argv: not a list of at least one text");
	s->argv = calloc(n + 1, sizeof(*s->argv));
	if (!s->argv)
		return errmsg_set(err, -ENOMEM, "argv");
	for (size_t i = 0; r == 0 && i < n; i++)
		r = param_value_text(json_array_get(list, i), "argv",
				     &s->argv[i], err);
	if (r == 0 && !*s->argv[0])
		return errmsg_say(err, -EINVAL, "argv: the command is empty");
	return r;
}

static int parse_variable(const char *name, const json_t *value, char **ret,
			  struct errmsg *err)
{
	_cleanup_free_ char *text = NULL;
	int r;

	if (!*name || strchr(name, '='))
		return errmsg_say(err, -EINVAL,
				  "env: '%s' is no name of a variable", name);
	r = param_value_text(value, "env", &text, err);
	if (r < 0)
		return r;
	if (asprintf(ret, "%s=%s", name, text) < 0) {
		*ret = NULL;
		return errmsg_set(err, -ENOMEM, "env");
	}
	return 0;
}

static int parse_env(json_t *obj, struct start *s, struct errmsg *err)
{
	size_t n = 0;
	int r;

	if (obj && !json_is_null(obj) && !json_is_object(obj))
		return errmsg_say(err, -EINVAL, "env: not an object");
	s->env = calloc(json_object_size(obj) + 1, sizeof(*s->env));
	if (!s->env)
		return errmsg_set(err, -ENOMEM, "env");
	for (void *i = json_object_iter(obj); i;
	     i = json_object_iter_next(obj, i)) {
		r = parse_variable(json_object_iter_key(i),
				   json_object_iter_value(i), &s->env[n++],
				   err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int parse_pty(const json_t *pty, struct start *s, struct errmsg *err)
{
	int64_t rows = 24, cols = 80;
	int r;

	if (!pty || json_is_null(pty))
		return 0;
	if (!json_is_object(pty))
		return errmsg_say(err, -EINVAL, "pty: not an object");
	s->io.pty = true;
	r = param_int(pty, "rows", 0, UINT16_MAX, &rows, err);
	if (r == 0)
		r = param_int(pty, "cols", 0, UINT16_MAX, &cols, err);
	if (r == 0)
		r = param_text(pty, "term", &s->term, err);
	s->io.rows = (unsigned short)rows;
	s->io.cols = (unsigned short)cols;
	return r;
}

static int parse_channel(const json_t *params, const char *name,
			 unsigned int *ret, struct errmsg *err)
{
	int64_t chan = 0;
	int r = param_int(params, name, 1, UINT32_MAX, &chan, err);

	*ret = (unsigned int)chan;
	return r;
}

static int parse_channels(const json_t *params, struct start *s,
			  struct errmsg *err)
{
	int r = parse_channel(params, "stdin", &s->io.in, err);

	if (r == 0)
		r = parse_channel(params, "stdout", &s->io.out, err);
	if (r == 0 && !s->io.pty)
		r = parse_channel(params, "stderr", &s->io.err, err);
	return r;
}

int start_parse(const json_t *params, struct start *ret, struct errmsg *err)
{
	_cleanup_(start_done) struct start s = { 0 };
	int r = parse_argv(json_object_get(params, "argv"), &s, err);

	if (r == 0)
		r = parse_env(json_object_get(params, "env"), &s, err);
	if (r == 0)
		r = param_bool(params, "env_clear", &s.env_clear, err);
	if (r == 0)
		r = param_bool(params, "bound", &s.bound, err);
	if (r == 0)
		r = param_text(params, "cwd", &s.cwd, err);
	if (r == 0)
		r = param_text(params, "user", &s.user, err);
	if (r == 0)
		r = parse_pty(json_object_get(params, "pty"), &s, err);
	if (r == 0)
		r = parse_channels(params, &s, err);
	if (r < 0)
		return r;
	*ret = s;
	s = (struct start){ 0 };
	return 0;
}

/* Does @env set the variable of @assignment, too? */
static bool env_has(char *const *env, const char *assignment)
{
	size_t len = strcspn(assignment, "=") + 1;

	for (; *env; env++)
		if (strncmp(*env, assignment, len) == 0)
			return true;
	return false;
}

static bool env_add(char **env, char *const *given, const char *name,
		    const char *value)
{
	_cleanup_free_ char *text = NULL;

	if (asprintf(&text, "%s=%s", name, value) < 0) {
		text = NULL;
		return false;
	}
	while (*env)
		env++;
	if (!env_has(given, text))
		*env = TAKE_PTR(text);
	return true;
}

char **start_env(const struct start *s, const struct account *a)
{
	const char *const base[][2] = {
		{ "PATH", SPAWN_PATH },
		{ "HOME", a->home },
		{ "USER", a->name },
		{ "LOGNAME", a->name },
		{ "SHELL", a->shell },
		{ "TERM", s->io.pty ? s->term ? s->term : "linux" : NULL },
	};
	size_t n = ARRAY_SIZE(base) + 1;
	char **env;
	bool ok = true;

	for (char **e = s->env; *e; e++)
		n++;
	env = calloc(n, sizeof(*env));
	if (!env)
		return NULL;
	for (size_t i = 0; ok && !s->env_clear && i < ARRAY_SIZE(base); i++)
		if (base[i][1])
			ok = env_add(env, s->env, base[i][0], base[i][1]);
	for (size_t i = 0, at = 0; ok && s->env[i]; i++) {
		while (env[at])
			at++;
		env[at] = strdup(s->env[i]);
		ok = env[at] != NULL;
	}
	if (ok)
		return env;
	start_free_env(env);
	return NULL;
}
