#include <config.h>

#include "op_qga.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "op_agent.h"
#include "param.h"
#include "qga_file.h"

#define FREEZE_MS 60000	 /* disks are written out */
#define TRIM_MS	  600000 /* all free space of all file systems */

struct op_qga {
	struct service_conf conf;
	struct qga_files files;
};

/* A call that QEMU's agent answers, with what that comes to. */
struct asked {
	struct rpc_call *call;
	json_t *(*result)(const json_t *answer);
};

struct qga *op_qga_ready(const struct op_qga *o, struct rpc_call *call)
{
	struct guest *g = machine_guest(o->conf.machine);
	struct qga *q = g ? guest_qga(g) : NULL;

	if (q && machine_runs(o->conf.machine) &&
	    !machine_is_paused(o->conf.machine))
		return q;
	if (q || !g || !machine_runs(o->conf.machine) ||
	    machine_is_paused(o->conf.machine))
		op_agent_any(o->conf.machine, call); /* which says why not */
	else
		rpc_fail(
			call, RPC_E_NOTSUP,
			"this needs qemu-guest-agent in the guest, and --vm-exec=auto or qga");
	return NULL;
}

void op_qga_failed(struct rpc_call *call, int r)
{
	if (r == -ENOBUFS)
		rpc_fail(call, RPC_E_BUSY,
			 "too much waits for QEMU's guest agent");
	else
		op_agent_failed(call, r);
}

static void on_answer(const struct rpc_reply *reply, void *arg)
{
	struct asked *a = arg;

	if (reply->result)
		rpc_result(a->call, a->result(reply->result));
	else
		rpc_pass_on(a->call, reply);
	free(a);
}

/* @args are stolen. */
static void ask(struct op_qga *o, struct rpc_call *call, const char *command,
		json_t *args, int64_t timeout_ms,
		json_t *(*result)(const json_t *answer))
{
	struct qga_ask ask = { .command = command,
			       .args = args,
			       .timeout_ms = timeout_ms,
			       .fn = on_answer };
	struct qga *q = op_qga_ready(o, call);
	struct asked *a = q ? malloc(sizeof(*a)) : NULL;
	int r = -ENOMEM;

	if (!a) {
		json_decref(args);
		if (q)
			op_qga_failed(call, r);
		return;
	}
	*a = (struct asked){ call, result };
	ask.arg = a;
	r = qga_ask(q, &ask);
	if (r < 0) {
		free(a);
		op_qga_failed(call, r);
	}
}

/* -- file systems ---------------------------------------------------------- */

static json_t *count(const json_t *answer)
{
	return json_pack("{s:O}", "filesystems", answer);
}

static json_t *trimmed(const json_t *answer)
{
	const json_t *list = json_object_get(answer, "paths");
	json_t *out = json_array(), *path;
	size_t i;

	json_array_foreach ((json_t *)(uintptr_t)list, i, path) {
		const json_t *bytes = json_object_get(path, "trimmed");

		if (json_is_integer(bytes))
			json_array_append_new(
				out, json_pack("{s:O?, s:O}", "path",
					       json_object_get(path, "path"),
					       "bytes", bytes));
	}
	return json_pack("{s:o}", "trimmed", out);
}

/* All, or those in "mounts". */
static void sys_fsfreeze(struct rpc_call *call, const json_t *params, void *arg)
{
	json_t *mounts = json_object_get(params, "mounts");

	if (mounts && !json_is_array(mounts))
		rpc_fail(call, RPC_INVALID_PARAMS, "mounts: not an array");
	else if (mounts)
		ask(arg, call, "guest-fsfreeze-freeze-list",
		    json_pack("{s:O}", "mountpoints", mounts), FREEZE_MS,
		    count);
	else
		ask(arg, call, "guest-fsfreeze-freeze", NULL, FREEZE_MS, count);
}

static void sys_thaw(struct rpc_call *call, const json_t *params, void *arg)
{
	ask(arg, call, "guest-fsfreeze-thaw", NULL, FREEZE_MS, count);
}

static void sys_fstrim(struct rpc_call *call, const json_t *params, void *arg)
{
	ask(arg, call, "guest-fstrim", NULL, TRIM_MS, trimmed);
}

const struct rpc_method op_qga_methods[] = {
	{ "sys.fsfreeze", sys_fsfreeze },
	{ "sys.fstrim", sys_fstrim },
	{ "sys.thaw", sys_thaw },
	{ 0 },
};

/* -- the system ------------------------------------------------------------ */

/* What is asked for sys.info, one after the other; what it does not know is
 * left out. */
struct info {
	struct op_qga *owner;
	struct rpc_call *call;
	json_t *result;
	unsigned int next;
};

static void add_host_name(json_t *o, const json_t *answer)
{
	json_object_set(o, "hostname", json_object_get(answer, "host-name"));
}

static void add_cpus(json_t *o, const json_t *answer)
{
	json_int_t n = 0;
	json_t *cpu;
	size_t i;

	json_array_foreach ((json_t *)(uintptr_t)answer, i, cpu)
		n += json_is_true(json_object_get(cpu, "online"));
	json_object_set_new(o, "cpus", json_integer(n));
}

static void add_interfaces(json_t *o, const json_t *answer)
{
	json_t *list = json_array(), *i, *address;
	size_t n, k;

	json_array_foreach ((json_t *)(uintptr_t)answer, n, i) {
		json_t *ips = json_array();

		json_array_foreach (json_object_get(i, "ip-addresses"), k,
				    address)
			json_array_append(
				ips, json_object_get(address, "ip-address"));
		json_array_append_new(
			list, json_pack("{s:O?, s:O?, s:o}", "name",
					json_object_get(i, "name"), "mac",
					json_object_get(i, "hardware-address"),
					"ip", ips));
	}
	json_object_set_new(o, "interfaces", list);
}

static const struct {
	const char *command;
	void (*add)(json_t *o, const json_t *answer);
} infos[] = {
	{ "guest-get-host-name", add_host_name },
	{ "guest-get-vcpus", add_cpus },
	{ "guest-network-get-interfaces", add_interfaces },
};

static void info_goes_on(struct info *i);

static void on_info(const struct rpc_reply *reply, void *arg)
{
	struct info *i = arg;

	if (reply->result) {
		infos[i->next].add(i->result, reply->result);
	} else if (reply->code != RPC_E_NOTSUP) {
		rpc_pass_on(i->call, reply);
		json_decref(i->result);
		free(i);
		return;
	}
	i->next++;
	info_goes_on(i);
}

static void info_goes_on(struct info *i)
{
	struct qga_ask ask = { .fn = on_info, .arg = i };
	struct qga *q;

	if (i->next == ARRAY_SIZE(infos)) {
		rpc_result(i->call, i->result);
		free(i);
		return;
	}
	ask.command = infos[i->next].command;
	q = op_qga_ready(i->owner, i->call);
	if (q) {
		int r = qga_ask(q, &ask);

		if (r == 0)
			return;
		op_qga_failed(i->call, r);
	}
	json_decref(i->result);
	free(i);
}

static void sys_info(struct rpc_call *call, const json_t *params, void *arg)
{
	struct op_qga *o = arg;
	struct qga *q = op_qga_ready(o, call);
	struct info *i = q ? calloc(1, sizeof(*i)) : NULL;
	const json_t *os = q ? qga_os(q) : NULL;

	if (!q)
		return;
	if (!i) {
		op_qga_failed(call, -ENOMEM);
		return;
	}
	i->owner = o;
	i->call = call;
	i->result = json_pack("{s:b, s:s*, s:O*, s:O*, s:O*}", "degraded", 1,
			      "version", qga_version(q), "os",
			      json_object_get(os, "pretty-name"), "kernel",
			      json_object_get(os, "kernel-release"), "arch",
			      json_object_get(os, "machine"));
	info_goes_on(i);
}

static json_t *nothing(const json_t *answer)
{
	return json_object();
}

static void sys_time_set(struct rpc_call *call, const json_t *params, void *arg)
{
	struct errmsg err;
	int64_t ns = -1;

	if (param_int(params, "ns", 0, INT64_MAX, &ns, &err) < 0 || ns < 0)
		rpc_fail(call, RPC_INVALID_PARAMS,
			 ns < 0 ? "ns: missing, or no time" : err.text);
	else
		ask(arg, call, "guest-set-time", json_pack("{s:I}", "time", ns),
		    0, nothing);
}

/* -- files ----------------------------------------------------------------- */

#define FILE_OP(name, kind)                                                    \
	static void file_##name(struct rpc_call *call, const json_t *params,   \
				void *arg)                                     \
	{                                                                      \
		struct op_qga *o = arg;                                        \
		struct qga *q = op_qga_ready(o, call);                         \
                                                                               \
		if (q)                                                         \
			qga_file_begin(&o->files, o->conf.loop, q, call, kind, \
				       params);                                \
	}

FILE_OP(read, QGA_FILE_READ)
FILE_OP(write, QGA_FILE_WRITE)
FILE_OP(get, QGA_FILE_GET)
FILE_OP(put, QGA_FILE_PUT)

const struct rpc_method op_qga_others[] = {
	{ "file.get", file_get },
	{ "file.put", file_put },
	{ "file.read", file_read },
	{ "file.write", file_write },
	{ "sys.info", sys_info },
	{ "sys.time.set", sys_time_set },
	{ 0 },
};

/* -------------------------------------------------------------------------- */

static bool is_in_force(void *arg)
{
	const struct op_qga *o = arg;
	const struct guest *g = machine_guest(o->conf.machine);

	return g && guest_uses_qga(g);
}

int op_qga_new(const struct service_conf *conf, struct ops *ops,
	       struct op_qga **ret)
{
	struct op_qga *o = calloc(1, sizeof(*o));

	if (!o)
		return -ENOMEM;
	memcpy(&o->conf, conf, sizeof(*conf));
	qga_files_init(&o->files);
	ops_set_other(ops, op_qga_others, is_in_force, o);
	*ret = o;
	return ops_add(ops, op_qga_methods, o);
}

void op_qga_free(struct op_qga *o)
{
	if (!o)
		return;
	qga_files_done(&o->files);
	free(o);
}
