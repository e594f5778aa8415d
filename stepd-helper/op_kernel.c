#include <config.h>

#include "op_kernel.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "cleanup.h"
#include "op_agent.h"
#include "opcall.h"
#include "opcat.h"
#include "param.h"
#include "start_params.h"

#define ERR_BYTES 4096 /* of an op's stderr */
#define LABEL_MAX 160

/* A call whose op the agent looks for. */
struct search {
	LIST_ENTRY(search) next;
	struct op_kernel *owner;
	struct rpc_call *call;
	char label[LABEL_MAX]; /* "KERNEL:OP" */
	json_t *params;
	char *user;	    /* NULL: as the op says */
	int64_t timeout_ms; /* 0: as the op says */
};

struct op_kernel {
	struct service_conf conf;
	struct ops *ops;
	struct opcalls *calls;
	LIST_HEAD(, search) searches;
};

/* -- the built-in kernel --------------------------------------------------- */

#define CORE "core"

static const struct {
	const char *name, *op;
} core[] = {
	{ "echo", "task.echo" }, { "info", "sys.info" }, { "log", "log.write" },
	{ "ping", "task.ping" }, { "sleep", "sleep" },
};

static const char *core_op(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(core); i++)
		if (strcmp(core[i].name, name) == 0)
			return core[i].op;
	return NULL;
}

static json_t *core_json(void)
{
	json_t *list = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(core); i++) {
		const struct op *o = opcat_find(core[i].op);

		json_array_append_new(
			list, json_pack("{s:s, s:s, s:s, s:s}", "op",
					core[i].name, "params", o->params,
					"help", o->help, "is", o->name));
	}
	return json_pack("{s:s, s:s, s:o}", "kernel", CORE, "where", "built-in",
			 "ops", list);
}

/* Names that are no kernel's of a guest, whatever is in it. */
static bool is_reserved(const char *kernel)
{
	return strcmp(kernel, CORE) == 0 || strcmp(kernel, "default") == 0;
}

/* -- an op of a guest's ---------------------------------------------------- */

json_t *op_kernel_value(const char *out, size_t len, struct errmsg *err)
{
	json_error_t where;
	json_t *value;

	while (len && strchr("\r\n\t ", out[len - 1]))
		len--;
	if (!len)
		return json_object();
	value = json_loadb(out, len, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES,
			   &where);
	if (!value)
		errmsg_say(err, 0, "it has not written JSON: %s", where.text);
	return value;
}

static void on_called(struct rpc_call *call, const struct opcall_end *end,
		      const char *label)
{
	struct errmsg err = { "" };
	json_t *value;

	if (end->signal || end->exit) {
		opcall_failed(call, end, label);
		return;
	}
	if (end->out_cut) {
		rpc_failf(call, RPC_E_TOOBIG,
			  "%s has written more than %d bytes", label,
			  OPCALL_OUT);
		return;
	}
	value = op_kernel_value(end->out, end->out_len, &err);
	if (value)
		rpc_result(call, value);
	else
		rpc_failf(call, RPC_E_PROTO, "%s: %s", label, err.text);
}

static const char *text_of(const json_t *o, const char *name)
{
	return json_string_value(json_object_get(o, name));
}

/* The agent's proc.start: as the step's command, but as root from the
 * beginning, and in no directory of a user's. */
static json_t *start_of(const struct search *s, const json_t *found)
{
	const struct service_conf *c = &s->owner->conf;
	const char *const argv[] = { text_of(found, "path"), NULL };
	const struct guest_cmd cmd = { .argv = argv };
	const char *user = s->user ? s->user : text_of(found, "user");
	json_t *p = argv[0] ? start_params(c->task, c->spec, &cmd) : NULL;

	if (!p)
		return NULL;
	json_object_set_new(p, "cwd", json_string("/"));
	if (user)
		json_object_set_new(p, "user", json_string(user));
	else
		json_object_del(p, "user");
	json_object_set_new(json_object_get(p, "env"), "VMSTEP_OP",
			    json_string(s->label));
	return p;
}

static int64_t time_of(const struct search *s, const json_t *found)
{
	json_int_t ms =
		json_integer_value(json_object_get(found, "timeout_ms"));

	if (s->timeout_ms)
		return s->timeout_ms;
	return ms > 0 && ms <= OPCALL_MAX_MS ? ms : OPCALL_MS;
}

static void call_found(struct search *s, struct rpc_call *call,
		       const json_t *found)
{
	_cleanup_free_ char *line = json_dumps(s->params, JSON_COMPACT);
	struct opcall_spec spec = { .params = start_of(s, found),
				    .label = s->label,
				    .tag = s->label,
				    .err_bytes = ERR_BYTES,
				    .timeout_ms = time_of(s, found),
				    .fn = on_called };

	if (line) {
		spec.input = line;
		spec.input_len = strlen(line) + 1;
		line[spec.input_len - 1] = '\n'; /* in the place of the NUL */
	}
	opcall_begin(s->owner->calls, call, &spec);
}

static void search_free(struct search *s)
{
	LIST_REMOVE(s, next);
	json_decref(s->params);
	free(s->user);
	free(s);
}

static void on_found(const struct rpc_reply *reply, void *arg)
{
	struct search *s = arg;
	struct rpc_call *call = s->call;

	rpc_on_gone(call, NULL, NULL);
	if (reply->result)
		call_found(s, call, reply->result);
	else
		rpc_pass_on(call, reply);
	search_free(s);
}

static void on_gone(struct rpc_call *call, void *arg)
{
	struct search *s = arg;

	guest_forget_request(machine_guest(s->owner->conf.machine), s);
	rpc_result(call, NULL);
	search_free(s);
}

/* @user (NULL: none) is borrowed. */
static void call_op(struct op_kernel *k, struct rpc_call *call,
		    const char *kernel, const char *op, const json_t *params,
		    const char *user, int64_t timeout_ms)
{
	struct guest *g = op_agent_guest(k->conf.machine, call);
	struct search *s = g ? calloc(1, sizeof(*s)) : NULL;
	int r;

	if (!s) {
		if (g)
			op_agent_failed(call, -ENOMEM);
		return;
	}
	s->owner = k;
	s->call = call;
	s->params = json_deep_copy(params);
	s->user = user ? strdup(user) : NULL;
	s->timeout_ms = timeout_ms;
	snprintf(s->label, sizeof(s->label), "%.72s:%.72s", kernel, op);
	LIST_INSERT_HEAD(&k->searches, s, next);
	r = s->params && !s->user == !user
		    ? guest_request(g, "op.find",
				    json_pack("{s:s, s:s}", "kernel", kernel,
					      "op", op),
				    on_found, s)
		    : -ENOMEM;
	if (r < 0) {
		op_agent_failed(call, r);
		search_free(s);
	} else {
		rpc_on_gone(call, on_gone, s);
	}
}

/* Which of both it is; @params are the op's. */
static void call_any(struct op_kernel *k, struct rpc_call *call,
		     const char *kernel, const char *op, const json_t *params,
		     const char *user, int64_t timeout_ms)
{
	const char *method = core_op(op);

	if (!is_reserved(kernel))
		call_op(k, call, kernel, op, params, user, timeout_ms);
	else if (strcmp(kernel, CORE) != 0)
		rpc_failf(call, RPC_E_NOENT, "no kernel '%s'", kernel);
	else if (!method)
		rpc_failf(
			call, RPC_E_NOENT,
			"kernel 'core' has no op '%.80s'; kernel.ops has its ops",
			op);
	else
		ops_carry_out(k->ops, call, method, params);
}

/* KERNEL:OP */
static void call_by_name(struct rpc_call *call, const char *method,
			 const json_t *params, void *arg)
{
	const char *colon = strchr(method, ':');
	_cleanup_free_ char *kernel = strndup(method, (size_t)(colon - method));

	if (kernel)
		call_any(arg, call, kernel, colon + 1, params, NULL, 0);
	else
		op_agent_failed(call, -ENOMEM);
}

static void op_call(struct rpc_call *call, const json_t *params, void *arg)
{
	_cleanup_free_ char *kernel = NULL, *op = NULL, *user = NULL;
	json_t *mine = json_object_get(params, "params"), *none = NULL;
	int64_t timeout_ms = 0;
	struct errmsg err;
	int r = param_text(params, "kernel", &kernel, &err);

	if (r == 0)
		r = param_text(params, "op", &op, &err);
	if (r == 0 && (!kernel || !op))
		r = errmsg_say(
			&err, -EINVAL, "%s",
			kernel ? "op: is missing"
			       : "kernel: is missing, and the session has none");
	if (r == 0)
		r = param_text(params, "user", &user, &err);
	if (r == 0)
		r = param_int(params, "timeout_ms", 1, OPCALL_MAX_MS,
			      &timeout_ms, &err);
	if (r == 0 && mine && !json_is_object(mine))
		r = errmsg_say(&err, -EINVAL, "params: not an object");
	if (r < 0) {
		rpc_fail(call, RPC_INVALID_PARAMS, err.text);
		return;
	}
	if (!mine)
		mine = none = json_object();
	call_any(arg, call, kernel, op, mine, user, timeout_ms);
	json_decref(none);
}

/* -- what the agent does as it is ------------------------------------------ */

/* Ops that change a kernel. */
static void change(struct op_kernel *k, struct rpc_call *call,
		   const char *method, const json_t *params)
{
	static const char *const names[] = { "kernel", "name" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const char *name = text_of(params, names[i]);

		if (name && is_reserved(name)) {
			rpc_failf(call, RPC_E_PERM,
				  "kernel '%s' is fixed: take another name",
				  name);
			return;
		}
	}
	op_agent_ask(k->conf.machine, call, method, json_deep_copy(params));
}

#define CHANGE(function, method)                                          \
	static void function(struct rpc_call *call, const json_t *params, \
			     void *arg)                                   \
	{                                                                 \
		change(arg, call, method, params);                        \
	}

CHANGE(kernel_add, "kernel.add")
CHANGE(kernel_copy, "kernel.copy")
CHANGE(kernel_drop, "kernel.drop")
CHANGE(op_register, "op.register")
CHANGE(op_unregister, "op.unregister")

/* The call is all that is needed of who asked: arg. */
static void on_list(const struct rpc_reply *reply, void *call)
{
	json_t *all;

	if (reply->result) {
		all = json_deep_copy(reply->result);
		json_array_insert_new(json_object_get(all, "kernels"), 0,
				      json_pack("{s:s, s:s, s:I}", "kernel",
						CORE, "where", "built-in",
						"ops",
						(json_int_t)ARRAY_SIZE(core)));
		rpc_result(call, all);
	} else {
		rpc_pass_on(call, reply);
	}
}

/* Names only. */
static json_t *names_of(const json_t *kernel)
{
	json_t *list = json_array(), *op;
	size_t i;

	json_array_foreach (json_object_get(kernel, "ops"), i, op)
		json_array_append(list, json_object_get(op, "op"));
	return json_pack("{s:o}", "ops", list);
}

static void on_ops(const struct rpc_reply *reply, void *call)
{
	if (reply->result)
		rpc_result(call, names_of(reply->result));
	else
		rpc_pass_on(call, reply);
}

static void ask(struct op_kernel *k, struct rpc_call *call, const char *method,
		json_t *params, rpc_reply_fn fn)
{
	struct guest *g = op_agent_guest(k->conf.machine, call);
	int r;

	if (!g) {
		json_decref(params);
		return;
	}
	r = guest_request(g, method, params, fn, call);
	if (r < 0)
		op_agent_failed(call, r);
}

static void kernel_list(struct rpc_call *call, const json_t *params, void *arg)
{
	ask(arg, call, "kernel.list", json_object(), on_list);
}

static bool is_core(const json_t *params)
{
	const char *kernel = text_of(params, "kernel");

	return kernel && strcmp(kernel, CORE) == 0;
}

static void kernel_get(struct rpc_call *call, const json_t *params, void *arg)
{
	if (is_core(params))
		rpc_result(call, core_json());
	else
		ask(arg, call, "kernel.get", json_deep_copy(params),
		    op_agent_answer);
}

static void kernel_ops(struct rpc_call *call, const json_t *params, void *arg)
{
	json_t *all;

	if (is_core(params)) {
		all = core_json();
		rpc_result(call, names_of(all));
		json_decref(all);
		return;
	}
	ask(arg, call, "kernel.get", json_deep_copy(params), on_ops);
}

void op_kernel_check(struct op_kernel *k, const char *kernel, rpc_reply_fn fn,
		     void *arg)
{
	struct guest *g = machine_guest(k->conf.machine);
	const struct rpc_reply none = {
		.code = RPC_E_NOAGENT,
		.message = "no agent answers in the guest"
	};
	struct rpc_reply there = { 0 };
	json_t *all;

	if (strcmp(kernel, CORE) == 0) {
		all = core_json();
		there.result = all;
		fn(&there, arg);
		json_decref(all);
	} else if (!g || guest_request(g, "kernel.get",
				       json_pack("{s:s}", "kernel", kernel), fn,
				       arg) < 0) {
		fn(&none, arg);
	}
}

/* -------------------------------------------------------------------------- */

const struct rpc_method op_kernel_methods[] = {
	{ "kernel.add", kernel_add },
	{ "kernel.copy", kernel_copy },
	{ "kernel.drop", kernel_drop },
	{ "kernel.get", kernel_get },
	{ "kernel.list", kernel_list },
	{ "kernel.ops", kernel_ops },
	{ "op.call", op_call },
	{ "op.register", op_register },
	{ "op.unregister", op_unregister },
	{ 0 },
};

int op_kernel_new(const struct service_conf *conf, struct ops *ops,
		  struct op_kernel **ret)
{
	struct op_kernel *k = calloc(1, sizeof(*k));

	if (!k)
		return -ENOMEM;
	k->conf = *conf;
	k->ops = ops;
	LIST_INIT(&k->searches);
	k->calls = opcalls_new(conf);
	*ret = k;
	if (!k->calls)
		return -ENOMEM;
	ops_set_kernels(ops, call_by_name, k);
	return ops_add(ops, op_kernel_methods, k);
}

void op_kernel_free(struct op_kernel *k)
{
	if (!k)
		return;
	while (!LIST_EMPTY(&k->searches)) { /* no agent to answer them */
		struct search *s = LIST_FIRST(&k->searches);

		rpc_fail(s->call, RPC_E_STATE, "the task has ended");
		search_free(s);
	}
	opcalls_free(k->calls);
	free(k);
}
