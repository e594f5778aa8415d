#include <config.h>

#include "job.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "account.h"
#include "cleanup.h"
#include "param.h"
#include "spawn.h"

/* The child's lines: {"opened": PARAMS}, and at last {"result": RESULT} or
 * {"error": {"code", "errno", "what", "text"}}. It then waits until the socket
 * ends, so that a channel is not broken before the agent can say why. */
#define LINE_MAX_ (MUX_CTRL_MAX + 4096)
/* On a guest's only CPU a change of process costs as much as the copying of a
 * hundred KiB: a pipe takes many. */
#define PIPE_SIZE (1024 * 1024)
#define PIPE_LESS (128 * 1024) /* where many copies are made at once */
#define PIPE_FEW  8
#define CLOSE_MAX 65536 /* more than the agent has ever open */
#define WHOLE	  'w'	/* the agent's word: that was all of the data */

struct job {
	LIST_ENTRY(job) next;
	struct jobs *jobs;
	struct rpc_call *call; /* NULL: answered */
	enum job_data data;
	unsigned int chan;
	bool chan_open;
	int chan_error; /* how it ended */
	int ctl;
	struct loop_io *io;
	char *line; /* what the child has said so far */
	size_t len, size;
	json_t *answer; /* its last word; NULL: not said */
	bool silent;	/* it says no more */
};

/* A request without data whose turn is yet to come. */
struct waiting {
	TAILQ_ENTRY(waiting) next;
	struct jobs *jobs;
	struct rpc_call *call;
	json_t *params;
	size_t bytes; /* of params */
	job_fn fn;
};

struct jobs {
	struct agent *agent;
	LIST_HEAD(, job) list;
	unsigned int n_plain, n_data;
	TAILQ_HEAD(, waiting) waiting;
	size_t waiting_bytes;
};

/* -- in the child ---------------------------------------------------------- */

static int say(int ctl, json_t *msg)
{
	_cleanup_free_ char *text =
		msg ? json_dumps(msg, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
	size_t len = text ? strlen(text) : 0;

	json_decref(msg);
	if (!text)
		return -ENOMEM;
	text[len++] = '\n'; /* in the place of the NUL */
	for (size_t at = 0; at < len;) {
		ssize_t n = write(ctl, text + at, len - at);

		if (n < 0 && errno != EINTR)
			return -errno;
		at += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

int job_opened(struct job_child *c, json_t *params)
{
	return say(c->ctl, json_pack("{s:o}", "opened", params));
}

int job_is_whole(struct job_child *c)
{
	char word;
	ssize_t n;

	do
		n = read(c->ctl, &word, 1);
	while (n < 0 && errno == EINTR);
	return n == 1 && word == WHOLE ? 0 : -ECANCELED;
}

/* A name that is not UTF-8 may be in it. */
static json_t *printable(char *text)
{
	json_t *s = json_string(text);

	for (char *p = text; !s && *p; p++)
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	return s ? s : json_string(text);
}

static void say_error(struct job_child *c, int r, struct errmsg *err)
{
	say(c->ctl, json_pack("{s:{s:i, s:i, s:s?, s:o}}", "error", "code",
			      (int)rpc_error_of(-r), "errno", -r, "what",
			      c->what, "text", printable(err->text)));
}

static void wait_for_end(int ctl)
{
	char c;

	while (read(ctl, &c, 1) > 0 || errno == EINTR)
		errno = 0;
}

static void close_from(int first)
{
	long max = sysconf(_SC_OPEN_MAX);

#ifdef SYS_close_range
	if (syscall(SYS_close_range, first, ~0u, 0) == 0)
		return;
#endif
	for (int fd = first; fd < max && fd < CLOSE_MAX; fd++)
		close(fd);
}

/* Nothing stays open but 0, 1, 2 and these two: another job's pipe, held here,
 * would keep that job from seeing its end. */
static int keep_two(struct job_child *c, int data, int ctl)
{
	data = data < 0 ? -1 : fcntl(data, F_DUPFD_CLOEXEC, 5);
	ctl = fcntl(ctl, F_DUPFD_CLOEXEC, 5);
	if (ctl < 0 || dup2(ctl, 3) < 0 || (data >= 0 && dup2(data, 4) < 0))
		return -errno;
	c->ctl = 3;
	c->data = data < 0 ? -1 : 4;
	close_from(data < 0 ? 4 : 5);
	return 0;
}

static int child_enter(struct job_child *c, const struct account *user,
		       struct errmsg *err)
{
	int r;

	spawn_reset();
	signal(SIGPIPE, SIG_IGN);
	r = spawn_become(user);
	c->what = "user";
	if (r < 0)
		return errmsg_set(err, r, "cannot become user %s", user->name);
	c->what = "path";
	if (chdir(user->home) < 0 && chdir("/") < 0)
		return errmsg_set(err, -errno, "directory /");
	return 0;
}

/* Its turn comes when the agent has nothing to do, or has filled the pipe: on a
 * guest's only CPU it would come with every frame. */
static void be_patient(void)
{
	const struct sched_param p = { 0 };

	sched_setscheduler(0, SCHED_BATCH, &p);
}

static _Noreturn void child_run(int data, int ctl, const struct account *user,
				const json_t *params, job_fn fn)
{
	struct job_child c = { .what = "setup" };
	struct errmsg err = { "" };
	json_t *result = NULL;
	int r = keep_two(&c, data, ctl);

	if (r < 0)
		_exit(1);
	if (data >= 0)
		be_patient();
	r = child_enter(&c, user, &err);
	if (r == 0)
		r = fn(&c, params, &result, &err);
	if (r < 0) {
		say_error(&c, r, &err);
	} else {
		if (c.data >= 0)
			close(c.data); /* the end of what it has sent */
		say(c.ctl, json_pack("{s:o}", "result",
				     result ? result : json_object()));
	}
	wait_for_end(c.ctl);
	_exit(0); /* what is the agent's is the agent's to undo */
}

/* -- in the agent ---------------------------------------------------------- */

static unsigned int *count_of(struct jobs *js, enum job_data data)
{
	return data == JOB_PLAIN ? &js->n_plain : &js->n_data;
}

static void job_free(struct job *j)
{
	LIST_REMOVE(j, next);
	--*count_of(j->jobs, j->data);
	if (j->chan_open)
		mux_reset(j->jobs->agent->mux, j->chan, j->data == JOB_OUT,
			  ECANCELED);
	loop_io_free(j->io);
	if (j->ctl >= 0)
		close(j->ctl);
	json_decref(j->answer);
	free(j->line);
	free(j);
}

static void fail_by(struct job *j, const json_t *error)
{
	json_int_t code = json_integer_value(json_object_get(error, "code"));
	const char *text = json_string_value(json_object_get(error, "text"));
	int e = (int)json_integer_value(json_object_get(error, "errno"));

	if (j->chan_open)
		mux_reset(j->jobs->agent->mux, j->chan, j->data == JOB_OUT, e);
	j->chan_open = false;
	rpc_fail_os(TAKE_PTR(j->call), (enum rpc_error)code, e,
		    json_string_value(json_object_get(error, "what")),
		    text ? text : "no reason given");
}

static void fail_by_channel(struct job *j)
{
	struct errmsg err;

	errmsg_set(&err, -j->chan_error, "the data broke off");
	rpc_fail_os(TAKE_PTR(j->call), rpc_error_of(j->chan_error),
		    j->chan_error, "data", err.text);
}

static void begin_waiting(struct jobs *js);

/* Answer when both the child's word and the end of the channel are there. */
static void job_check(struct job *j)
{
	json_t *error = json_object_get(j->answer, "error");
	struct jobs *js = j->jobs;

	/* who does not want more of what is sent need not wait for a disk */
	if (!j->answer && !j->silent && !(j->chan_error && j->data == JOB_OUT))
		return;
	if (j->chan_error) {
		fail_by_channel(j);
	} else if (error) {
		fail_by(j, error);
	} else if (!j->answer) {
		rpc_fail_os(TAKE_PTR(j->call), RPC_E_OS, EIO, "setup",
			    "the process that did it has died");
	} else if (j->chan_open) {
		return; /* the host has not taken all of it yet */
	} else {
		rpc_result(TAKE_PTR(j->call),
			   json_incref(json_object_get(j->answer, "result")));
	}
	job_free(j);
	begin_waiting(js);
}

static void on_chan_done(unsigned int chan, int error, void *arg)
{
	struct job *j = arg;
	const char word = WHOLE;

	j->chan_open = false;
	j->chan_error = error;
	if (j->data == JOB_IN && error)
		shutdown(j->ctl, SHUT_WR);
	else if (j->data == JOB_IN)
		send(j->ctl, &word, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	job_check(j);
}

static void take_line(struct job *j, const char *line, size_t len)
{
	json_t *msg = json_loadb(line, len, 0, NULL);
	json_t *opened = json_object_get(msg, "opened");

	if (opened) {
		json_object_set_new(opened, "data", json_integer(j->chan));
		rpc_notify(j->jobs->agent->rpc, "file.opened",
			   json_incref(opened));
		json_decref(msg);
	} else if (!j->answer) {
		j->answer = msg;
	} else {
		json_decref(msg);
	}
}

static int make_room(struct job *j)
{
	size_t size = j->size ? j->size * 2 : 4096;
	char *line;

	if (j->len < j->size)
		return 0;
	line = size > 2 * LINE_MAX_ ? NULL : realloc(j->line, size);
	if (!line)
		return -ENOMEM;
	j->line = line;
	j->size = size;
	return 0;
}

static void on_ctl(uint32_t events, void *arg)
{
	struct job *j = arg;
	ssize_t n = make_room(j) < 0 ? 0
				     : recv(j->ctl, j->line + j->len,
					    j->size - j->len, MSG_DONTWAIT);
	char *end;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		j->silent = true;
		loop_io_set(j->io, 0);
	} else {
		j->len += (size_t)n;
	}
	while (!j->silent && (end = memchr(j->line, '\n', j->len))) {
		size_t len = (size_t)(end - j->line);

		take_line(j, j->line, len);
		j->len -= len + 1;
		memmove(j->line, end + 1, j->len);
	}
	job_check(j);
}

static void on_child(pid_t pid, int wstatus, void *arg)
{
	/* it is reaped; what there was to hear came by its socket */
}

/* -- the start of a job ---------------------------------------------------- */

struct ends {
	int data, data_child, ctl, ctl_child; /* -1: none */
};

static void ends_done(struct ends *e)
{
	cleanup_closep(&e->data);
	cleanup_closep(&e->data_child);
	cleanup_closep(&e->ctl);
	cleanup_closep(&e->ctl_child);
}

static int make_ends(const struct job *j, struct ends *e)
{
	bool few = j->jobs->n_data <= PIPE_FEW;
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	e->ctl = fds[0];
	e->ctl_child = fds[1];
	if (j->data == JOB_PLAIN)
		return 0;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	e->data = fds[j->data == JOB_IN];
	e->data_child = fds[j->data == JOB_OUT];
	/* or as large as it was */
	fcntl(e->data, F_SETPIPE_SZ, few ? PIPE_SIZE : PIPE_LESS);
	return 0;
}

static int open_channel(struct job *j, struct ends *e)
{
	struct mux *m = j->jobs->agent->mux;
	int r;

	if (j->data == JOB_PLAIN)
		return 0;
	if (!m)
		return -ENOTCONN;
	r = j->data == JOB_IN
		    ? mux_recv_fd(m, j->chan, TAKE_FD(e->data), on_chan_done, j)
		    : mux_send_fd(m, j->chan, TAKE_FD(e->data), on_chan_done,
				  j);
	j->chan_open = r == 0;
	return r;
}

static int job_fork(struct job *j, struct ends *e, const struct account *user,
		    const json_t *params, job_fn fn)
{
	struct loop *l = j->jobs->agent->loop;
	pid_t pid;
	int r = loop_io_add(l, e->ctl, EPOLLIN, on_ctl, j, &j->io);

	if (r < 0)
		return r;
	j->ctl = TAKE_FD(e->ctl);
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0)
		child_run(e->data_child, e->ctl_child, user, params, fn);
	r = loop_child(l, pid, on_child, NULL);
	if (r < 0)
		kill(pid, SIGKILL);
	return r;
}

static int job_new(struct agent *a, struct rpc_call *call, enum job_data data,
		   unsigned int chan, struct job **ret, struct errmsg *err)
{
	struct jobs *js = a->jobs;
	struct job *j;

	if (*count_of(js, data) >= JOB_MAX)
		return errmsg_say(
			err, -EMFILE,
			"%d copies are being made: wait for one to end",
			JOB_MAX);
	j = calloc(1, sizeof(*j));
	if (!j)
		return errmsg_set(err, -ENOMEM, "job");
	*j = (struct job){
		.jobs = js, .call = call, .data = data, .chan = chan, .ctl = -1
	};
	LIST_INSERT_HEAD(&js->list, j, next);
	++*count_of(js, data);
	*ret = j;
	return 0;
}

static int take_params(const json_t *params, enum job_data data,
		       unsigned int *ret_chan, char **ret_user,
		       struct errmsg *err)
{
	int64_t chan = 0;
	int r = param_text(params, "user", ret_user, err);

	if (r < 0 || data == JOB_PLAIN)
		return r;
	r = param_int(params, "data", 1, UINT32_MAX, &chan, err);
	if (r == 0 && !chan)
		r = errmsg_say(err, -EINVAL, "data: it has to have a channel");
	*ret_chan = (unsigned int)chan;
	return r;
}

static void job_begin(struct agent *a, struct rpc_call *call,
		      const json_t *params, enum job_data data, job_fn fn)
{
	_cleanup_(account_done) struct account user = { 0 };
	_cleanup_(ends_done) struct ends e = { -1, -1, -1, -1 };
	_cleanup_free_ char *name = NULL;
	struct job *j = NULL;
	unsigned int chan = 0;
	struct errmsg err;
	int r = take_params(params, data, &chan, &name, &err);

	if (r < 0) {
		rpc_fail(call, RPC_INVALID_PARAMS, err.text);
		return;
	}
	r = account_find(name, &user, &err);
	if (r < 0) {
		rpc_fail_os(call, rpc_error_of(-r), -r, "user", err.text);
		return;
	}
	r = job_new(a, call, data, chan, &j, &err);
	if (r == 0) {
		r = make_ends(j, &e);
		if (r == 0)
			r = open_channel(j, &e);
		if (r == 0)
			r = job_fork(j, &e, &user, params, fn);
		if (r < 0)
			errmsg_set(&err, r, "cannot begin");
	}
	if (r < 0) {
		if (j)
			job_free(j);
		rpc_fail_os(call, rpc_error_of(-r), -r, "setup", err.text);
	}
}

/* -- whose turn it is not yet ---------------------------------------------- */

static void waiting_free(struct waiting *w)
{
	TAILQ_REMOVE(&w->jobs->waiting, w, next);
	w->jobs->waiting_bytes -= w->bytes;
	json_decref(w->params);
	free(w);
}

static void on_waiting_gone(struct rpc_call *call, void *arg)
{
	waiting_free(arg);
	rpc_result(call, NULL);
}

static void wait_turn(struct jobs *js, struct rpc_call *call,
		      const json_t *params, job_fn fn)
{
	size_t bytes = json_dumpb(params, NULL, 0, JSON_COMPACT);
	struct waiting *w = NULL;

	if (bytes <= JOB_WAIT_BYTES - js->waiting_bytes)
		w = malloc(sizeof(*w));
	if (!w) {
		rpc_failf(
			call, RPC_E_FULL,
			"requests about files with %zu bytes wait: wait for some to end",
			js->waiting_bytes);
		return;
	}
	*w = (struct waiting){
		.jobs = js,
		.call = call,
		.params = json_incref((json_t *)(uintptr_t)params),
		.bytes = bytes,
		.fn = fn,
	};
	TAILQ_INSERT_TAIL(&js->waiting, w, next);
	js->waiting_bytes += bytes;
	rpc_on_gone(call, on_waiting_gone, w);
}

static void begin_waiting(struct jobs *js)
{
	struct waiting *w;

	while (js->n_plain < JOB_MAX && (w = TAILQ_FIRST(&js->waiting))) {
		struct rpc_call *call = w->call;
		json_t *params = json_incref(w->params);
		job_fn fn = w->fn;

		rpc_on_gone(call, NULL, NULL);
		waiting_free(w);
		job_begin(js->agent, call, params, JOB_PLAIN, fn);
		json_decref(params);
	}
}

void job_start(struct agent *a, struct rpc_call *call, const json_t *params,
	       enum job_data data, job_fn fn)
{
	if (data == JOB_PLAIN && a->jobs->n_plain >= JOB_MAX)
		wait_turn(a->jobs, call, params, fn);
	else
		job_begin(a, call, params, data, fn);
}

struct jobs *jobs_new(struct agent *a)
{
	struct jobs *js = calloc(1, sizeof(*js));

	if (!js)
		return NULL;
	js->agent = a;
	LIST_INIT(&js->list);
	TAILQ_INIT(&js->waiting);
	return js;
}

/* The children notice, and undo what is not whole. */
void jobs_free(struct jobs *js)
{
	struct waiting *w;
	struct job *j;

	if (!js)
		return;
	while ((w = TAILQ_FIRST(&js->waiting))) {
		struct rpc_call *call = w->call;

		rpc_on_gone(call, NULL, NULL);
		waiting_free(w);
		rpc_fail(call, RPC_E_STATE, "the agent ends");
	}
	while ((j = LIST_FIRST(&js->list))) {
		rpc_fail(j->call, RPC_E_STATE, "the agent ends");
		job_free(j);
	}
	free(js);
}
