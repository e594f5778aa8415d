#include <config.h>

#include "opcall.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/queue.h>
#include <unistd.h>

#include "cleanup.h"
#include "op_agent.h"
#include "ops.h"
#include "param.h"

struct opcall {
	LIST_ENTRY(opcall) next;
	struct opcalls *owner;
	struct rpc_call *call; /* NULL: answered, or nobody waits for it */
	struct proc *proc;     /* that runs; NULL: not yet, or no more */
	struct loop_timer *timer;
	bool is_guests;
	char *label, *tag;
	int64_t timeout_ms;
	opcall_fn fn;
};

struct opcalls {
	struct service_conf conf;
	LIST_HEAD(, opcall) list;
	unsigned int n_guests;
};

static void opcall_free(struct opcall *c)
{
	LIST_REMOVE(c, next);
	c->owner->n_guests -= c->is_guests;
	loop_timer_free(c->timer);
	if (c->proc)
		proc_forget_wait(c->proc, c);
	free(c->label);
	free(c->tag);
	free(c);
}

/* It is waited for all the same: its end is what frees it. */
static void end_process(struct opcall *c)
{
	loop_timer_set(c->timer, -1);
	if (c->proc)
		proc_signal(c->proc, json_integer(9), true, NULL, NULL);
}

static void on_gone(struct rpc_call *call, void *arg)
{
	struct opcall *c = arg;

	c->call = NULL;
	rpc_result(call, NULL);
	end_process(c);
}

static void on_timeout(void *arg)
{
	struct opcall *c = arg;

	rpc_failf(TAKE_PTR(c->call), RPC_E_TIMEOUT,
		  "%s has not ended within %lld ms, and is killed", c->label,
		  (long long)c->timeout_ms);
	end_process(c);
}

/* -- its end --------------------------------------------------------------- */

static void take_kept(const struct proc *p, int which, const char **ret,
		      size_t *ret_len, bool *ret_cut)
{
	struct keep *k = proc_kept(p, which);

	*ret = "";
	*ret_len = 0;
	*ret_cut = k && keep_dropped(k);
	if (k)
		*ret = keep_data(k, ret_len);
	if (!*ret_len)
		*ret = "";
}

static void answer(struct opcall *c, const struct proc *p)
{
	struct opcall_end end = { 0 };
	int status = proc_status(p);
	json_t *o = proc_json(p, false);

	end.signal = (int)json_integer_value(json_object_get(o, "signal"));
	end.exit = end.signal ? -1 : status;
	json_decref(o);
	take_kept(p, 1, &end.out, &end.out_len, &end.out_cut);
	take_kept(p, 2, &end.err, &end.err_len, &end.err_cut);
	c->fn(TAKE_PTR(c->call), &end, c->tag);
}

static void on_ended(struct proc *p, void *arg)
{
	struct opcall *c = arg;

	c->proc = NULL;
	if (c->call && proc_state(p) == PROC_LOST)
		rpc_failf(
			TAKE_PTR(c->call), RPC_E_LOST,
			"the guest's agent was lost while %s ran: nobody knows how it ended",
			c->label);
	else if (c->call)
		answer(c, p);
	opcall_free(c);
	proc_release(p);
}

static json_t *end_json(const struct opcall_end *end)
{
	json_t *o = json_pack("{s:s, s:o}", "name", rpc_error_name(RPC_E_OP),
			      "err", param_from_bytes(end->err, end->err_len));

	if (o && end->signal)
		json_object_set_new(o, "signal", json_integer(end->signal));
	else if (o)
		json_object_set_new(o, "exit", json_integer(end->exit));
	return o;
}

/* The last line of what it wrote to stderr, which mostly says why. */
static void last_line(const struct opcall_end *end, char *ret, size_t size)
{
	const char *text = end->err;
	size_t len = end->err_len, at;

	while (len && strchr("\r\n\t ", text[len - 1]))
		len--;
	for (at = len; at && text[at - 1] != '\n'; at--)
		;
	if (len - at >= size)
		len = at + size - 1;
	memcpy(ret, text + at, len - at);
	ret[len - at] = '\0';
}

void opcall_failed(struct rpc_call *call, const struct opcall_end *end,
		   const char *label)
{
	char line[256], how[64], words[512];
	struct rpc_reply reply = { .code = RPC_E_OP, .message = words };
	json_t *data = end_json(end);

	last_line(end, line, sizeof(line));
	if (end->signal)
		snprintf(how, sizeof(how), "ended by signal %d", end->signal);
	else
		snprintf(how, sizeof(how), "exit status %d", end->exit);
	snprintf(words, sizeof(words), "%.150s: %s%s%s", label, how,
		 *line ? ": " : "", line);
	reply.data = data;
	rpc_pass_on(call, &reply);
	json_decref(data);
}

/* -- its start ------------------------------------------------------------- */

static void on_started(struct proc *p, const struct rpc_reply *reply, void *arg)
{
	struct opcall *c = arg;
	int r;

	if (!reply->result) {
		if (c->call)
			rpc_pass_on(TAKE_PTR(c->call), reply);
		opcall_free(c);
		return;
	}
	c->proc = p;
	if (!c->call)
		end_process(c); /* nobody waits any more */
	r = proc_wait(p, on_ended, c);
	if (r < 0) {
		if (c->call)
			op_agent_failed(TAKE_PTR(c->call), r);
		end_process(c);
		opcall_free(c);
	}
}

/* A file, to be read from the beginning: it may be longer than a pipe. */
static int open_input(const struct opcall_spec *spec, int *ret)
{
	_cleanup_close_ int fd = -1;

	if (!spec->input)
		return 0;
	fd = memfd_create("input", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	for (size_t at = 0; at < spec->input_len;) {
		ssize_t n = write(fd, spec->input + at, spec->input_len - at);

		if (n < 0 && errno != EINTR)
			return -errno;
		at += n > 0 ? (size_t)n : 0;
	}
	if (lseek(fd, 0, SEEK_SET) < 0)
		return -errno;
	*ret = TAKE_FD(fd);
	return 0;
}

/* Takes nothing of @spec. */
static struct opcall *opcall_new(struct opcalls *cs, struct rpc_call *call,
				 const struct opcall_spec *spec)
{
	struct opcall *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->owner = cs;
	c->call = call;
	c->is_guests = ops_is_guest(call);
	c->timeout_ms = spec->timeout_ms;
	c->fn = spec->fn;
	c->label = strdup(spec->label);
	c->tag = strdup(spec->tag);
	LIST_INSERT_HEAD(&cs->list, c, next);
	cs->n_guests += c->is_guests;
	if (c->label && c->tag &&
	    loop_timer_add(cs->conf.loop, spec->timeout_ms, on_timeout, c,
			   &c->timer) == 0)
		return c;
	opcall_free(c);
	return NULL;
}

static int start(struct opcalls *cs, struct opcall *c, struct opcall_spec *spec)
{
	struct proc_spec ps = { .params = spec->params,
				.fd = { -1, -1, -1 },
				.keep = OPCALL_OUT,
				.err_tail = spec->err_bytes,
				.label = spec->label,
				.started = on_started,
				.arg = c };
	int r = open_input(spec, &ps.fd[0]);

	if (r < 0)
		return r;
	spec->params = NULL;
	json_object_set_new(ps.params, "bound", json_true());
	return procs_start(guest_procs(machine_guest(cs->conf.machine)), &ps,
			   NULL);
}

void opcall_begin(struct opcalls *cs, struct rpc_call *call,
		  struct opcall_spec *spec)
{
	struct opcall *c;
	int r = -ENOMEM;

	if (ops_is_guest(call) && cs->n_guests >= OPCALL_GUESTS) {
		rpc_failf(
			call, RPC_E_BUSY,
			"%d calls of this guest are being carried out: wait for one to end",
			OPCALL_GUESTS);
	} else if (op_agent_guest(cs->conf.machine, call)) {
		c = spec->params ? opcall_new(cs, call, spec) : NULL;
		if (c) {
			rpc_on_gone(call, on_gone, c);
			r = start(cs, c, spec);
		}
		if (r < 0 && c) {
			rpc_on_gone(call, NULL, NULL);
			opcall_free(c);
		}
		if (r < 0)
			op_agent_failed(call, r);
	}
	json_decref(spec->params);
}

/* -------------------------------------------------------------------------- */

struct opcalls *opcalls_new(const struct service_conf *conf)
{
	struct opcalls *cs = calloc(1, sizeof(*cs));

	if (!cs)
		return NULL;
	cs->conf = *conf;
	LIST_INIT(&cs->list);
	return cs;
}

void opcalls_free(struct opcalls *cs)
{
	struct opcall *c;

	if (!cs)
		return;
	while ((c = LIST_FIRST(&cs->list))) {
		if (c->call)
			rpc_fail(c->call, RPC_E_STATE, "the task has ended");
		opcall_free(c);
	}
	free(cs);
}
