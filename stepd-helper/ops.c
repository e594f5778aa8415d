#include <config.h>

#include "ops.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "opcat.h"

#define TABLES_MAX 32

struct ops {
	struct {
		const struct rpc_method *methods;
		void *arg;
	} tables[TABLES_MAX];
	size_t n;
	const struct rpc_method *others; /* NULL: none */
	bool (*others_in_force)(void *arg);
	void *others_arg;
	ops_router_fn router; /* NULL: all is for this task */
	void *router_arg;
	ops_gate_fn gate; /* NULL: none */
	void *gate_arg;
	ops_kernel_fn kernels; /* NULL: there are none */
	void *kernels_arg;
};

struct ops *ops_new(void)
{
	return calloc(1, sizeof(struct ops));
}

void ops_free(struct ops *o)
{
	free(o);
}

static const struct rpc_method *find(const struct ops *o, const char *name,
				     void **ret_arg)
{
	const struct rpc_method *m;

	for (size_t i = 0; i < o->n; i++)
		for (m = o->tables[i].methods; m->name; m++)
			if (strcmp(m->name, name) == 0) {
				*ret_arg = o->tables[i].arg;
				return m;
			}
	return NULL;
}

int ops_add(struct ops *o, const struct rpc_method *methods, void *arg)
{
	void *others;

	if (o->n == TABLES_MAX)
		return -ENOMEM;
	for (const struct rpc_method *m = methods; m->name; m++)
		if (find(o, m->name, &others))
			return -EEXIST;
	o->tables[o->n].methods = methods;
	o->tables[o->n++].arg = arg;
	return 0;
}

void ops_set_other(struct ops *o, const struct rpc_method *methods,
		   bool (*in_force)(void *arg), void *arg)
{
	o->others = methods;
	o->others_in_force = in_force;
	o->others_arg = arg;
}

static void do_it(const struct ops *o, const struct rpc_method *m, void *arg,
		  struct rpc_call *call, const json_t *params)
{
	const struct rpc_method *other = o->others;

	if (!other || !o->others_in_force(o->others_arg)) {
		m->fn(call, params, arg);
		return;
	}
	while (other->name && strcmp(other->name, m->name) != 0)
		other++;
	if (other->name)
		other->fn(call, params, o->others_arg);
	else
		m->fn(call, params, arg);
}

/* A wrong name is no silent default. False: @call is answered. */
static bool knows(const struct op *op, struct rpc_call *call,
		  const json_t *params)
{
	const char *key;
	json_t *value;

	json_object_foreach ((json_t *)(uintptr_t)params, key, value)
		if (op && !opcat_takes(op, key)) {
			rpc_failf(call, RPC_INVALID_PARAMS,
				  "unknown parameter '%.80s'", key);
			return false;
		}
	return true;
}

/* What "to" means is the op's own business. */
static bool has_own_to(const struct op *op)
{
	return op && strcmp(op->params, "any") != 0 && opcat_takes(op, "to");
}

/* Its params are its own, and none of the catalogue's. */
static bool is_kernels(const char *method)
{
	return strchr(method, ':');
}

/* What a guest's kernels are asked by it, they do in it. */
static bool guest_may(const char *method, const json_t *params)
{
	const struct op *op = opcat_find(method);

	if (is_kernels(method) || strcmp(method, "op.call") == 0)
		return !json_object_get(params, "to");
	return op && op->guest;
}

void ops_handle(struct rpc_call *call, const char *method, const json_t *params,
		void *origin)
{
	const struct ops_origin *from = origin;
	struct ops *o = from->ops;
	void *arg;

	if (!find(o, method, &arg) && !(is_kernels(method) && o->kernels))
		rpc_failf(call, RPC_NO_METHOD,
			  "no such op: '%.80s'; vmstep ops has the list",
			  method);
	else if (from->who == OPS_GUEST && !guest_may(method, params))
		rpc_failf(call, RPC_E_PERM, "%.80s is not for guests%s", method,
			  is_kernels(method) ? ", but for their own kernels"
					     : "");
	else if (o->gate)
		o->gate(call, method, params, o->gate_arg);
	else
		ops_go_on(o, call, method, params);
}

void ops_go_on(struct ops *o, struct rpc_call *call, const char *method,
	       const json_t *params)
{
	if (!o->router || has_own_to(opcat_find(method)) ||
	    !o->router(call, method, params, o->router_arg))
		ops_carry_out(o, call, method, params);
}

void ops_set_gate(struct ops *o, ops_gate_fn fn, void *arg)
{
	o->gate = fn;
	o->gate_arg = arg;
}

void ops_set_kernels(struct ops *o, ops_kernel_fn fn, void *arg)
{
	o->kernels = fn;
	o->kernels_arg = arg;
}

void ops_set_router(struct ops *o, ops_router_fn fn, void *arg)
{
	o->router = fn;
	o->router_arg = arg;
}

void ops_carry_out(struct ops *o, struct rpc_call *call, const char *method,
		   const json_t *params)
{
	void *arg = NULL;
	const struct rpc_method *m = find(o, method, &arg);

	if (is_kernels(method))
		o->kernels(call, method, params, o->kernels_arg);
	else if (knows(opcat_find(method), call, params))
		do_it(o, m, arg, call, params);
}

uint32_t ops_rank(const struct rpc_call *call, uint32_t self)
{
	const struct ops_origin *from = rpc_call_origin(call);

	return from && from->who == OPS_TASK ? from->rank : self;
}

bool ops_is_guest(const struct rpc_call *call)
{
	const struct ops_origin *from = rpc_call_origin(call);

	return from && from->who == OPS_GUEST;
}
