#include <config.h>

#include "proc.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "log.h"
#include "param.h"
#include "procio.h"
#include "spawn.h"
#include "start.h"
#include "usage.h"

/* The life of a process, and what the host hears:
 *
 *   STARTING  forked; the child has not said yet whether its program runs.
 *             proc.start is answered when it has, whatever else happens.
 *   RUNNING   answered.
 *   ENDED     reaped; output may still be on its way. proc.exit waits until
 *             all of it has ended and the host has taken it; or, where others
 *             hold it open (a daemon it left behind), until nothing has been
 *             on its way for GRACE_MS. A slow reader is not cut short by that.
 *   TOLD      proc.exit was sent with out_open; gone when the output ends.
 *   FAILED    the program could not be run; gone when reaped.
 */
enum state { STARTING, RUNNING, ENDED, TOLD, FAILED };

#define GRACE_MS 200
#define LOOK_MS	 50 /* how often, while a process is ENDED */
#define KILL_MS	 5000

struct proc {
	LIST_ENTRY(proc) next;
	struct procs *procs;
	json_int_t id;
	pid_t pid;
	enum state state;
	bool reaped; /* while STARTING: not yet to be told */
	int wstatus;
	struct rusage usage;
	struct procio *io;
	struct rpc_call *call; /* proc.start, while STARTING */
	int status;	       /* how the start went, while STARTING */
	struct loop_io *status_io;
	char *program, *cwd, *user;
	bool bound;	   /* it does not outlive the agent */
	int64_t orphan_ms; /* since when it has no host; 0: it has one */
	int64_t quiet_ms;  /* since when; 0: it is not */
};

struct procs {
	struct agent *agent;
	LIST_HEAD(, proc) list;
	unsigned int n;
	json_int_t last_id;
	struct loop_timer *look;
	struct loop_timer *kill; /* SIGKILL is due */
	struct rpc_call *kill_call;
};

static bool is_alive(const struct proc *p)
{
	return !p->reaped;
}

static void kill_call_check(struct procs *ps);

static void proc_free(struct proc *p)
{
	LIST_REMOVE(p, next);
	p->procs->n--;
	procio_free(p->io, EPIPE);
	loop_io_free(p->status_io);
	if (p->status >= 0)
		close(p->status);
	free(p->program);
	free(p->cwd);
	free(p->user);
	free(p);
}

/* -- the end of a process -------------------------------------------------- */

static void tell_exit(struct proc *p, bool out_open)
{
	json_t *params = json_pack(
		"{s:I, s:i, s:b, s:{s:I, s:I, s:I}}", "proc", p->id, "pid",
		(int)p->pid, "out_open", (int)out_open, "rusage", "utime_us",
		(json_int_t)p->usage.ru_utime.tv_sec * 1000000 +
			p->usage.ru_utime.tv_usec,
		"stime_us",
		(json_int_t)p->usage.ru_stime.tv_sec * 1000000 +
			p->usage.ru_stime.tv_usec,
		"maxrss_kb", (json_int_t)p->usage.ru_maxrss);

	if (params && WIFSIGNALED(p->wstatus)) {
		json_object_set_new(params, "signal",
				    json_integer(WTERMSIG(p->wstatus)));
		json_object_set_new(params, "core",
				    json_boolean(WCOREDUMP(p->wstatus)));
	} else if (params) {
		json_object_set_new(params, "exit",
				    json_integer(WEXITSTATUS(p->wstatus)));
	}
	procio_end_input(p->io);
	rpc_notify(p->procs->agent->rpc, "proc.exit", params);
}

/* A host may come, and ask for it. */
static bool is_held(const struct proc *p)
{
	return p->orphan_ms && loop_now_ms() - p->orphan_ms < PROCIO_HOLD_MS;
}

/* Returns whether it is over for good; @p is then gone. */
static bool proc_check(struct proc *p)
{
	if (p->state == ENDED && is_held(p)) {
		loop_timer_set(p->procs->look, LOOK_MS);
		return false;
	} else if (p->state == ENDED && procio_is_done(p->io)) {
		tell_exit(p, false);
	} else if (p->state == ENDED) {
		if (!procio_is_quiet(p->io))
			p->quiet_ms = 0;
		else if (!p->quiet_ms)
			p->quiet_ms = loop_now_ms();
		else if (loop_now_ms() - p->quiet_ms >= GRACE_MS) {
			tell_exit(p, true);
			p->state = TOLD;
		}
		if (p->state == ENDED)
			loop_timer_set(p->procs->look, LOOK_MS);
		return false;
	} else if (p->state != TOLD || !procio_is_done(p->io)) {
		return false;
	}
	proc_free(p);
	return true;
}

static void on_look(void *arg)
{
	struct procs *ps = arg;
	struct proc *p, *next;

	for (p = LIST_FIRST(&ps->list); p; p = next) {
		next = LIST_NEXT(p, next);
		proc_check(p);
	}
}

static void on_output_end(void *arg)
{
	struct proc *p = arg;

	/* not from in here: procio is still busy with it */
	loop_timer_set(p->procs->look, 0);
}

static void on_child(pid_t pid, int wstatus, void *arg)
{
	struct proc *p = arg;
	struct procs *ps = p->procs;

	p->reaped = true;
	p->wstatus = wstatus;
	p->usage = *loop_child_usage(ps->agent->loop);
	if (p->state == RUNNING) {
		p->state = ENDED;
		proc_check(p);
	} else if (p->state == FAILED) {
		proc_free(p);
	}
	kill_call_check(ps);
}

/* -- the start of a process ------------------------------------------------ */

static void answer_failure(struct proc *p, const struct spawn_failure *f)
{
	struct rpc_call *call = TAKE_PTR(p->call);
	enum rpc_error code = rpc_error_of(f->error);
	const char *what = "command";
	struct errmsg text;

	if (f->step == SPAWN_INTERPRETER || f->error == ENOEXEC)
		code = RPC_E_PERM; /* it is there, and cannot be run */
	if (f->error == EINVAL)
		code = RPC_E_OS; /* the kernel's word, not the host's fault */
	if (f->step == SPAWN_CWD)
		what = "cwd";
	else if (f->step == SPAWN_USER)
		what = "user";
	else if (f->step < SPAWN_CWD)
		what = "setup";
	spawn_failure_text(f, p->program, p->cwd, &text);
	rpc_fail_os(call, code, f->error, what, text.text);
}

static void on_status(uint32_t events, void *arg)
{
	struct proc *p = arg;
	struct spawn_failure f;
	ssize_t n = read(p->status, &f, sizeof(f));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	loop_io_free(TAKE_PTR(p->status_io));
	close(TAKE_FD(p->status));
	if (n == sizeof(f)) {
		answer_failure(p, &f);
		procio_free(TAKE_PTR(p->io), ECANCELED);
		p->state = FAILED;
		if (p->reaped)
			proc_free(p);
		return;
	}
	rpc_result(TAKE_PTR(p->call),
		   json_pack("{s:I, s:i}", "proc", p->id, "pid", (int)p->pid));
	p->state = p->reaped ? ENDED : RUNNING;
	proc_check(p);
}

/* Watch what was forked. Failing here, the child is killed again. */
static int proc_watch(struct proc *p, struct errmsg *err)
{
	struct loop *l = p->procs->agent->loop;
	int r = loop_io_add(l, p->status, EPOLLIN, on_status, p, &p->status_io);

	if (r == 0)
		r = loop_child(l, p->pid, on_child, p);
	if (r == 0)
		return 0;
	kill(p->pid, SIGKILL);
	waitpid(p->pid, NULL, 0);
	return errmsg_set(err, r, "watch process %d", (int)p->pid);
}

static int proc_fork(struct proc *p, const struct start *s,
		     const struct account *user, struct errmsg *err)
{
	struct agent *a = p->procs->agent;
	struct procio_spec spec = s->io;
	char **env = start_env(s, user);
	int child[3], r;
	struct spawn sp = { .argv = s->argv,
			    .envp = env,
			    .cwd = s->cwd,
			    .user = user,
			    .tty = s->io.pty,
			    .bound = s->bound };

	if (!env)
		return errmsg_set(err, -ENOMEM, "environment");
	spec.owner = user->uid;
	r = procio_open(a->loop, a->mux, &spec, on_output_end, p, &p->io, child,
			err);
	if (r == 0) {
		sp.in = child[0];
		sp.out = s->io.pty ? child[0] : child[1];
		sp.err = s->io.pty ? child[0] : child[2];
		r = spawn_start(&sp, &p->pid, &p->status, err);
		procio_close_child(child);
	}
	if (r == 0)
		r = proc_watch(p, err);
	start_free_env(env);
	return r;
}

static int proc_new(struct procs *ps, const struct start *s,
		    const struct account *user, struct proc **ret,
		    struct errmsg *err)
{
	struct proc *p;
	int r;

	if (ps->n >= PROC_MAX)
		return errmsg_say(
			err, -EMFILE,
			"%u processes run already: wait for one to end", ps->n);
	p = calloc(1, sizeof(*p));
	if (!p)
		return errmsg_set(err, -ENOMEM, "process");
	p->procs = ps;
	p->status = -1;
	p->bound = s->bound;
	p->id = ++ps->last_id;
	LIST_INSERT_HEAD(&ps->list, p, next);
	ps->n++;
	p->program = strdup(s->argv[0]);
	p->user = strdup(user->name);
	p->cwd = s->cwd ? strdup(s->cwd) : NULL;
	r = p->program && p->user && !p->cwd == !s->cwd
		    ? proc_fork(p, s, user, err)
		    : errmsg_set(err, -ENOMEM, "process");
	if (r < 0) {
		proc_free(p);
		return r;
	}
	*ret = p;
	return 0;
}

void proc_start(struct rpc_call *call, const json_t *params, void *agent)
{
	_cleanup_(account_done) struct account user = { 0 };
	_cleanup_(start_done) struct start s = { 0 };
	struct agent *a = agent;
	struct proc *p = NULL;
	struct errmsg err;
	int r;

	r = start_parse(params, &s, &err);
	if (r < 0) {
		rpc_fail(call, RPC_INVALID_PARAMS, err.text);
		return;
	}
	r = account_find(s.user, &user, &err);
	if (r < 0) {
		rpc_fail_os(call, rpc_error_of(-r), -r, "user", err.text);
		return;
	}
	r = proc_new(a->procs, &s, &user, &p, &err);
	if (r < 0)
		rpc_fail_os(call, rpc_error_of(-r), -r, "setup", err.text);
	else
		p->call = call;
}

/* -- what else the host may ask -------------------------------------------- */

static const struct {
	const char *name;
	int number;
} signals[] = {
	{ "HUP", SIGHUP },     { "INT", SIGINT },   { "QUIT", SIGQUIT },
	{ "ILL", SIGILL },     { "TRAP", SIGTRAP }, { "ABRT", SIGABRT },
	{ "BUS", SIGBUS },     { "FPE", SIGFPE },   { "KILL", SIGKILL },
	{ "USR1", SIGUSR1 },   { "SEGV", SIGSEGV }, { "USR2", SIGUSR2 },
	{ "PIPE", SIGPIPE },   { "ALRM", SIGALRM }, { "TERM", SIGTERM },
	{ "CHLD", SIGCHLD },   { "CONT", SIGCONT }, { "STOP", SIGSTOP },
	{ "TSTP", SIGTSTP },   { "TTIN", SIGTTIN }, { "TTOU", SIGTTOU },
	{ "URG", SIGURG },     { "XCPU", SIGXCPU }, { "XFSZ", SIGXFSZ },
	{ "WINCH", SIGWINCH },
};

int proc_parse_signal(const json_t *value, int *ret, struct errmsg *err)
{
	const char *name = json_string_value(value);
	json_int_t number = json_integer_value(value);

	if (json_is_integer(value) && number >= 1 && number <= 64) {
		*ret = (int)number;
		return 0;
	}
	if (name && strncmp(name, "SIG", 3) == 0)
		name += 3;
	for (size_t i = 0; name && i < ARRAY_SIZE(signals); i++)
		if (strcmp(signals[i].name, name) == 0) {
			*ret = signals[i].number;
			return 0;
		}
	return errmsg_say(
		err, -EINVAL,
		"signal: neither a number from 1 to 64 nor a name as in TERM");
}

/* The process that "proc" names; NULL, and @call is answered, if it is gone. */
static struct proc *find(struct agent *a, struct rpc_call *call,
			 const json_t *params)
{
	struct errmsg err;
	struct proc *p;
	int64_t id = 0;

	if (param_int(params, "proc", 1, INT64_MAX, &id, &err) < 0) {
		rpc_fail(call, RPC_INVALID_PARAMS, err.text);
		return NULL;
	}
	for (p = LIST_FIRST(&a->procs->list); p; p = LIST_NEXT(p, next))
		if (p->id == id && is_alive(p) && p->state == RUNNING)
			return p;
	errmsg_say(&err, 0, "no process %lld runs", (long long)id);
	rpc_fail(call, RPC_E_NOENT, err.text);
	return NULL;
}

/* 0 is good, else a negative errno. */
static void answer(struct rpc_call *call, int r, const char *doing)
{
	struct errmsg err;

	if (r == 0) {
		rpc_result(call, NULL);
		return;
	}
	errmsg_say(&err, 0, "%s: %s", doing, strerror(-r));
	rpc_fail_os(call, RPC_E_OS, -r, NULL, err.text);
}

void procs_host_gone(struct procs *ps)
{
	struct proc *p;

	for (p = LIST_FIRST(&ps->list); p; p = LIST_NEXT(p, next))
		p->orphan_ms = loop_now_ms();
}

void procs_let_go(struct procs *ps)
{
	struct proc *p;

	for (p = LIST_FIRST(&ps->list); p; p = LIST_NEXT(p, next)) {
		if (p->orphan_ms && p->io)
			procio_let_go(p->io);
		p->orphan_ms = 0;
	}
}

static struct proc *find_orphan(struct procs *ps, int64_t id)
{
	struct proc *p;

	for (p = LIST_FIRST(&ps->list); p; p = LIST_NEXT(p, next))
		if (p->id == id && p->orphan_ms &&
		    (p->state == RUNNING || p->state == ENDED))
			return p;
	return NULL;
}

static int parse_attach(const json_t *params, int64_t *id,
			struct procio_spec *io, struct errmsg *err)
{
	static const char *const names[] = { "stdin", "stdout", "stderr" };
	unsigned int *const chans[] = { &io->in, &io->out, &io->err };
	int r = param_int(params, "proc", 1, INT64_MAX, id, err);

	for (size_t i = 0; i < ARRAY_SIZE(names) && r == 0; i++) {
		int64_t chan = 0;

		r = param_int(params, names[i], 1, INT32_MAX, &chan, err);
		*chans[i] = (unsigned int)chan;
	}
	return r;
}

/* One of the host before this one, which goes on with it. */
void proc_attach(struct rpc_call *call, const json_t *params, void *agent)
{
	struct agent *a = agent;
	struct procio_spec io = { 0 };
	bool out = false, error = false;
	struct errmsg err;
	struct proc *p;
	int64_t id = 0;
	int r;

	if (parse_attach(params, &id, &io, &err) < 0) {
		rpc_fail(call, RPC_INVALID_PARAMS, err.text);
		return;
	}
	p = find_orphan(a->procs, id);
	if (!p) {
		errmsg_say(&err, 0, "no process %lld waits for a host",
			   (long long)id);
		rpc_fail(call, RPC_E_NOENT, err.text);
		return;
	}
	r = procio_attach(p->io, a->mux, &io, &out, &error);
	if (r < 0) {
		errmsg_set(&err, r, "process %lld", (long long)id);
		rpc_fail_os(call, rpc_error_of(-r), -r, "setup", err.text);
		return;
	}
	p->orphan_ms = 0;
	rpc_result(call, json_pack("{s:I, s:i, s:b, s:b}", "proc", p->id, "pid",
				   (int)p->pid, "stdout", (int)out, "stderr",
				   (int)error));
	loop_timer_set(a->procs->look, 0);
}

void proc_signal(struct rpc_call *call, const json_t *params, void *agent)
{
	bool group = true;
	struct errmsg err;
	struct proc *p;
	int sig, r;

	r = proc_parse_signal(json_object_get(params, "signal"), &sig, &err);
	if (r == 0)
		r = param_bool(params, "group", &group, &err);
	if (r < 0) {
		rpc_fail(call, RPC_INVALID_PARAMS, err.text);
		return;
	}
	p = find(agent, call, params);
	if (p) /* it is not reaped, so its number is its own */
		answer(call,
		       kill(group ? -p->pid : p->pid, sig) < 0 ? -errno : 0,
		       "signal");
}

void proc_resize(struct rpc_call *call, const json_t *params, void *agent)
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
	p = find(agent, call, params);
	if (p)
		answer(call,
		       procio_resize(p->io, (unsigned short)rows,
				     (unsigned short)cols),
		       "resize");
}

void proc_usage(struct rpc_call *call, const json_t *params, void *agent)
{
	struct proc *p = find(agent, call, params);
	struct usage u;

	if (!p)
		return;
	if (usage_of_session(p->pid, &u) < 0)
		rpc_fail(call, RPC_E_NOENT, "it has just ended");
	else
		rpc_result(call,
			   json_pack("{s:i, s:i, s:I, s:I, s:I}", "procs",
				     (int)u.procs, "threads", (int)u.threads,
				     "utime_us", (json_int_t)u.utime_us,
				     "stime_us", (json_int_t)u.stime_us,
				     "rss_bytes", (json_int_t)u.rss_bytes));
}

void proc_list(struct rpc_call *call, const json_t *params, void *agent)
{
	struct agent *a = agent;
	json_t *list = json_array();
	struct proc *p;

	for (p = LIST_FIRST(&a->procs->list); p; p = LIST_NEXT(p, next))
		json_array_append_new(
			list, json_pack("{s:I, s:i, s:o, s:o, s:b}", "proc",
					p->id, "pid", (int)p->pid, "program",
					param_from_text(p->program), "user",
					param_from_text(p->user), "running",
					(int)is_alive(p)));
	rpc_result(call, json_pack("{s:o}", "procs", list));
}

/* -- ending them all ------------------------------------------------------- */

static unsigned int signal_all(struct procs *ps, int sig)
{
	unsigned int n = 0;
	struct proc *p;

	for (p = LIST_FIRST(&ps->list); p; p = LIST_NEXT(p, next))
		if (is_alive(p)) {
			if (kill(-p->pid, sig) < 0) /* no session yet */
				kill(p->pid, sig);
			n++;
		}
	return n;
}

static void on_kill_timer(void *arg)
{
	signal_all(arg, SIGKILL);
}

/* Answer when none is left. */
static void kill_call_check(struct procs *ps)
{
	struct proc *p;

	if (!ps->kill_call)
		return;
	for (p = LIST_FIRST(&ps->list); p; p = LIST_NEXT(p, next))
		if (is_alive(p))
			return;
	loop_timer_set(ps->kill, -1);
	rpc_result(TAKE_PTR(ps->kill_call), NULL);
}

void proc_kill_all(struct rpc_call *call, const json_t *params, void *agent)
{
	struct procs *ps = ((struct agent *)agent)->procs;
	int64_t grace_ms = KILL_MS;
	struct errmsg err;

	if (param_int(params, "grace_ms", 0, 3600000, &grace_ms, &err) < 0) {
		rpc_fail(call, RPC_INVALID_PARAMS, err.text);
		return;
	}
	if (ps->kill_call) {
		rpc_fail(call, RPC_E_BUSY, "they are being killed already");
		return;
	}
	ps->kill_call = call;
	log_info("the host ends %u processes", signal_all(ps, SIGTERM));
	loop_timer_set(ps->kill, grace_ms);
	kill_call_check(ps);
}

unsigned int procs_running(const struct procs *ps)
{
	unsigned int n = 0;
	struct proc *p;

	for (p = LIST_FIRST(&ps->list); p; p = LIST_NEXT(p, next))
		n += is_alive(p);
	return n;
}

/* -- all of them ----------------------------------------------------------- */

struct procs *procs_new(struct agent *a)
{
	struct procs *ps = calloc(1, sizeof(*ps));

	if (!ps)
		return NULL;
	ps->agent = a;
	LIST_INIT(&ps->list);
	if (loop_timer_add(a->loop, -1, on_look, ps, &ps->look) < 0 ||
	    loop_timer_add(a->loop, -1, on_kill_timer, ps, &ps->kill) < 0) {
		procs_free(ps);
		return NULL;
	}
	return ps;
}

void procs_free(struct procs *ps)
{
	struct proc *p;

	if (!ps)
		return;
	while ((p = LIST_FIRST(&ps->list))) {
		if (is_alive(p) && p->bound && kill(-p->pid, SIGKILL) < 0)
			kill(p->pid, SIGKILL); /* no session yet */
		if (is_alive(p))
			loop_child_forget(ps->agent->loop, p->pid);
		if (p->call)
			rpc_fail(p->call, RPC_E_STATE, "the agent ends");
		proc_free(p);
	}
	if (ps->kill_call)
		rpc_fail(ps->kill_call, RPC_E_STATE, "the agent ends");
	loop_timer_free(ps->look);
	loop_timer_free(ps->kill);
	free(ps);
}
