#include <config.h>

#include "op_code.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "cleanup.h"
#include "op_agent.h"
#include "opcall.h"
#include "param.h"
#include "start_params.h"

#define ERR_BYTES 65536 /* of its stderr */
#define MARK_LEN  33	/* a letter for the language, 32 digits */

/* The value of code in Python is what it leaves in returnvalue, or what the
 * function fn gives. It is written behind the mark, after all else. */
static const char python[] =
	"import json, os, sys\n"
	"q = json.load(sys.stdin)\n"
	"sys.stdin = open(os.devnull)\n"
	"fd = os.dup(1)\n"
	"g = {'__name__': '__main__', 'args': q['args'],\n"
	"     'kwargs': q['kwargs'], 'returnvalue': None}\n"
	"exec(compile(q['code'], '<code>', 'exec'), g)\n"
	"v = g[q['fn']](*q['args'], **q['kwargs']) if q['fn'] \\\n"
	"    else g['returnvalue']\n"
	"v = (q['mark'] + json.dumps(v, allow_nan=False)).encode()\n"
	"sys.stdout.flush()\n"
	"while v: v = v[os.write(fd, v):]\n";

/* In a shell it is the variable returnvalue, too. */
static const char shell_begin[] =
	"trap 'printf %s%s \"$VMSTEP_MARK\" \"${returnvalue-}\"' EXIT; ";

enum language { SHELL, PYTHON, OTHER };

struct op_code {
	struct service_conf conf;
	struct opcalls *calls;
};

struct code {
	enum language language;
	char *interp, *code, *fn, *user, *cwd;
	const json_t *args, *kwargs; /* borrowed; NULL: none */
	int64_t timeout_ms;
	char mark[MARK_LEN + 1];
};

static void code_done(struct code *c)
{
	free(c->interp);
	free(c->code);
	free(c->fn);
	free(c->user);
	free(c->cwd);
}

/* -- its end --------------------------------------------------------------- */

static const char *last_mark(const char *out, size_t len, const char *mark)
{
	size_t n = strlen(mark);

	for (size_t at = len; at >= n; at--)
		if (memcmp(out + at - n, mark, n) == 0)
			return out + at;
	return NULL;
}

json_t *op_code_value(const char *out, size_t len, const char *mark, bool text,
		      size_t *ret_len, struct errmsg *err)
{
	const char *value = last_mark(out, len, mark);
	size_t n = value ? len - (size_t)(value - out) : 0;
	json_error_t where;
	json_t *j;

	*ret_len = value ? (size_t)(value - out) - strlen(mark) : len;
	if (!n)
		return json_null();
	j = json_loadb(value, n, JSON_DECODE_ANY, &where);
	if (!j && text)
		j = param_from_bytes(value, n);
	if (!j)
		errmsg_say(err, 0, "its value is no JSON: %s", where.text);
	return j;
}

static void on_ended(struct rpc_call *call, const struct opcall_end *end,
		     const char *mark)
{
	struct errmsg err = { "" };
	json_t *value, *o;
	size_t len;

	if (end->signal || end->exit) {
		opcall_failed(call, end, "the code");
		return;
	}
	if (end->out_cut) {
		rpc_failf(call, RPC_E_TOOBIG,
			  "the code has written more than %d bytes",
			  OPCALL_OUT);
		return;
	}
	value = op_code_value(end->out, end->out_len, mark, *mark == 's', &len,
			      &err);
	if (!value) {
		rpc_failf(call, RPC_E_PROTO, "the code: %s", err.text);
		return;
	}
	o = json_pack("{s:o, s:o, s:o}", "return", value, "out",
		      param_from_bytes(end->out, len), "err",
		      param_from_bytes(end->err, end->err_len));
	if (o && end->err_cut)
		json_object_set_new(o, "err_truncated", json_true());
	rpc_result(call, o);
}

/* -- its start ------------------------------------------------------------- */

static enum language language_of(const char *interp)
{
	static const char *const shells[] = { "sh",  "bash", "dash",
					      "ash", "ksh",  "zsh" };
	const char *slash = strrchr(interp, '/');
	const char *name = slash ? slash + 1 : interp;

	for (size_t i = 0; i < ARRAY_SIZE(shells); i++)
		if (strcmp(name, shells[i]) == 0)
			return SHELL;
	return strncmp(name, "python", 6) == 0 || strncmp(name, "pypy", 4) == 0
		       ? PYTHON
		       : OTHER;
}

/* What the code cannot write by chance. */
static int make_mark(struct code *c)
{
	unsigned char random[(MARK_LEN - 1) / 2];

	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return -EIO;
	c->mark[0] = "spo"[c->language];
	for (size_t i = 0; i < sizeof(random); i++)
		snprintf(c->mark + 1 + 2 * i, 3, "%02x", random[i]);
	return 0;
}

static int parse(const json_t *params, struct code *c, struct errmsg *err)
{
	int r = param_text(params, "code", &c->code, err);

	c->timeout_ms = OPCALL_MS;
	if (r == 0)
		r = param_text(params, "interp", &c->interp, err);
	if (r == 0)
		r = param_text(params, "fn", &c->fn, err);
	if (r == 0)
		r = param_text(params, "user", &c->user, err);
	if (r == 0)
		r = param_text(params, "cwd", &c->cwd, err);
	if (r == 0)
		r = param_int(params, "timeout_ms", 1, OPCALL_MAX_MS,
			      &c->timeout_ms, err);
	if (r < 0)
		return r;
	if (!c->code)
		return errmsg_say(err, -EINVAL, "code: is missing");
	c->args = json_object_get(params, "args");
	c->kwargs = json_object_get(params, "kwargs");
	if (c->args && !json_is_array(c->args))
		return errmsg_say(err, -EINVAL, "args: not an array");
	if (c->kwargs && !json_is_object(c->kwargs))
		return errmsg_say(err, -EINVAL, "kwargs: not an object");
	if (!c->interp)
		c->interp = strdup("sh");
	if (!c->interp)
		return errmsg_set(err, -ENOMEM, "code");
	c->language = language_of(c->interp);
	if (c->fn && c->language == OTHER)
		return errmsg_say(err, -EINVAL,
				  "fn: shells and Python have that");
	return make_mark(c) < 0 ? errmsg_set(err, -EIO, "code") : 0;
}

/* A text as it is, all else as JSON. */
static json_t *as_text(const json_t *value)
{
	_cleanup_free_ char *text = NULL;

	if (json_is_string(value))
		return json_string(json_string_value(value));
	text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
	return text ? json_string(text) : NULL;
}

static void add_args(json_t *argv, const struct code *c)
{
	for (size_t i = 0; i < json_array_size(c->args); i++)
		json_array_append_new(argv,
				      as_text(json_array_get(c->args, i)));
}

/* sh -c CODE sh ARGS */
static json_t *shell_argv(const struct code *c)
{
	_cleanup_free_ char *text = NULL;
	json_t *argv;

	if (asprintf(&text, "%s%s%s%s%s", shell_begin, c->code,
		     c->fn ? "\n" : "", c->fn ? c->fn : "",
		     c->fn ? " \"$@\"" : "") < 0) {
		text = NULL;
		return NULL;
	}
	argv = json_pack("[s, s, s, s]", c->interp, "-c", text, c->interp);
	if (argv)
		add_args(argv, c);
	return argv;
}

static json_t *argv_of(const struct code *c)
{
	json_t *argv;

	if (c->language == SHELL)
		return shell_argv(c);
	if (c->language == PYTHON)
		return json_pack("[s, s, s]", c->interp, "-c", python);
	argv = json_pack("[s, s]", c->interp, "-");
	if (argv)
		add_args(argv, c);
	return argv;
}

/* What the process gets on its standard input; to be freed. */
static char *input_of(const struct code *c)
{
	json_t *q;
	char *text;

	if (c->language == SHELL)
		return strdup("");
	if (c->language == OTHER)
		return strdup(c->code);
	q = json_pack("{s:s, s:s, s:s?, s:o, s:o}", "code", c->code, "mark",
		      c->mark, "fn", c->fn, "args",
		      c->args ? json_deep_copy(c->args) : json_array(),
		      "kwargs",
		      c->kwargs ? json_deep_copy(c->kwargs) : json_object());
	text = q ? json_dumps(q, JSON_COMPACT) : NULL;
	json_decref(q);
	return text;
}

static json_t *start_of(const struct op_code *o, const struct code *c)
{
	static const char *const none[] = { NULL };
	const struct guest_cmd cmd = { .argv = none };
	json_t *p = start_params(o->conf.task, o->conf.spec, &cmd);
	json_t *env = json_object_get(p, "env"), *value;
	const char *name;

	if (!p)
		return NULL;
	json_object_set_new(p, "argv", argv_of(c));
	if (c->user)
		json_object_set_new(p, "user", json_string(c->user));
	if (c->cwd)
		json_object_set_new(p, "cwd", param_from_text(c->cwd));
	if (c->language == SHELL)
		json_object_set_new(env, "VMSTEP_MARK", json_string(c->mark));
	if (c->language != PYTHON)
		json_object_foreach ((json_t *)(uintptr_t)c->kwargs, name,
				     value)
			json_object_set_new(env, name, as_text(value));
	return p;
}

static void code_run(struct rpc_call *call, const json_t *params, void *arg)
{
	_cleanup_(code_done) struct code c = { 0 };
	_cleanup_free_ char *input = NULL;
	struct op_code *o = arg;
	struct opcall_spec spec;
	struct errmsg err;

	if (parse(params, &c, &err) < 0) {
		rpc_fail(call, RPC_INVALID_PARAMS, err.text);
		return;
	}
	input = input_of(&c);
	spec = (struct opcall_spec){ .params = start_of(o, &c),
				     .input = input,
				     .input_len = input ? strlen(input) : 0,
				     .label = "code.run",
				     .tag = c.mark,
				     .err_bytes = ERR_BYTES,
				     .timeout_ms = c.timeout_ms,
				     .fn = on_ended };
	opcall_begin(o->calls, call, &spec);
}

const struct rpc_method op_code_methods[] = {
	{ "code.run", code_run },
	{ 0 },
};

int op_code_new(const struct service_conf *conf, struct ops *ops,
		struct op_code **ret)
{
	struct op_code *o = calloc(1, sizeof(*o));

	if (!o)
		return -ENOMEM;
	o->conf = *conf;
	o->calls = opcalls_new(conf);
	*ret = o;
	return o->calls ? ops_add(ops, op_code_methods, o) : -ENOMEM;
}

void op_code_free(struct op_code *o)
{
	if (!o)
		return;
	opcalls_free(o->calls);
	free(o);
}
