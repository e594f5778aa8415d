#include <config.h>

#include "op_agent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct op_agent {
	struct machine *machine;
};

/* What has to be so before any agent is asked; NULL: it is. */
static const char *why_no_guest(const struct machine *m)
{
	if (!machine_guest(m))
		return "the VM has not been started yet";
	if (!machine_runs(m))
		return "the VM has ended";
	if (machine_is_paused(m))
		return "the VM is paused: resume it first";
	return NULL;
}

static void fail(struct rpc_call *call, enum rpc_error code, const char *why)
{
	if (call)
		rpc_fail(call, code, why);
}

struct guest *op_agent_any(struct machine *m, struct rpc_call *call)
{
	struct guest *g = machine_guest(m);
	const char *why = why_no_guest(m);

	if (why)
		fail(call, RPC_E_STATE, why);
	else if (guest_is_there(g) && guest_life(g) == GUEST_LOST)
		fail(call, RPC_E_UNREACHABLE,
		     "the guest's agent is silent: lost, as far as is known");
	else if (guest_is_there(g) || guest_uses_qga(g))
		return g;
	else if (guest_hello(g))
		fail(call, RPC_E_NOAGENT,
		     "the guest's agent is gone: it was ended, or the guest restarts");
	else
		fail(call, RPC_E_NOAGENT,
		     "no agent has answered: the guest boots, or has none");
	return NULL;
}

struct guest *op_agent_guest(struct machine *m, struct rpc_call *call)
{
	struct guest *g = op_agent_any(m, call);

	if (!g || guest_is_there(g))
		return g;
	fail(call, RPC_E_NOTSUP,
	     "the guest has QEMU's guest agent only, which cannot do this");
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
	else if (r == -EOPNOTSUPP)
		rpc_fail(call, RPC_E_NOTSUP,
			 "QEMU's guest agent cannot do this");
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
