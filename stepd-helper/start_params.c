#include <config.h>

#include "start_params.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "log.h"
#include "mux.h"
#include "param.h"
#include "qga_exec.h"

/* What is around the parameters: {"jsonrpc": ..., "method": ...}; and the
 * channels, which are the last of them. */
#define ENVELOPE 256

static json_t *json_argv(const char *const *argv)
{
	json_t *list = json_array();

	for (; *argv; argv++)
		json_array_append_new(list, param_from_text(*argv));
	return list;
}

static json_t *json_env(const struct task *t, const struct spec *s)
{
	struct strings env = { 0 };
	json_t *obj = json_object();

	if (spec_guest_env(t, s, &env) < 0)
		log_warn("no memory for the command's environment");
	for (size_t i = 0; i < env.n; i++) {
		char *eq = strchr(env.v[i], '=');

		*eq = '\0';
		json_object_set_new(obj, env.v[i], param_from_text(eq + 1));
	}
	strings_done(&env);
	return obj;
}

json_t *start_params(const struct task *t, const struct spec *s,
		     const struct guest_cmd *cmd)
{
	json_t *p = json_pack("{s:o, s:o, s:s}", "argv", json_argv(cmd->argv),
			      "env", json_env(t, s), "user", s->guest_user);

	if (p && s->workdir)
		json_object_set_new(p, "cwd", param_from_text(s->workdir));
	if (p && cmd->pty)
		json_object_set_new(p, "pty",
				    json_pack("{s:i, s:i, s:s}", "rows",
					      cmd->pty->ws_row, "cols",
					      cmd->pty->ws_col, "term",
					      cmd->term ? cmd->term : "linux"));
	return p;
}

int start_params_check(const struct task *t, const struct spec *s,
		       const char *const *argv, struct errmsg *err)
{
	const struct winsize ws = { .ws_row = USHRT_MAX, .ws_col = USHRT_MAX };
	const struct guest_cmd cmd = { argv, &ws, getenv("TERM") };
	const size_t most = START_PARAMS_MAX - ENVELOPE;
	json_t *p = start_params(t, s, &cmd);
	const char *no;
	size_t len = p ? json_dumpb(p, NULL, 0, JSON_COMPACT) : 0;

	json_object_del(p, "pty");
	no = p && s->exec == EXEC_QGA ? qga_exec_cannot(p) : NULL;
	json_decref(p);
	if (no)
		return errmsg_say(err, -EOPNOTSUPP, "--vm-exec=qga: %s", no);
	if (!len)
		return errmsg_set(err, -ENOMEM, "the command's arguments");
	if (len > most)
		return errmsg_say(
			err, -E2BIG,
			"the command's arguments and environment take %zu bytes, and %zu go into a guest: give it long lists by standard input, and fewer variables by --vm-env or --export",
			len, most);
	return 0;
}
