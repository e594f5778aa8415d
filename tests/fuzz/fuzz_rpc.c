/* fuzz_rpc.c - the agent's JSON-RPC, from the text of a control message to the
 * parameters of each method; nothing is carried out.
 */
#include <config.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "account.h"
#include "netconf.h"
#include "power.h"
#include "proc.h"
#include "rpc.h"
#include "start.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned int n_sent;

/* Whatever came, at most one answer goes, and it is JSON. */
static int send_text(const char *text, size_t len, void *arg)
{
	json_t *msg = json_loadb(text, len, 0, NULL);

	if (!msg || ++n_sent > 1)
		abort();
	json_decref(msg);
	return 0;
}

static void answer(struct rpc_call *call, int r, const struct errmsg *err)
{
	if (r < 0 && !err->text[0])
		abort(); /* a refusal has its words */
	if (r < 0)
		rpc_fail_os(call, RPC_INVALID_PARAMS, -r, "params", err->text);
	else
		rpc_result(call, NULL);
}

static void start(struct rpc_call *call, const json_t *params, void *arg)
{
	char name[] = "root", home[] = "/root", shell[] = "/bin/sh";
	struct account a = { .name = name, .home = home, .shell = shell };
	struct errmsg err = { "" };
	struct start s = { 0 };
	int r = start_parse(params, &s, &err);

	if (r == 0)
		start_free_env(start_env(&s, &a));
	start_done(&s);
	answer(call, r, &err);
}

static void configure(struct rpc_call *call, const json_t *params, void *arg)
{
	struct errmsg err = { "" };
	struct netconf c = { 0 };
	int r = netconf_parse(params, &c, &err);

	netconf_done(&c);
	answer(call, r, &err);
}

static void signal_proc(struct rpc_call *call, const json_t *params, void *arg)
{
	struct errmsg err = { "" };
	int sig = 0;
	int r = proc_parse_signal(json_object_get(params, "signal"), &sig,
				  &err);

	if (r == 0 && (sig < 1 || sig > 64))
		abort();
	answer(call, r, &err);
}

static void end(struct rpc_call *call, const json_t *params, void *arg)
{
	struct errmsg err = { "" };
	int how, r = power_parse(params, &how, &err);

	answer(call, r, &err);
}

static void echo(struct rpc_call *call, const json_t *params, void *arg)
{
	rpc_result(call, json_deep_copy(params));
}

static void on_reply(const struct rpc_reply *reply, void *arg)
{
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct rpc_method methods[] = {
		{ "net.configure", configure }, { "proc.signal", signal_proc },
		{ "proc.start", start },	{ "task.echo", echo },
		{ "vm.shutdown", end },		{ 0 },
	};
	struct rpc *r = rpc_new(methods, NULL, send_text, NULL);

	if (!r)
		abort();
	n_sent = 0;
	rpc_request(r, "agent.hello", json_object(), on_reply, NULL);
	n_sent = 0;
	rpc_receive(r, (const char *)data, size);
	rpc_free(r);
	return 0;
}
