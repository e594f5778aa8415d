#include <config.h>

#include "start_params.h"

#include <errno.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "log.h"
#include "mux.h"

/* What is around the parameters: {"jsonrpc": ..., "method": ...} */
#define ENVELOPE 128

/* A text, or {"b64": ...} where it is not UTF-8. */
static json_t *json_bytes(const char *text)
{
	json_t *s = json_string(text);
	_cleanup_free_ char *b64 = NULL;
	size_t len = strlen(text);

	if (s)
		return s;
	b64 = malloc(len / 3 * 4 + 5);
	if (!b64)
		return NULL;
	EVP_EncodeBlock((unsigned char *)b64, (const unsigned char *)text,
			(int)len);
	return json_pack("{s:s}", "b64", b64);
}

static json_t *json_argv(const char *const *argv)
{
	json_t *list = json_array();

	for (; *argv; argv++)
		json_array_append_new(list, json_bytes(*argv));
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
		json_object_set_new(obj, env.v[i], json_bytes(eq + 1));
	}
	strings_done(&env);
	return obj;
}

json_t *start_params(const struct task *t, const struct spec *s,
		     const struct guest_cmd *cmd)
{
	json_t *p = json_pack("{s:o, s:o, s:s, s:i, s:i}", "argv",
			      json_argv(cmd->argv), "env", json_env(t, s),
			      "user", s->guest_user, "stdin", CHAN_STDIN,
			      "stdout", CHAN_STDOUT);

	if (p && s->workdir)
		json_object_set_new(p, "cwd", json_bytes(s->workdir));
	if (p && cmd->pty)
		json_object_set_new(p, "pty",
				    json_pack("{s:i, s:i, s:s}", "rows",
					      cmd->pty->ws_row, "cols",
					      cmd->pty->ws_col, "term",
					      cmd->term ? cmd->term : "linux"));
	else if (p)
		json_object_set_new(p, "stderr", json_integer(CHAN_STDERR));
	return p;
}

int start_params_check(const struct task *t, const struct spec *s,
		       const char *const *argv, struct errmsg *err)
{
	const struct winsize ws = { .ws_row = USHRT_MAX, .ws_col = USHRT_MAX };
	const struct guest_cmd cmd = { argv, &ws, getenv("TERM") };
	const size_t most = MUX_CTRL_MAX - ENVELOPE;
	json_t *p = start_params(t, s, &cmd);
	size_t len = p ? json_dumpb(p, NULL, 0, JSON_COMPACT) : 0;

	json_decref(p);
	if (!len)
		return errmsg_set(err, -ENOMEM, "the command's arguments");
	if (len > most)
		return errmsg_say(
			err, -E2BIG,
			"the command's arguments and environment take %zu bytes, and %zu go into a guest: give it long lists by standard input, and fewer variables by --vm-env or --export",
			len, most);
	return 0;
}
