#include <config.h>

#include "op_vm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "cleanup.h"
#include "data_item.h"
#include "log.h"
#include "op_agent.h"
#include "opcat.h"
#include "outfile.h"
#include "param.h"
#include "qemu.h"
#include "usage.h"

/* Of QEMU's fdsets, beyond those of disks. While a VM is paused QEMU keeps what
 * was taken from a set: the next has another. */
#define FIRST_FDSET 1000
#define FDSETS	    1000000

/* A call that waits for QEMU's answer, or for the VM to be as it is wanted. */
enum want { WANT_REPLY, WANT_RUNS, WANT_AGENT, WANT_INIT, WANT_EXIT };

struct vm_call {
	LIST_ENTRY(vm_call) next;
	struct op_vm *owner;
	struct rpc_call *call; /* NULL: answered; QEMU's answer is to come */
	enum want want;
	struct loop_timer *timer;
	/* What QEMU's answer comes to; NULL: {"state"}. */
	json_t *(*result)(struct op_vm *v, const json_t *reply);
	/* of a shutdown: what is tried when the time is up */
	bool shuts_down, may_force;
	int64_t timeout_ms;
	const char *how;
};

struct op_vm {
	struct service_conf conf;
	bool was_paused;
	int n_dumps; /* of the screen */
	LIST_HEAD(, vm_call) calls;
};

/* -- states ---------------------------------------------------------------- */

const char *op_vm_state(const struct machine *m)
{
	const struct guest *g = machine_guest(m);

	if (!g)
		return "created";
	if (!machine_runs(m))
		return "exited";
	if (machine_is_paused(m))
		return "paused";
	return guest_hello(g) || guest_uses_qga(g) ? "running" : "booting";
}

const char *op_vm_agent_state(const struct machine *m)
{
	static const char *const names[] = { "alive", "late", "lost" };
	const struct guest *g = machine_guest(m);

	if (g && guest_uses_qga(g))
		return "qga";
	if (!g || !guest_hello(g))
		return "none";
	if (!guest_is_there(g))
		return "gone";
	return machine_is_paused(m) ? "alive" : names[guest_life(g)];
}

static json_t *state_json(const struct op_vm *v)
{
	const struct machine *m = v->conf.machine;

	return json_pack("{s:s, s:s}", "state", op_vm_state(m), "agent",
			 op_vm_agent_state(m));
}

/* -- calls that wait ------------------------------------------------------- */

static void call_free(struct vm_call *c)
{
	LIST_REMOVE(c, next);
	loop_timer_free(c->timer);
	free(c);
}

/* No answer is owed any more; QEMU's may still come. */
static void call_done(struct vm_call *c)
{
	c->call = NULL;
	if (c->want == WANT_REPLY)
		loop_timer_set(c->timer, -1);
	else
		call_free(c);
}

static bool is_wanted(const struct op_vm *v, enum want want)
{
	const struct guest *g = machine_guest(v->conf.machine);

	switch (want) {
	case WANT_RUNS:
		return machine_runs(v->conf.machine);
	case WANT_AGENT:
		return g && (guest_is_there(g) || guest_uses_qga(g)) &&
		       machine_runs(v->conf.machine);
	case WANT_INIT:
		return is_wanted(v, WANT_AGENT) &&
		       v->conf.is_set_up(v->conf.vm);
	case WANT_EXIT:
		return g && !machine_runs(v->conf.machine);
	case WANT_REPLY:
		break;
	}
	return false;
}

static void answer_state(struct vm_call *c)
{
	json_t *o = state_json(c->owner);

	if (c->how)
		json_object_set_new(o, "how", json_string(c->how));
	rpc_result(c->call, o);
	call_done(c);
}

/* Agent, power button, and in the end QEMU itself. */
static void shutdown_goes_on(struct vm_call *c)
{
	struct machine *m = c->owner->conf.machine;

	if (c->may_force && strcmp(c->how, "agent") == 0) {
		c->how = "acpi";
		machine_powerdown(m);
		loop_timer_set(c->timer, c->timeout_ms / 2);
	} else if (c->may_force && strcmp(c->how, "acpi") == 0) {
		c->how = "forced";
		machine_quit(m);
		loop_timer_set(c->timer, OP_VM_QUIT_MS);
	} else if (strcmp(c->how, "forced") == 0) {
		machine_kill(m);
	} else {
		rpc_fail(c->call, RPC_E_TIMEOUT, "the guest has not shut down");
		call_done(c);
	}
}

static void on_timer(void *arg)
{
	struct vm_call *c = arg;

	if (c->shuts_down) {
		shutdown_goes_on(c);
		return;
	}
	if (c->want == WANT_REPLY)
		rpc_failf(c->call, RPC_E_TIMEOUT,
			  "QEMU has not answered within %d s",
			  OP_VM_QMP_MS / 1000);
	else
		rpc_failf(c->call, RPC_E_TIMEOUT, "the VM is %s, its agent %s",
			  op_vm_state(c->owner->conf.machine),
			  op_vm_agent_state(c->owner->conf.machine));
	call_done(c);
}

/* NULL, and @call is answered: no memory. */
static struct vm_call *call_new(struct op_vm *v, struct rpc_call *call,
				enum want want, int64_t timeout_ms)
{
	struct vm_call *c = calloc(1, sizeof(*c));

	if (c) {
		c->owner = v;
		c->call = call;
		c->want = want;
		c->timeout_ms = timeout_ms;
		LIST_INSERT_HEAD(&v->calls, c, next);
		if (loop_timer_add(v->conf.loop, timeout_ms, on_timer, c,
				   &c->timer) == 0)
			return c;
		call_free(c);
	}
	op_agent_failed(call, -ENOMEM);
	return NULL;
}

static void on_qmp(json_t *result, const char *error, void *arg)
{
	struct vm_call *c = arg;
	struct op_vm *v = c->owner;

	if (c->call && error)
		rpc_fail(c->call, RPC_E_QMP, error);
	else if (c->call)
		rpc_result(c->call,
			   c->result ? c->result(v, result) : state_json(v));
	call_free(c);
}

/* Is there a QEMU to be asked? Else @call is answered. */
static bool has_machine(const struct op_vm *v, struct rpc_call *call)
{
	const struct machine *m = v->conf.machine;

	if (machine_guest(m) && machine_runs(m))
		return true;
	rpc_fail(call, RPC_E_STATE,
		 machine_guest(m) ? "the VM has ended"
				  : "the VM has not been started yet");
	return false;
}

/* @args are stolen. */
static void ask_qemu(struct op_vm *v, struct rpc_call *call,
		     const char *command, json_t *args,
		     json_t *(*result)(struct op_vm *, const json_t *))
{
	struct vm_call *c;
	int r;

	if (!has_machine(v, call)) {
		json_decref(args);
		return;
	}
	c = call_new(v, call, WANT_REPLY, OP_VM_QMP_MS);
	if (!c) {
		json_decref(args);
		return;
	}
	c->result = result;
	r = machine_qmp(v->conf.machine, command, args, on_qmp, c);
	if (r == 0)
		return;
	rpc_fail(call, RPC_E_STATE, "QEMU takes no orders yet, or no more");
	call_free(c);
}

/* -- vm.* ------------------------------------------------------------------ */

static json_t *qemu_state(struct op_vm *v, const json_t *reply)
{
	json_t *o = state_json(v);

	json_object_set(o, "qemu", json_object_get(reply, "status"));
	return o;
}

static void vm_state(struct rpc_call *call, const json_t *params, void *arg)
{
	struct op_vm *v = arg;

	if (machine_runs(v->conf.machine))
		ask_qemu(v, call, "query-status", NULL, qemu_state);
	else
		rpc_result(call, state_json(v));
}

/* What would change a VM that is being saved? */
static bool is_saving(const struct op_vm *v, struct rpc_call *call)
{
	if (!machine_is_saving(v->conf.machine))
		return false;
	rpc_fail(call, RPC_E_BUSY, "the VM is being saved");
	return true;
}

/* It would go on with the save's end, whatever was asked meanwhile. */
static void vm_pause(struct rpc_call *call, const json_t *params, void *arg)
{
	if (is_saving(arg, call))
		return;
	ask_qemu(arg, call, "stop", NULL, NULL);
}

static void vm_resume(struct rpc_call *call, const json_t *params, void *arg)
{
	struct op_vm *v = arg;

	if (is_saving(v, call))
		return;
	if (machine_runs(v->conf.machine) &&
	    !machine_is_paused(v->conf.machine))
		rpc_result(call, state_json(v));
	else
		ask_qemu(v, call, "cont", NULL, NULL);
}

static void vm_reset(struct rpc_call *call, const json_t *params, void *arg)
{
	if (is_saving(arg, call))
		return;
	ask_qemu(arg, call, "system_reset", NULL, NULL);
}

static void vm_poweroff(struct rpc_call *call, const json_t *params, void *arg)
{
	struct op_vm *v = arg;
	struct vm_call *c;

	if (!has_machine(v, call))
		return;
	c = call_new(v, call, WANT_EXIT, OP_VM_QUIT_MS);
	if (!c)
		return;
	c->shuts_down = true;
	c->how = "forced";
	machine_quit(v->conf.machine);
}

static void vm_shutdown(struct rpc_call *call, const json_t *params, void *arg)
{
	static const char *const modes[] = { "auto", "agent", "acpi", NULL };
	struct op_vm *v = arg;
	int64_t timeout_ms = OP_VM_SHUTDOWN_MS;
	struct guest *g;
	struct errmsg err;
	struct vm_call *c;
	int mode = 0;

	if (param_word(params, "mode", modes, &mode, &err) < 0 ||
	    param_int(params, "timeout_ms", 0, 86400000, &timeout_ms, &err) <
		    0) {
		rpc_fail(call, RPC_INVALID_PARAMS, err.text);
		return;
	}
	if (!has_machine(v, call))
		return;
	g = op_agent_any(v->conf.machine, mode == 1 ? call : NULL);
	if (!g && mode == 1)
		return;
	c = call_new(v, call, WANT_EXIT, mode ? timeout_ms : timeout_ms / 2);
	if (!c)
		return;
	c->shuts_down = true;
	c->may_force = mode == 0;
	c->timeout_ms = timeout_ms;
	c->how = mode != 2 && g ? "agent" : "acpi";
	if (mode == 2 || !g || guest_shutdown(g) < 0) {
		c->how = "acpi";
		machine_powerdown(v->conf.machine);
	}
}

static void net_link(struct rpc_call *call, const json_t *params, void *arg)
{
	struct op_vm *v = arg;
	struct errmsg err;
	bool up = true;

	if (!json_object_get(params, "up"))
		rpc_fail(call, RPC_INVALID_PARAMS, "up: is missing");
	else if (param_bool(params, "up", &up, &err) < 0)
		rpc_fail(call, RPC_INVALID_PARAMS, err.text);
	else if (v->conf.spec->net == NET_NONE)
		rpc_fail(call, RPC_E_NOTSUP, "--vm-net=none: no network");
	else
		ask_qemu(v, call, "set_link",
			 json_pack("{s:s, s:b}", "name", QEMU_NETDEV, "up", up),
			 NULL);
}

/* QEMU may open no file of the user's (qemu_sandbox.h): it gets this one, as an
 * fdset of its own, which goes away again with the last command. */
static void dump_screen(struct op_vm *v, struct rpc_call *call,
			const char *path)
{
	struct machine *m = v->conf.machine;
	int set = FIRST_FDSET + v->n_dumps++ % FDSETS;
	_cleanup_close_ int fd = -1;
	struct errmsg err;
	char name[32];

	if (!has_machine(v, call))
		return;
	fd = outfile_open("path", path, O_TRUNC, &err);
	if (fd < 0) {
		rpc_fail(call, RPC_E_OS, err.text);
		return;
	}
	snprintf(name, sizeof(name), "/dev/fdset/%d", set);
	machine_qmp_fd(m, "add-fd", json_pack("{s:i}", "fdset-id", set), fd,
		       NULL, NULL);
	ask_qemu(v, call, "screendump", json_pack("{s:s}", "filename", name),
		 NULL);
	machine_qmp(m, "remove-fd", json_pack("{s:i}", "fdset-id", set), NULL,
		    NULL);
}

static void vm_screendump(struct rpc_call *call, const json_t *params,
			  void *arg)
{
	_cleanup_free_ char *path = NULL;
	struct errmsg err;

	if (param_text(params, "path", &path, &err) < 0)
		rpc_fail(call, RPC_INVALID_PARAMS, err.text);
	else if (!path || *path != '/')
		rpc_fail(call, RPC_INVALID_PARAMS,
			 "path: has to be absolute, on the task's node");
	else
		dump_screen(arg, call, path);
}

static json_t *as_it_is(struct op_vm *v, const json_t *reply)
{
	return json_pack("{s:O}", "return", reply);
}

static void vm_qmp(struct rpc_call *call, const json_t *params, void *arg)
{
	const char *command =
		json_string_value(json_object_get(params, "command"));
	json_t *args = json_object_get(params, "arguments");
	struct op_vm *v = arg;

	if (!v->conf.task->allow_qmp)
		rpc_fail(
			call, RPC_E_PERM,
			"the site does not allow commands of QEMU's own (allow_qmp in vmstep.conf)");
	else if (is_saving(v, call))
		return;
	else if (!command || (args && !json_is_object(args)))
		rpc_fail(call, RPC_INVALID_PARAMS,
			 "command has to be a text, arguments an object");
	else
		ask_qemu(v, call, command, json_deep_copy(args), as_it_is);
}

static json_t *own_usage(pid_t pid)
{
	char path[64], line[1024] = "";
	struct usage_stat s = { 0 };
	_cleanup_fclose_ FILE *f = NULL;
	json_int_t tick_us = 1000000 / sysconf(_SC_CLK_TCK);

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (!f || !fgets(line, sizeof(line), f) || usage_parse(line, &s) < 0)
		return json_object();
	return json_pack("{s:I, s:I, s:I, s:I, s:i}", "pid", (json_int_t)pid,
			 "utime_us", (json_int_t)s.ticks[0] * tick_us,
			 "stime_us", (json_int_t)s.ticks[1] * tick_us,
			 "rss_bytes",
			 (json_int_t)s.rss_pages * sysconf(_SC_PAGESIZE),
			 "threads", (int)s.threads);
}

static json_t *stats_json(struct op_vm *v, const json_t *reply)
{
	static const char *const counters[] = { "rd_bytes", "wr_bytes",
						"rd_operations",
						"wr_operations",
						"flush_operations" };
	json_t *disks = json_array(), *disk, *stats;
	size_t i;

	json_array_foreach ((json_t *)(uintptr_t)reply, i, disk) {
		json_t *o = json_object();

		stats = json_object_get(disk, "stats");
		json_object_set(o, "device",
				json_object_get(disk, "node-name")
					? json_object_get(disk, "node-name")
					: json_object_get(disk, "device"));
		for (size_t k = 0; k < ARRAY_SIZE(counters); k++)
			json_object_set(o, counters[k],
					json_object_get(stats, counters[k]));
		json_array_append_new(disks, o);
	}
	return json_pack("{s:o, s:o, s:i}", "qemu",
			 own_usage(machine_pid(v->conf.machine)), "disks",
			 disks, "cpus", (int)v->conf.spec->cpus);
}

static void vm_stats(struct rpc_call *call, const json_t *params, void *arg)
{
	ask_qemu(arg, call, "query-blockstats", NULL, stats_json);
}

static void on_wait_gone(struct rpc_call *call, void *arg)
{
	rpc_result(call, NULL);
	call_free(arg);
}

static void vm_wait(struct rpc_call *call, const json_t *params, void *arg)
{
	static const char *const phases[] = { "qemu", "agent", "init", "exit",
					      NULL };
	static const enum want wants[] = { WANT_RUNS, WANT_AGENT, WANT_INIT,
					   WANT_EXIT };
	int64_t timeout_ms = 300000;
	struct op_vm *v = arg;
	struct errmsg err;
	struct vm_call *c;
	int phase = -1;

	if (param_word(params, "phase", phases, &phase, &err) < 0 ||
	    param_int(params, "timeout_ms", 0, 86400000, &timeout_ms, &err) < 0)
		rpc_fail(call, RPC_INVALID_PARAMS, err.text);
	else if (phase < 0)
		rpc_fail(call, RPC_INVALID_PARAMS,
			 "phase has to be qemu, agent, init or exit");
	else if (is_wanted(v, wants[phase]))
		rpc_result(call, state_json(v));
	else {
		c = call_new(v, call, wants[phase], timeout_ms);
		if (c)
			rpc_on_gone(call, on_wait_gone, c);
	}
}

/* -- task.* ---------------------------------------------------------------- */

/* From outside: ports of the node, a display. */
static void add_ways(json_t *o, const struct op_vm *v)
{
	const struct task *t = v->conf.task;
	const struct publish *p;
	json_t *ports = json_array();
	char path[4096];
	size_t n;

	p = machine_ports(v->conf.machine, &n);
	for (size_t i = 0; i < n; i++)
		json_array_append_new(
			ports, json_pack("{s:i, s:s, s:i}", "port", p[i].guest,
					 "proto", p[i].udp ? "udp" : "tcp",
					 "host_port", p[i].host));
	json_object_set_new(o, "publish", ports);
	if (!v->conf.spec->vnc)
		return;
	snprintf(path, sizeof(path), QEMU_DISPLAY, t->step_dir, t->rank);
	json_object_set_new(o, "display", json_string(path));
}

static void task_state(struct rpc_call *call, const json_t *params, void *arg)
{
	struct op_vm *v = arg;
	const struct task *t = v->conf.task;
	const struct guest *g = machine_guest(v->conf.machine);
	json_t *o, *procs;

	o = state_json(v);
	procs = json_array();
	for (struct proc *p = g ? procs_first(guest_procs(g)) : NULL; p;
	     p = proc_next(p))
		json_array_append_new(procs, proc_json(p, false));
	json_object_set_new(o, "rank", json_integer(t->rank));
	json_object_set_new(o, "name", json_string(v->conf.spec->hostname));
	json_object_set_new(o, "node", json_string(t->node));
	json_object_set_new(o, "cpus", json_integer(v->conf.spec->cpus));
	json_object_set_new(o, "data",
			    data_items_json(machine_data(v->conf.machine)));
	json_object_set_new(o, "mem_bytes",
			    json_integer((json_int_t)v->conf.spec->mem_bytes));
	json_object_set_new(o, "procs", procs);
	add_ways(o, v);
	if (g && guest_hello(g)) {
		json_object_set(o, "guest",
				(json_t *)(uintptr_t)guest_hello(g));
		json_object_set_new(
			o, "seen_ms",
			json_integer(loop_now_ms() - guest_seen_ms(g)));
	}
	if (g && guest_qga(g))
		json_object_set_new(o, "qga",
				    json_pack("{s:s*, s:O*}", "version",
					      qga_version(guest_qga(g)), "os",
					      qga_os(guest_qga(g))));
	if (g && guest_beacon(g))
		json_object_set(o, "beacon",
				(json_t *)(uintptr_t)guest_beacon(g));
	rpc_result(call, o);
}

static json_t *groups_json(const struct task *t)
{
	const struct optvals *vals = &t->options.opt[OPT_CONFIG];
	json_t *o = json_object();

	for (size_t i = 0; i < vals->n; i++) {
		_cleanup_free_ char *name = strdup(vals->v[i] + 1);
		char *eq = name ? strchr(name, '=') : NULL;

		if (!eq)
			continue;
		*eq = '\0';
		json_object_set_new(o, name, json_string(eq + 1));
	}
	return o;
}

static void task_features(struct rpc_call *call, const json_t *params,
			  void *arg)
{
	struct op_vm *v = arg;
	const struct guest *g = machine_guest(v->conf.machine);
	json_t *ops = json_array(), *o;

	for (const struct op *op = ops_table; op->name; op++)
		json_array_append_new(ops, json_string(op->name));
	o = json_pack("{s:s, s:o, s:i}", "version", PACKAGE_VERSION, "ops", ops,
		      "beacon_s", (int)v->conf.task->beacon_interval_s);
	if (g && guest_hello(g))
		json_object_set(o, "agent",
				json_object_get(guest_hello(g), "features"));
	json_object_set_new(o, "groups", groups_json(v->conf.task));
	rpc_result(call, o);
}

const struct rpc_method op_vm_methods[] = {
	{ "net.link", net_link },
	{ "task.features", task_features },
	{ "task.state", task_state },
	{ "vm.pause", vm_pause },
	{ "vm.poweroff", vm_poweroff },
	{ "vm.qmp", vm_qmp },
	{ "vm.reset", vm_reset },
	{ "vm.resume", vm_resume },
	{ "vm.screendump", vm_screendump },
	{ "vm.shutdown", vm_shutdown },
	{ "vm.state", vm_state },
	{ "vm.stats", vm_stats },
	{ "vm.wait", vm_wait },
	{ 0 },
};

/* -- what happens ---------------------------------------------------------- */

/* The guest has slept, and does not know it. */
static void wake_up(struct op_vm *v)
{
	struct guest *g = machine_guest(v->conf.machine);

	guest_seen_now(g);
	guest_set_time(g);
}

void op_vm_woke(struct op_vm *v)
{
	struct guest *g = machine_guest(v->conf.machine);

	if (g && machine_runs(v->conf.machine) &&
	    !machine_is_paused(v->conf.machine))
		wake_up(v);
}

void op_vm_changed(struct op_vm *v)
{
	bool paused = machine_is_paused(v->conf.machine);
	struct vm_call *c, *next;

	if (v->was_paused && !paused && machine_runs(v->conf.machine))
		wake_up(v);
	v->was_paused = paused;
	for (c = LIST_FIRST(&v->calls); c; c = next) {
		next = LIST_NEXT(c, next);
		if (c->call && is_wanted(v, c->want))
			answer_state(c);
	}
}

int op_vm_new(const struct service_conf *conf, struct ops *ops,
	      struct op_vm **ret)
{
	struct op_vm *v = calloc(1, sizeof(*v));

	if (!v)
		return -ENOMEM;
	v->conf = *conf;
	LIST_INIT(&v->calls);
	*ret = v;
	return ops_add(ops, op_vm_methods, v);
}

void op_vm_free(struct op_vm *v)
{
	struct vm_call *c;

	if (!v)
		return;
	while ((c = LIST_FIRST(&v->calls))) {
		if (c->call)
			rpc_fail(c->call, RPC_E_STATE, "the task has ended");
		call_free(c);
	}
	free(v);
}
