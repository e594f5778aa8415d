#include <config.h>

#include "op_agent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct op_agent {
	struct machine *machine;
};

struct guest *op_agent_guest(struct machine *m, struct rpc_call *call)
{
	struct guest *g = machine_guest(m);
	enum rpc_error code = RPC_E_NOAGENT;
	const char *why = NULL;

	if (!g) {
		code = RPC_E_STATE;
		why = "the VM has not been started yet";
	} else if (!machine_runs(m)) {
		code = RPC_E_STATE;
		why = "the VM has ended";
	} else if (machine_is_paused(m)) {
		code = RPC_E_STATE;
		why = "the VM is paused: resume it first";
	} else if (!guest_is_there(g)) {
		why = guest_hello(g)
			      ? "the guest's agent is gone: it was ended, or the guest restarts"
			      : "no agent has answered: the guest boots, or has none";
	}
	if (!why)
		return g;
	if (call)
		rpc_fail(call, code, why);
	return NULL;
}

void op_agent_failed(struct rpc_call *call, int r)
{
	if (r == -ENOTCONN)
		rpc_fail(call, RPC_E_NOAGENT, "the guest's agent is gone");
	else if (r == -ENOBUFS)
		rpc_fail(call, RPC_E_BUSY, "the guest's agent reads nothing");
	else if (r == -EMSGSIZE)
		rpc_fail(call, RPC_E_TOOBIG,
			 "more parameters than the agent's port carries");
	else if (r == -ESRCH)
		rpc_fail(call, RPC_E_STATE, "that process has ended");
	else if (r == -EMFILE)
		rpc_fail(call, RPC_E_FULL, "too many processes run already");
	else
		rpc_fail_os(call, RPC_E_OS, -r, NULL, strerror(-r));
}

void op_agent_answer(const struct rpc_reply *reply, void *call)
{
	rpc_pass_on(call, reply);
}

void op_agent_ask(struct machine *m, struct rpc_call *call, const char *method,
		  json_t *params)
{
	struct guest *g = op_agent_guest(m, call);
	int r;

	if (!g) {
		json_decref(params);
		return;
	}
	r = guest_request(g, method, params, op_agent_answer, call);
	if (r < 0)
		op_agent_failed(call, r);
}

#define PASS(function, method)                                                \
	static void function(struct rpc_call *call, const json_t *params,     \
			     void *arg)                                       \
	{                                                                     \
		op_agent_ask(((struct op_agent *)arg)->machine, call, method, \
			     json_deep_copy(params));                         \
	}

PASS(sys_info, "sys.info")
PASS(sys_time_set, "sys.time.set")
PASS(task_echo, "task.echo")

const struct rpc_method op_agent_methods[] = {
	{ "sys.info", sys_info },
	{ "sys.time.set", sys_time_set },
	{ "task.echo", task_echo },
	{ 0 },
};

int op_agent_new(struct machine *m, struct ops *ops, struct op_agent **ret)
{
	struct op_agent *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	a->machine = m;
	*ret = a;
	return ops_add(ops, op_agent_methods, a);
}

void op_agent_free(struct op_agent *a)
{
	free(a);
}
