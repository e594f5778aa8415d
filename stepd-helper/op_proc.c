#include <config.h>

#include "op_proc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "cleanup.h"
#include "op_agent.h"
#include "op_io.h"
#include "param.h"
#include "qga_exec.h"
#include "start_params.h"

#define TIMEOUT_MAX_MS (365LL * 24 * 3600 * 1000)

/* A call that waits for a process to start, or to end. */
struct wait {
	LIST_ENTRY(wait) next;
	struct op_proc *owner;
	struct rpc_call *call; /* NULL: answered */
	struct proc *proc;     /* that runs; NULL: not, or no more */
	struct loop_timer *timer;
	bool output; /* is wanted with the answer */
	bool is_run; /* proc.run: it is released then, and ended in time */
	bool expired;
	bool taken_back;    /* who asked is gone: proc.run is to end */
	int64_t timeout_ms; /* < 0: none */
	struct op_io io;    /* of proc.start's streams */
};

struct op_proc {
	const struct service_conf conf;
	LIST_HEAD(, wait) waits;
};

/* -- waiting --------------------------------------------------------------- */

static struct wait *wait_new(struct op_proc *o, struct rpc_call *call)
{
	struct wait *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->owner = o;
	w->call = call;
	w->timeout_ms = -1;
	w->io = OP_IO_NONE;
	LIST_INSERT_HEAD(&o->waits, w, next);
	return w;
}

static void wait_free(struct wait *w)
{
	LIST_REMOVE(w, next);
	if (w->proc)
		proc_forget_wait(w->proc, w);
	loop_timer_free(w->timer);
	free(w);
}

static void answer(struct wait *w, const struct proc *p)
{
	json_t *o;

	if (proc_state(p) == PROC_LOST) {
		rpc_fail(
			w->call, RPC_E_LOST,
			"the guest's agent was lost while the process ran: nobody knows how it ended");
		return;
	}
	o = proc_json(p, w->output);
	if (w->expired)
		json_object_set_new(o, "timed_out", json_true());
	rpc_result(w->call, o);
}

static void on_ended(struct proc *p, void *arg)
{
	struct wait *w = arg;
	bool release = w->is_run;

	if (w->call)
		answer(w, p);
	w->proc = NULL;
	wait_free(w);
	if (release)
		proc_release(p);
}

/* proc.wait leaves the process alone; proc.run ends it, and then answers. */
static void on_timeout(void *arg)
{
	struct wait *w = arg;

	if (w->is_run && !w->expired) {
		w->expired = true;
		if (proc_signal(w->proc, json_integer(9), true, NULL, NULL) < 0)
			loop_timer_set(w->timer, -1);
		return;
	}
	if (w->call)
		rpc_fail(w->call, RPC_E_TIMEOUT, "the process has not ended");
	wait_free(w);
}

static void kill_it(struct wait *w)
{
	if (w->proc)
		proc_signal(w->proc, json_integer(9), true, NULL, NULL);
}

/* What it would have been told nobody can hear: what was run for it ends. */
static void on_gone(struct rpc_call *call, void *arg)
{
	struct wait *w = arg;

	rpc_result(call, NULL);
	w->call = NULL;
	w->taken_back = true;
	if (w->is_run)
		kill_it(w);
	else
		wait_free(w);
}

/* Answer @w when @p has ended; @w is gone then. */
static void wait_for(struct wait *w, struct proc *p)
{
	int r = 0;

	w->proc = p;
	if (w->call)
		rpc_on_gone(w->call, on_gone, w);
	else if (w->taken_back)
		kill_it(w);
	if (w->timeout_ms >= 0 && proc_state(p) <= PROC_RUNNING)
		r = loop_timer_add(w->owner->conf.loop, w->timeout_ms,
				   on_timeout, w, &w->timer);
	if (r == 0)
		r = proc_wait(p, on_ended, w);
	if (r < 0) {
		if (w->call)
			op_agent_failed(w->call, r);
		wait_free(w);
	}
}

/* -- starting -------------------------------------------------------------- */

enum sink { SINK_NONE, SINK_STREAM, SINK_KEEP };

struct start {
	json_t *params; /* for the agent; owned */
	enum sink sink[3];
	bool pty;
	int64_t keep;
	char *label;
};

static void start_done(struct start *s)
{
	json_decref(s->params);
	free(s->label);
}

static int parse_sink(const json_t *params, const char *name,
		      enum sink fallback, enum sink *ret, struct errmsg *err)
{
	static const char *const in[] = { "none", "stream", NULL };
	static const char *const out[] = { "null", "stream", "keep", NULL };
	int word = (int)fallback, r;

	r = param_word(params, name, name[3] == 'i' ? in : out, &word, err);
	*ret = (enum sink)word;
	return r;
}

/* The command: argv as it is, shell by /bin/sh. */
static int parse_command(const json_t *params, json_t *to, struct errmsg *err)
{
	json_t *argv = json_object_get(params, "argv");
	json_t *shell = json_object_get(params, "shell");
	_cleanup_free_ char *text = NULL;

	if (!argv == !shell)
		return errmsg_say(err, -EINVAL,
				  "one of argv and shell has to be there");
	if (shell && param_value_text(shell, "shell", &text, err) < 0)
		return -EINVAL;
	if (shell)
		argv = json_pack("[s, s, O]", "/bin/sh", "-c", shell);
	else
		json_incref(argv);
	if (!json_is_array(argv) || json_array_size(argv) == 0) {
		json_decref(argv);
		return errmsg_say(err, -EINVAL,
				  "argv: not a list of a command's words");
	}
	json_object_set_new(to, "argv", argv);
	return 0;
}

/* What the step's command would have, and what is given over that. */
static json_t *base_params(const struct service_conf *c, const json_t *params)
{
	static const char *const none[] = { NULL };
	static const char *const as_they_are[] = { "cwd", "user", "env_clear",
						   "pty" };
	const struct guest_cmd cmd = { .argv = none };
	json_t *to = start_params(c->task, c->spec, &cmd), *value;

	if (json_is_true(json_object_get(params, "env_clear")))
		json_object_set_new(to, "env", json_object());
	if (json_is_object(json_object_get(params, "env")))
		json_object_update(json_object_get(to, "env"),
				   json_object_get(params, "env"));
	for (size_t i = 0; i < ARRAY_SIZE(as_they_are); i++) {
		value = json_object_get(params, as_they_are[i]);
		if (value)
			json_object_set(to, as_they_are[i], value);
	}
	return to;
}

static int parse_start(const struct service_conf *c, const json_t *params,
		       struct start *s, struct errmsg *err)
{
	const json_t *env = json_object_get(params, "env");
	int r;

	s->keep = OP_PROC_OUTPUT;
	s->pty = json_object_get(params, "pty");
	s->params = base_params(c, params);
	if (!s->params)
		return errmsg_set(err, -ENOMEM, "process");
	if (env && !json_is_object(env))
		return errmsg_say(err, -EINVAL, "env: not an object");
	r = parse_command(params, s->params, err);
	if (r == 0)
		r = parse_sink(params, "stdin", SINK_NONE, &s->sink[0], err);
	if (r == 0)
		r = parse_sink(params, "stdout", SINK_KEEP, &s->sink[1], err);
	if (r == 0)
		r = parse_sink(params, "stderr", s->pty ? SINK_NONE : SINK_KEEP,
			       &s->sink[2], err);
	if (r == 0)
		r = param_int(params, "max_output", 1, OP_PROC_OUTPUT_MAX,
			      &s->keep, err);
	if (r == 0)
		r = param_text(params, "label", &s->label, err);
	return r;
}

static int fill_spec(struct start *s, struct wait *w, const json_t *params,
		     struct proc_spec *spec, struct errmsg *err)
{
	const bool wanted[] = { s->sink[0] == SINK_STREAM,
				s->sink[1] == SINK_STREAM,
				s->sink[2] == SINK_STREAM };

	spec->params = json_incref(s->params);
	spec->pty = s->pty;
	spec->keep = s->sink[1] == SINK_KEEP || s->sink[2] == SINK_KEEP
			     ? (size_t)s->keep
			     : 0;
	spec->label = s->label;
	return op_io_open(&w->io, w->call, params, wanted, spec->fd, err);
}

static void spec_drop(struct proc_spec *spec)
{
	for (int i = 0; i < 3; i++)
		if (spec->fd[i] >= 0)
			close(TAKE_FD(spec->fd[i]));
	json_decref(spec->params);
}

/* -- proc.start and proc.run ----------------------------------------------- */

static void on_started(struct proc *p, const struct rpc_reply *reply, void *arg)
{
	struct wait *w = arg;

	if (!reply->result) {
		if (w->call) {
			op_io_drop(&w->io, w->call);
			rpc_pass_on(w->call, reply);
		}
		wait_free(w);
	} else if (w->is_run) {
		wait_for(w, p);
	} else {
		op_io_answer(&w->io, w->call, proc_json(p, false));
		wait_free(w);
	}
}

/* Of proc.run: a file with its input, to read from. */
static int open_input(const json_t *params, int *ret, struct errmsg *err)
{
	_cleanup_free_ char *text = NULL;
	int fd[2], r = param_text(params, "input", &text, err);
	size_t len = text ? strlen(text) : 0;

	if (r < 0 || !text)
		return r;
	if (len > OP_PROC_INPUT_MAX)
		return errmsg_say(err, -E2BIG,
				  "input: more than %d bytes: use proc.start",
				  OP_PROC_INPUT_MAX);
	if (pipe2(fd, O_CLOEXEC | O_NONBLOCK) < 0)
		return errmsg_set(err, -errno, "input");
	if (write(fd[1], text, len) != (ssize_t)len)
		r = errmsg_set(err, -EIO, "input");
	close(fd[1]);
	*ret = fd[0];
	return r;
}

/* What is asked for and QEMU's agent does not have; NULL: nothing. */
static const char *qga_cannot(const struct start *s)
{
	if (s->sink[0] == SINK_STREAM)
		return "QEMU's guest agent takes a command's input as a whole: give it to proc.run";
	return qga_exec_cannot(s->params);
}

static int begin(struct op_proc *o, struct rpc_call *call, const json_t *params,
		 bool is_run, struct errmsg *err)
{
	_cleanup_(start_done) struct start s = { 0 };
	struct proc_spec spec = { .fd = { -1, -1, -1 } };
	struct guest *g = machine_guest(o->conf.machine);
	const char *no;
	struct wait *w;
	int r = parse_start(&o->conf, params, &s, err);

	if (r < 0)
		return r;
	no = guest_uses_qga(g) ? qga_cannot(&s) : NULL;
	if (no) {
		rpc_fail(call, RPC_E_NOTSUP, no);
		return 0;
	}
	w = wait_new(o, call);
	if (!w)
		return errmsg_set(err, -ENOMEM, "process");
	w->is_run = w->output = is_run;
	spec.started = on_started;
	spec.arg = w;
	if (is_run)
		r = param_int(params, "timeout_ms", 0, TIMEOUT_MAX_MS,
			      &w->timeout_ms, err);
	if (r == 0)
		r = fill_spec(&s, w, params, &spec, err);
	if (r == 0 && is_run)
		r = open_input(params, &spec.fd[0], err);
	if (r == 0) {
		r = procs_start(guest_procs(g), &spec, NULL);
		if (r < 0) {
			op_io_drop(&w->io, call);
			op_agent_failed(call, r);
			wait_free(w);
			return 0;
		}
		if (is_run)
			rpc_on_gone(call, on_gone, w);
	}
	if (r < 0) {
		op_io_drop(&w->io, call);
		spec_drop(&spec);
		wait_free(w);
	}
	return r;
}

static void begin_or_fail(struct op_proc *o, struct rpc_call *call,
			  const json_t *params, bool is_run)
{
	struct errmsg err;

	if (op_agent_any(o->conf.machine, call) &&
	    begin(o, call, params, is_run, &err) < 0)
		rpc_fail(call, RPC_INVALID_PARAMS, err.text);
}

static void proc_start(struct rpc_call *call, const json_t *params, void *arg)
{

	begin_or_fail(arg, call, params, false);
}

static void proc_run(struct rpc_call *call, const json_t *params, void *arg)
{

	begin_or_fail(arg, call, params, true);
}

/* -- the others ------------------------------------------------------------ */

static struct procs *all_procs(const struct op_proc *o)
{
	struct guest *g = machine_guest(o->conf.machine);

	return g ? guest_procs(g) : NULL;
}

/* NULL, and @call is answered, where there is none. */
static struct proc *find(const struct op_proc *o, struct rpc_call *call,
			 const json_t *params)
{
	struct procs *ps = all_procs(o);
	struct proc *p = NULL;
	struct errmsg err;
	int64_t id = 0;

	if (param_int(params, "proc", 1, INT64_MAX, &id, &err) < 0) {
		rpc_fail(call, RPC_INVALID_PARAMS, err.text);
		return NULL;
	}
	if (ps && id)
		p = procs_find(ps, id);
	if (!p)
		rpc_failf(call, RPC_E_NOENT,
			  "no process %lld: proc.list has them", (long long)id);
	return p;
}

static void proc_wait_op(struct rpc_call *call, const json_t *params, void *arg)
{
	int64_t timeout_ms = -1;
	struct errmsg err;
	bool output = false;
	struct proc *p;
	struct wait *w;

	if (param_bool(params, "output", &output, &err) < 0 ||
	    param_int(params, "timeout_ms", 0, TIMEOUT_MAX_MS, &timeout_ms,
		      &err) < 0) {
		rpc_fail(call, RPC_INVALID_PARAMS, err.text);
		return;
	}
	p = find(arg, call, params);
	if (!p)
		return;
	w = wait_new(arg, call);
	if (!w) {
		op_agent_failed(call, -ENOMEM);
		return;
	}
	w->output = output;
	w->timeout_ms = timeout_ms;
	wait_for(w, p);
}

/* What it uses now is the agent's word (proc.usage): it knows the guest's
 * /proc. */
struct stat_call {
	struct rpc_call *call;
	json_t *result;
};

static void on_usage(const struct rpc_reply *reply, void *arg)
{
	struct stat_call *s = arg;

	if (reply->result)
		json_object_set_new(s->result, "usage",
				    json_deep_copy(reply->result));
	rpc_result(s->call, s->result);
	free(s);
}

static void proc_stat(struct rpc_call *call, const json_t *params, void *arg)
{
	struct stat_call *s;
	bool output = false;
	struct errmsg err;
	struct proc *p;

	if (param_bool(params, "output", &output, &err) < 0) {
		rpc_fail(call, RPC_INVALID_PARAMS, err.text);
		return;
	}
	p = find(arg, call, params);
	if (!p)
		return;
	s = calloc(1, sizeof(*s));
	if (!s) {
		op_agent_failed(call, -ENOMEM);
		return;
	}
	*s = (struct stat_call){ call, proc_json(p, output) };
	if (proc_usage(p, on_usage, s) < 0) {
		rpc_result(call, s->result);
		free(s);
	}
}

static void proc_list(struct rpc_call *call, const json_t *params, void *arg)
{
	struct procs *ps = all_procs(arg);
	json_t *list;

	list = json_array();
	for (struct proc *p = ps ? procs_first(ps) : NULL; p; p = proc_next(p))
		json_array_append_new(list, proc_json(p, false));
	rpc_result(call, json_pack("{s:o}", "procs", list));
}

static void proc_signal_op(struct rpc_call *call, const json_t *params,
			   void *arg)
{
	json_t *signal = json_object_get(params, "signal");
	bool group = true;
	struct errmsg err;
	struct proc *p;
	int r;

	if (param_bool(params, "group", &group, &err) < 0 || !signal) {
		rpc_fail(call, RPC_INVALID_PARAMS,
			 signal ? err.text : "signal: missing");
		return;
	}
	p = find(arg, call, params);
	if (!p)
		return;
	r = proc_signal(p, json_incref(signal), group, op_agent_answer, call);
	if (r < 0)
		op_agent_failed(call, r);
}

static void proc_resize_op(struct rpc_call *call, const json_t *params,
			   void *arg)
{
	int64_t rows = 24, cols = 80;
	struct errmsg err;
	struct proc *p;
	int r;

	r = param_int(params, "rows", 0, UINT16_MAX, &rows, &err);
	if (r == 0)
		r = param_int(params, "cols", 0, UINT16_MAX, &cols, &err);
	if (r < 0) {
		rpc_fail(call, RPC_INVALID_PARAMS, err.text);
		return;
	}
	p = find(arg, call, params);
	if (!p)
		return;
	r = proc_resize(p, (int)rows, (int)cols, op_agent_answer, call);
	if (r < 0)
		op_agent_failed(call, r);
}

static void proc_attach(struct rpc_call *call, const json_t *params, void *arg)
{
	static const char *const streams[] = { "stdout", "stderr", NULL };
	struct op_io io = OP_IO_NONE;
	bool wanted[OP_STREAMS] = { false };
	int which = -1, fd[OP_STREAMS], r;
	struct errmsg err;
	struct keep *k;
	struct proc *p;

	r = param_word(params, "which", streams, &which, &err);
	if (r == 0 && which < 0)
		r = errmsg_say(&err, -EINVAL, "which: stdout or stderr?");
	if (r < 0) {
		rpc_fail(call, RPC_INVALID_PARAMS, err.text);
		return;
	}
	p = find(arg, call, params);
	if (!p)
		return;
	k = proc_kept(p, ++which);
	if (!k || keep_is_attached(k)) {
		rpc_fail(call, k ? RPC_E_BUSY : RPC_E_NOENT,
			 k ? "another one is attached to it"
			   : "that output is not kept");
		return;
	}
	wanted[which] = true;
	r = op_io_open(&io, call, params, wanted, fd, &err);
	if (r == 0) {
		r = keep_attach(k, TAKE_FD(fd[which]));
		errmsg_set(&err, r, "its output");
	}
	if (r < 0) {
		op_io_drop(&io, call);
		if (fd[which] >= 0)
			close(fd[which]);
		rpc_fail(call, RPC_INVALID_PARAMS, err.text);
		return;
	}
	op_io_answer(
		&io, call,
		json_pack("{s:I}", "dropped", (json_int_t)keep_dropped(k)));
}

static void proc_release_op(struct rpc_call *call, const json_t *params,
			    void *arg)
{
	struct proc *p;

	p = find(arg, call, params);
	if (!p)
		return;
	if (proc_release(p) < 0)
		rpc_fail(call, RPC_E_BUSY, "it runs, or someone waits for it");
	else
		rpc_result(call, NULL);
}

const struct rpc_method op_proc_methods[] = {
	{ "proc.attach", proc_attach },
	{ "proc.list", proc_list },
	{ "proc.release", proc_release_op },
	{ "proc.resize", proc_resize_op },
	{ "proc.run", proc_run },
	{ "proc.signal", proc_signal_op },
	{ "proc.start", proc_start },
	{ "proc.stat", proc_stat },
	{ "proc.wait", proc_wait_op },
	{ 0 },
};

int op_proc_new(const struct service_conf *conf, struct ops *ops,
		struct op_proc **ret)
{
	struct op_proc *o = malloc(sizeof(*o));
	const struct op_proc init = { .conf = *conf };

	if (!o)
		return -ENOMEM;
	memcpy(o, &init, sizeof(*o));
	LIST_INIT(&o->waits);
	*ret = o;
	return ops_add(ops, op_proc_methods, o);
}

void op_proc_free(struct op_proc *o)
{
	struct wait *w;

	if (!o)
		return;
	while ((w = LIST_FIRST(&o->waits))) {
		if (w->call)
			rpc_fail(w->call, RPC_E_STATE, "the task has ended");
		wait_free(w);
	}
	free(o);
}
