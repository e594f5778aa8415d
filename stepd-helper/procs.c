#include <config.h>

#include "procs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "guest.h"
#include "mux.h"
#include "param.h"
#include "procs_impl.h"

static bool is_over(const struct proc *p)
{
	return p->state == PROC_ENDED || p->state == PROC_LOST;
}

void procs_free_one(struct proc *p)
{
	struct waiter *w;

	TAILQ_REMOVE(&p->procs->list, p, next);
	if (is_over(p))
		p->procs->n_ended--;
	else
		p->procs->n_running--;
	while ((w = SLIST_FIRST(&p->waiters))) {
		SLIST_REMOVE_HEAD(&p->waiters, next);
		free(w);
	}
	qga_exec_free(p->exec);
	for (int i = 1; i < 3; i++)
		keep_free(p->keep[i]);
	if (p->in >= 0)
		close(p->in);
	json_decref(p->result);
	free(p->label);
	free(p->program);
	free(p);
}

void procs_set_watch(struct procs *ps, void (*fn)(struct proc *p, void *arg),
		     void *arg)
{
	ps->watch = fn;
	ps->watch_arg = arg;
}

void procs_tell_watch(struct proc *p)
{
	if (p->procs->watch)
		p->procs->watch(p, p->procs->watch_arg);
}

/* -- its end --------------------------------------------------------------- */

static void close_channels(struct proc *p)
{
	struct mux *m = guest_mux(p->procs->guest);

	if (p->open[0])
		mux_reset(m, p->chan, true, EPIPE);
	for (unsigned int i = 1; i < 3; i++)
		if (p->open[i])
			mux_reset(m, p->chan + i - 1, false, EPIPE);
	memset(p->open, 0, sizeof(p->open));
}

static struct proc *oldest_ended(struct procs *ps)
{
	struct proc *p;

	TAILQ_FOREACH(p, &ps->list, next)
	if (is_over(p) && SLIST_EMPTY(&p->waiters) && !p->telling)
		return p;
	return NULL;
}

void procs_end(struct proc *p, enum proc_state state)
{
	struct procs *ps = p->procs;
	struct waiter *w;

	close_channels(p);
	p->state = state;
	p->ended_ms = loop_now_ms();
	ps->n_running--;
	ps->n_ended++;
	p->telling = true;
	procs_tell_watch(p);
	while ((w = SLIST_FIRST(&p->waiters))) {
		SLIST_REMOVE_HEAD(&p->waiters, next);
		w->fn(p, w->arg);
		free(w);
	}
	p->telling = false;
	if (p->released)
		procs_free_one(p);
	while (ps->n_ended > PROCS_KEPT && oldest_ended(ps))
		procs_free_one(oldest_ended(ps));
}

static bool flows(const struct proc *p, int which)
{
	return p->open[which] ||
	       (p->keep[which] && !keep_is_over(p->keep[which]));
}

void procs_end_if_over(struct proc *p)
{
	if (p->exited && p->state == PROC_RUNNING && !flows(p, 1) &&
	    !flows(p, 2))
		procs_end(p, PROC_ENDED);
}

void procs_on_kept(void *arg)
{
	procs_end_if_over(arg);
}

static void on_output_done(unsigned int chan, int error, void *arg)
{
	struct proc *p = arg;

	p->open[1 + chan - p->chan] = false;
	procs_end_if_over(p);
}

static void on_input_done(unsigned int chan, int error, void *arg)
{
	struct proc *p = arg;

	p->open[0] = false;
}

/* As far as it is what it should be: it is kept. */
static void take_numbers(json_t *to, const json_t *from,
			 const char *const *names)
{
	for (; *names; names++) {
		json_t *value = json_object_get(from, *names);

		if (json_is_integer(value) || json_is_boolean(value))
			json_object_set(to, *names, value);
	}
}

static json_t *exit_result(const json_t *params)
{
	static const char *const how[] = { "exit", "signal", "core", NULL };
	static const char *const used[] = { "utime_us", "stime_us", "maxrss_kb",
					    NULL };
	json_t *o = json_object(), *rusage = json_object();

	take_numbers(o, params, how);
	take_numbers(rusage, json_object_get(params, "rusage"), used);
	json_object_set_new(o, "rusage", rusage);
	return o;
}

void procs_on_exit(struct procs *ps, const json_t *params)
{
	json_int_t agents = json_integer_value(json_object_get(params, "proc"));
	struct proc *p;

	TAILQ_FOREACH(p, &ps->list, next)
	if (p->state == PROC_RUNNING && !p->exec && !p->exited &&
	    p->agents == agents)
		break;
	if (!p)
		return;
	p->exited = true;
	p->result = exit_result(params);
	/* a daemon it left behind holds its output; as with any other task,
	 * nobody waits for that */
	if (json_is_true(json_object_get(params, "out_open")))
		close_channels(p);
	procs_end_if_over(p);
}

/* One of our agent's; QEMU's has its own way to know. */
static struct proc *first_running(struct procs *ps)
{
	struct proc *p;

	TAILQ_FOREACH(p, &ps->list, next)
	if (p->state == PROC_RUNNING && !p->exec)
		return p;
	return NULL;
}

/* Those that start are answered by their requests. */
void procs_on_lost(struct procs *ps, const char *why)
{
	struct proc *p;

	TAILQ_FOREACH(p, &ps->list, next)
	memset(p->open, 0, sizeof(p->open)); /* the mux's word */
	while ((p = first_running(ps))) /* the end of one may free others */
		procs_end(p, p->exited ? PROC_ENDED : PROC_LOST);
}

/* -- its start ------------------------------------------------------------- */

/* Of a process that ran already, an output may have ended before. */
static void close_ended(struct proc *p, const json_t *result)
{
	static const char *const names[] = { NULL, "stdout", "stderr" };

	for (unsigned int i = 1; i < 3; i++)
		if (p->open[i] &&
		    json_is_false(json_object_get(result, names[i]))) {
			mux_reset(guest_mux(p->procs->guest), p->chan + i - 1,
				  false, EPIPE);
			p->open[i] = false;
		}
}

static void send_input(struct proc *p)
{
	int fd = TAKE_FD(p->in);

	if (fd >= 0)
		p->open[0] = mux_send_fd(guest_mux(p->procs->guest), p->chan,
					 fd, on_input_done, p) == 0;
}

static void on_started(const struct rpc_reply *reply, void *arg)
{
	struct proc *p = arg;

	if (reply->result) {
		p->state = PROC_RUNNING;
		p->agents = json_integer_value(
			json_object_get(reply->result, "proc"));
		p->pid = json_integer_value(
			json_object_get(reply->result, "pid"));
		send_input(p);
		close_ended(p, reply->result);
		procs_tell_watch(p);
	}
	if (p->started)
		p->started(p, reply, p->arg);
	if (reply->result)
		return;
	close_channels(p);
	procs_free_one(p);
}

static int receive(struct proc *p, int which, int fd, size_t keep)
{
	unsigned int chan = p->chan + (unsigned int)which - 1;
	int r = 0;

	if (fd < 0 && keep)
		r = keep_new(p->procs->loop, keep, procs_on_kept, p,
			     &p->keep[which], &fd);
	if (r == 0 && fd < 0)
		return 0;
	if (r == 0)
		r = mux_recv_fd(guest_mux(p->procs->guest), chan, fd,
				on_output_done, p);
	p->open[which] = r == 0;
	return r;
}

/* Takes the descriptors of @spec. */
static int open_streams(struct proc *p, struct proc_spec *spec)
{
	json_t *o = spec->params;
	int r;

	p->in = TAKE_FD(spec->fd[0]);
	r = receive(p, 1, TAKE_FD(spec->fd[1]), spec->keep);
	if (r == 0 && !spec->pty)
		r = receive(p, 2, TAKE_FD(spec->fd[2]),
			    spec->err_tail ? spec->err_tail : spec->keep);
	if (r == 0 && spec->err_tail && p->keep[2])
		keep_set_tail(p->keep[2]);
	if (p->in >= 0 || spec->pty)
		json_object_set_new(o, "stdin", json_integer(p->chan));
	if (p->open[1] || spec->pty)
		json_object_set_new(o, "stdout", json_integer(p->chan));
	if (p->open[2])
		json_object_set_new(o, "stderr", json_integer(p->chan + 1));
	return r;
}

/* -------------------------------------------------------------------------- */

static char *program_of(const json_t *params)
{
	const json_t *word = json_array_get(json_object_get(params, "argv"), 0);
	const char *text = json_string_value(word);

	return strdup(text ? text : "?");
}

static int start(struct proc *p, struct proc_spec *spec)
{
	struct guest *g = p->procs->guest;
	int r;

	p->label = spec->label ? strdup(spec->label) : NULL;
	p->program = program_of(spec->params);
	if (!p->program || !p->label != !spec->label)
		return -ENOMEM;
	if (guest_uses_qga(g))
		return procs_start_by_qga(p, spec);
	p->chan = guest_take_channels(g, 2);
	r = open_streams(p, spec);
	if (r < 0)
		return r;
	if (spec->attach) {
		json_object_del(spec->params, "argv");
		json_object_set_new(spec->params, "proc",
				    json_integer(spec->attach));
	}
	return guest_request(g, spec->attach ? "proc.attach" : "proc.start",
			     json_incref(spec->params), on_started, p);
}

int procs_start(struct procs *ps, struct proc_spec *spec, struct proc **ret)
{
	struct proc *p =
		ps->n_running < PROCS_MAX ? calloc(1, sizeof(*p)) : NULL;
	int r = ps->n_running < PROCS_MAX ? -ENOMEM : -EMFILE;

	if (p && spec->params) {
		p->procs = ps;
		p->id = ++ps->last_id;
		p->in = -1;
		p->pty = spec->pty;
		p->begun_ms = loop_now_ms();
		p->started = spec->started;
		p->arg = spec->arg;
		SLIST_INIT(&p->waiters);
		TAILQ_INSERT_TAIL(&ps->list, p, next);
		ps->n_running++;
		r = start(p, spec);
		if (r < 0) {
			close_channels(p);
			procs_free_one(p);
		}
	} else {
		free(p);
	}
	for (int i = 0; i < 3; i++)
		if (spec->fd[i] >= 0)
			close(TAKE_FD(spec->fd[i]));
	json_decref(spec->params);
	spec->params = NULL;
	if (r == 0 && ret)
		*ret = p;
	return r;
}

/* -- what there is to know ------------------------------------------------- */

struct proc *procs_find(const struct procs *ps, json_int_t id)
{
	struct proc *p;

	TAILQ_FOREACH(p, &ps->list, next)
	if (p->id == id)
		return p;
	return NULL;
}

struct proc *procs_first(const struct procs *ps)
{
	return TAILQ_FIRST(&ps->list);
}

struct proc *proc_next(const struct proc *p)
{
	return TAILQ_NEXT(p, next);
}

bool proc_has_exited(const struct proc *p)
{
	return p->exited;
}

json_int_t proc_agents_id(const struct proc *p)
{
	return p->agents;
}

const char *proc_program(const struct proc *p)
{
	return p->program;
}

enum proc_state proc_state(const struct proc *p)
{
	return p->state;
}

int proc_status(const struct proc *p)
{
	const json_t *signal = json_object_get(p->result, "signal");

	if (json_is_integer(signal))
		return 128 + (int)(json_integer_value(signal) & 0x7f);
	return (int)(json_integer_value(json_object_get(p->result, "exit")) &
		     0xff);
}

struct keep *proc_kept(const struct proc *p, int which)
{
	return p->keep[which];
}

static void add_kept(const struct proc *p, int which, const char *name,
		     json_t *o)
{
	char truncated[32];
	const char *data;
	size_t len;

	if (!p->keep[which])
		return;
	data = keep_data(p->keep[which], &len);
	json_object_set_new(o, name, param_from_bytes(data, len));
	snprintf(truncated, sizeof(truncated), "%s_truncated", name);
	json_object_set_new(o, truncated,
			    json_boolean(keep_dropped(p->keep[which])));
}

json_t *proc_json(const struct proc *p, bool output)
{
	static const char *const states[] = { "starting", "running", "ended",
					      "lost" };
	static const char *const copied[] = { "exit", "signal", "core",
					      "rusage" };
	int64_t end_ms = is_over(p) ? p->ended_ms : loop_now_ms();
	json_t *o = json_pack("{s:I, s:I, s:s, s:o, s:I}", "proc", p->id, "pid",
			      p->pid, "state", states[p->state], "program",
			      param_from_text(p->program), "wall_ms",
			      (json_int_t)(end_ms - p->begun_ms));

	if (p->exec)
		json_object_set_new(o, "degraded", json_true());
	if (p->label)
		json_object_set_new(o, "label", json_string(p->label));
	for (size_t i = 0; i < ARRAY_SIZE(copied) && is_over(p); i++) {
		json_t *value = json_object_get(p->result, copied[i]);

		if (value)
			json_object_set(o, copied[i], value);
	}
	if (output) {
		add_kept(p, 1, "out", o);
		add_kept(p, 2, "err", o);
	}
	return o;
}

/* -- what can be done ------------------------------------------------------ */

int proc_wait(struct proc *p, proc_ended_fn fn, void *arg)
{
	struct waiter *w;

	if (is_over(p)) {
		fn(p, arg);
		return 0;
	}
	w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	w->fn = fn;
	w->arg = arg;
	SLIST_INSERT_HEAD(&p->waiters, w, next);
	return 0;
}

void proc_forget_wait(struct proc *p, const void *arg)
{
	struct waiter *w;

	SLIST_FOREACH(w, &p->waiters, next)
	if (w->arg == arg)
		break;
	if (!w)
		return;
	SLIST_REMOVE(&p->waiters, w, waiter, next);
	free(w);
}

int proc_signal(struct proc *p, json_t *signal, bool group, rpc_reply_fn fn,
		void *arg)
{
	if (p->state != PROC_RUNNING || p->exited) {
		json_decref(signal);
		return -ESRCH;
	}
	if (p->exec) {
		int r = qga_exec_signal(p->exec, signal, fn, arg);

		json_decref(signal);
		return r;
	}
	return guest_request(p->procs->guest, "proc.signal",
			     json_pack("{s:I, s:o, s:b}", "proc", p->agents,
				       "signal", signal, "group", (int)group),
			     fn, arg);
}

int proc_resize(struct proc *p, int rows, int cols, rpc_reply_fn fn, void *arg)
{
	if (p->state != PROC_RUNNING || p->exited)
		return -ESRCH;
	if (p->exec)
		return -EOPNOTSUPP;
	return guest_request(p->procs->guest, "proc.resize",
			     json_pack("{s:I, s:i, s:i}", "proc", p->agents,
				       "rows", rows, "cols", cols),
			     fn, arg);
}

int proc_usage(struct proc *p, rpc_reply_fn fn, void *arg)
{
	if (p->state != PROC_RUNNING || p->exited)
		return -ESRCH;
	if (p->exec)
		return -EOPNOTSUPP;
	return guest_request(p->procs->guest, "proc.usage",
			     json_pack("{s:I}", "proc", p->agents), fn, arg);
}

int proc_release(struct proc *p)
{
	if (!is_over(p) || !SLIST_EMPTY(&p->waiters))
		return -EBUSY;
	p->released = true;
	if (!p->telling)
		procs_free_one(p);
	return 0;
}

/* -------------------------------------------------------------------------- */

struct procs *procs_new(struct loop *l, struct guest *g)
{
	struct procs *ps = calloc(1, sizeof(*ps));

	if (!ps)
		return NULL;
	ps->loop = l;
	ps->guest = g;
	TAILQ_INIT(&ps->list);
	return ps;
}

void procs_free(struct procs *ps)
{
	struct proc *p;

	if (!ps)
		return;
	while ((p = TAILQ_FIRST(&ps->list)))
		procs_free_one(p);
	free(ps);
}
