#include <config.h>

#include "exec_here.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "cleanup.h"
#include "command.h"
#include "conn.h"
#include "log.h"
#include "loop.h"
#include "param.h"
#include "tty.h"
#include "writeall.h"

#define PIECE	   65536
#define LINE_BYTES 65536 /* of output; a longer one is shown in parts */

enum { IN, OUT, ERR };

/* Output of one guest's command that comes through here. */
struct output {
	struct job *job;
	int fd; /* -1: it goes its own way, or has ended */
	struct loop_io *io;
	int to; /* our descriptor */
	char *line;
	size_t len;
};

struct job {
	struct exec *exec;
	uint32_t rank;
	struct conn *conn;
	json_int_t proc; /* 0: it does not run */
	int in;		 /* where its input goes; -1: nowhere any more */
	size_t in_at;	 /* of the piece that is being sent */
	struct loop_io *in_io;
	struct output out[3];
	bool done; /* its status is known, or it has none */
	int status;
};

struct exec {
	const struct exec_here *conf;
	struct loop *loop;
	struct job *jobs;
	size_t n;
	bool label, started;
	int interrupts;
	char piece[PIECE]; /* of our input */
	size_t piece_len;
	struct loop_io *stdin_io; /* NULL: a file, which is always ready */
	struct loop_timer *check, *read_file;
};

static int exec_status(const struct exec *e)
{
	int most = 0;

	for (size_t i = 0; i < e->n; i++)
		if (e->jobs[i].status > most)
			most = e->jobs[i].status;
	return most;
}

static bool is_over(const struct job *j)
{
	return j->done && j->out[OUT].fd < 0 && j->out[ERR].fd < 0;
}

/* From the loop: who calls may be within a job's connection. */
static void on_check(void *arg)
{
	struct exec *e = arg;

	for (size_t i = 0; i < e->n; i++)
		if (!is_over(&e->jobs[i]))
			return;
	loop_stop(e->loop, 0);
}

static void check(struct exec *e)
{
	loop_timer_set(e->check, 0);
}

/* -- output ---------------------------------------------------------------- */

/* Where nobody reads it the end will be seen. */
static void show_line(struct output *o)
{
	char mark[16];
	int n = snprintf(mark, sizeof(mark), "%" PRIu32 ": ", o->job->rank);

	memmove(o->line + n, o->line, o->len);
	memcpy(o->line, mark, (size_t)n);
	o->line[o->len + (size_t)n] = '\n';
	write_all(o->to, o->line, o->len + (size_t)n + 1);
	o->len = 0;
}

static void show(struct output *o, const char *data, size_t len)
{
	if (!o->job->exec->label) {
		write_all(o->to, data, len);
		return;
	}
	for (size_t i = 0; i < len; i++) {
		if (data[i] != '\n')
			o->line[o->len++] = data[i];
		if (data[i] == '\n' || o->len == LINE_BYTES)
			show_line(o);
	}
}

static void close_output(struct output *o)
{
	if (o->len)
		show_line(o);
	loop_io_free(o->io);
	o->io = NULL;
	if (o->fd >= 0)
		close(TAKE_FD(o->fd));
}

static void on_output(uint32_t events, void *arg)
{
	struct output *o = arg;
	char data[PIECE];
	ssize_t n = read(o->fd, data, sizeof(data));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0) {
		show(o, data, (size_t)n);
		return;
	}
	close_output(o);
	check(o->job->exec);
}

/* A pipe for @which of @j: the guest's end, or -errno. */
static int open_output(struct job *j, int which)
{
	struct output *o = &j->out[which];
	int fd[2], r;

	if (pipe2(fd, O_CLOEXEC) < 0)
		return -errno;
	fcntl(fd[0], F_SETFL, O_NONBLOCK);
	o->fd = fd[0];
	o->to = which == OUT ? STDOUT_FILENO : STDERR_FILENO;
	o->line = malloc(LINE_BYTES + 32);
	r = o->line ? loop_io_add(j->exec->loop, o->fd, EPOLLIN, on_output, o,
				  &o->io)
		    : -ENOMEM;
	if (r < 0) {
		close(fd[1]);
		return r;
	}
	return fd[1];
}

/* -- input ----------------------------------------------------------------- */

static void close_input(struct job *j)
{
	loop_io_free(j->in_io);
	j->in_io = NULL;
	if (j->in >= 0)
		close(TAKE_FD(j->in));
}

/* The next piece is read when all have this one. */
static void read_on(struct exec *e)
{
	for (size_t i = 0; i < e->n; i++)
		if (e->jobs[i].in >= 0 && e->jobs[i].in_at < e->piece_len)
			return;
	if (e->stdin_io)
		loop_io_set(e->stdin_io, EPOLLIN);
	else
		loop_timer_set(e->read_file, 0);
}

static void feed(struct job *j)
{
	struct exec *e = j->exec;

	while (j->in >= 0 && j->in_at < e->piece_len) {
		ssize_t n = write(j->in, e->piece + j->in_at,
				  e->piece_len - j->in_at);

		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0 && errno != EINTR)
			close_input(j);
		if (n > 0)
			j->in_at += (size_t)n;
	}
	loop_io_set(j->in_io,
		    j->in >= 0 && j->in_at < e->piece_len ? EPOLLOUT : 0);
}

static void on_may_feed(uint32_t events, void *arg)
{
	struct job *j = arg;

	if (events & EPOLLERR)
		close_input(j);
	else
		feed(j);
	read_on(j->exec);
}

static void on_stdin(uint32_t events, void *arg)
{
	struct exec *e = arg;
	ssize_t n = read(STDIN_FILENO, e->piece, sizeof(e->piece));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	e->piece_len = n > 0 ? (size_t)n : 0;
	if (e->stdin_io)
		loop_io_set(e->stdin_io, 0);
	for (size_t i = 0; i < e->n; i++) {
		e->jobs[i].in_at = 0;
		if (n > 0)
			feed(&e->jobs[i]);
		else
			close_input(&e->jobs[i]);
	}
	if (n > 0)
		read_on(e);
}

static void on_read_file(void *arg)
{
	on_stdin(EPOLLIN, arg);
}

/* -- the command ----------------------------------------------------------- */

static void fail_job(struct job *j, int status, const char *text)
{
	if (j->done)
		return;
	log_err("vm[%" PRIu32 "]: %s", j->rank, text);
	j->done = true;
	j->status = status;
	j->proc = 0;
	close_input(j);
	close_output(&j->out[OUT]);
	close_output(&j->out[ERR]);
	check(j->exec);
}

static void on_released(const struct rpc_reply *reply, void *arg)
{
	struct job *j = arg;

	j->done = true;
	check(j->exec);
}

static void on_ended(const struct rpc_reply *reply, void *arg)
{
	struct job *j = arg;
	const json_t *signal = json_object_get(reply->result, "signal");
	json_int_t proc = j->proc;

	if (!reply->result) {
		fail_job(j, EXIT_NOT_RUN, reply->message);
		return;
	}
	j->proc = 0;
	close_input(j);
	j->status = json_is_integer(signal)
			    ? 128 + (int)json_integer_value(signal)
			    : (int)json_integer_value(
				      json_object_get(reply->result, "exit"));
	if (conn_ask(j->conn, "proc.release", json_pack("{s:I}", "proc", proc),
		     NULL, 0, on_released, j) < 0) {
		j->done = true;
		check(j->exec);
	}
}

static void on_started(const struct rpc_reply *reply, void *arg)
{
	struct job *j = arg;
	bool is_command = !reply->what || strcmp(reply->what, "command") == 0;
	int status = EXIT_NOT_RUN;

	if (!reply->result) {
		if (is_command && reply->code == RPC_E_NOENT)
			status = EXIT_NOT_FOUND;
		else if (reply->what && strcmp(reply->what, "setup") != 0)
			status = EXIT_NOT_EXECUTABLE;
		fail_job(j, status, reply->message);
		return;
	}
	j->proc = json_integer_value(json_object_get(reply->result, "proc"));
	if (conn_ask(j->conn, "proc.wait", json_pack("{s:I}", "proc", j->proc),
		     NULL, 0, on_ended, j) < 0)
		fail_job(j, EXIT_NOT_RUN, "the task has ended");
}

static json_t *start_params(const struct exec *e)
{
	const struct exec_here *conf = e->conf;
	json_t *argv = json_array(), *p;
	struct winsize ws;

	for (int i = 0; i < conf->n_args; i++)
		json_array_append_new(argv, param_from_text(conf->argv[i]));
	p = json_pack("{s:o, s:s, s:s}", "argv", argv, "stdout", "stream", "io",
		      "fd");
	if (conf->input || conf->tty)
		json_object_set_new(p, "stdin", json_string("stream"));
	if (!conf->tty)
		json_object_set_new(p, "stderr", json_string("stream"));
	if (conf->user)
		json_object_set_new(p, "user", json_string(conf->user));
	if (conf->cwd)
		json_object_set_new(p, "cwd", param_from_text(conf->cwd));
	if (!conf->tty)
		return p;
	tty_size(&ws);
	json_object_set_new(
		p, "pty",
		json_pack("{s:i, s:i, s:s}", "rows", ws.ws_row, "cols",
			  ws.ws_col, "term",
			  getenv("TERM") ? getenv("TERM") : "linux"));
	return p;
}

/* What the task gets as @which: *ret, to be closed where *ret_ours. */
static int give(struct job *j, int which, int *ret, bool *ret_ours)
{
	struct exec *e = j->exec;
	int fd[2], r;

	*ret_ours = e->label || e->conf->tty;
	if (!*ret_ours) {
		*ret = which;
		return 0;
	}
	if (which != IN) {
		*ret = open_output(j, which);
		return *ret < 0 ? *ret : 0;
	}
	if (pipe2(fd, O_CLOEXEC) < 0)
		return -errno;
	fcntl(fd[1], F_SETFL, O_NONBLOCK);
	*ret = fd[0];
	j->in = fd[1];
	r = loop_io_add(e->loop, j->in, 0, on_may_feed, j, &j->in_io);
	if (r < 0)
		close(fd[0]);
	return r;
}

static void start(struct job *j)
{
	const struct exec_here *conf = j->exec->conf;
	const bool wanted[] = { conf->input || conf->tty, true, !conf->tty };
	int fds[3], r = 0;
	bool ours[3];
	size_t n = 0;

	for (int which = IN; which <= ERR && r == 0; which++)
		if (wanted[which]) {
			r = give(j, which, &fds[n], &ours[n]);
			n += r == 0;
		}
	if (r == 0)
		r = conn_ask(j->conn, "proc.start", start_params(j->exec), fds,
			     n, on_started, j);
	for (size_t i = 0; i < n; i++)
		if (ours[i])
			close(fds[i]);
	if (r < 0)
		fail_job(j, EXIT_NOT_RUN, strerror(-r));
}

/* -- all of them ----------------------------------------------------------- */

static int watch_stdin(struct exec *e)
{
	bool through_here = e->label || e->conf->tty;
	int r;

	if (!through_here || !(e->conf->input || e->conf->tty))
		return 0;
	r = loop_io_add(e->loop, STDIN_FILENO, EPOLLIN, on_stdin, e,
			&e->stdin_io);
	if (r == -EPERM)
		loop_timer_set(e->read_file, r = 0);
	return r;
}

/* Every task has said how many there are: it can begin. */
static void on_greeted(const struct rpc_reply *reply, void *arg)
{
	struct job *j = arg;
	struct exec *e = j->exec;
	json_int_t of_step = 0, wanted = 0;

	if (e->started || j->done)
		return;
	if (!reply->result) {
		fail_job(j, EXIT_NOT_RUN, reply->message);
		return;
	}
	e->started = true;
	of_step = conn_tasks(j->conn);
	for (json_int_t rank = 0; rank < of_step && wanted < 2; rank++)
		wanted += !e->conf->ranks ||
			  rankset_has(e->conf->ranks, (uint32_t)rank);
	e->label = wanted > 1;
	if (e->label && e->conf->tty) {
		for (size_t i = 0; i < e->n; i++)
			fail_job(&e->jobs[i], EXIT_USAGE,
				 "-t is for one VM: say which with -r");
		return;
	}
	if (e->conf->tty && tty_is_there())
		tty_raw();
	for (size_t i = 0; i < e->n; i++)
		if (!e->jobs[i].done)
			start(&e->jobs[i]);
	if (watch_stdin(e) < 0)
		log_warn("standard input does not reach the guests");
}

static void on_gone(void *arg)
{
	fail_job(arg, EXIT_NOT_RUN, "the task has ended");
}

static void on_signal(const struct signalfd_siginfo *si, void *arg)
{
	struct exec *e = arg;
	struct winsize ws;

	if (si->ssi_signo == SIGINT && ++e->interrupts > 2)
		loop_stop(e->loop, 0); /* it does not want to end */
	tty_size(&ws);
	for (size_t i = 0; i < e->n; i++) {
		struct job *j = &e->jobs[i];

		if (!j->proc)
			continue;
		if (si->ssi_signo == SIGWINCH)
			conn_ask(j->conn, "proc.resize",
				 json_pack("{s:I, s:i, s:i}", "proc", j->proc,
					   "rows", ws.ws_row, "cols",
					   ws.ws_col),
				 NULL, 0, NULL, NULL);
		else
			conn_ask(j->conn, "proc.signal",
				 json_pack("{s:I, s:i}", "proc", j->proc,
					   "signal", (int)si->ssi_signo),
				 NULL, 0, NULL, NULL);
	}
}

static int watch_signals(struct exec *e, struct errmsg *err)
{
	static const int signals[] = { SIGINT,	SIGTERM, SIGHUP,  SIGQUIT,
				       SIGUSR1, SIGUSR2, SIGWINCH };
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(signals) && r == 0; i++)
		r = loop_signal(e->loop, signals[i], on_signal, e, err);
	return r;
}

static void open_jobs(struct exec *e, const struct rankset *ranks)
{
	struct errmsg err;

	for (uint32_t rank = rankset_next(ranks, 0); rank <= RANK_MAX;
	     rank = rankset_next(ranks, rank + 1)) {
		struct job *j = &e->jobs[e->n++];

		j->exec = e;
		j->rank = rank;
		j->in = -1;
		for (int i = 0; i < 3; i++) {
			j->out[i].job = j;
			j->out[i].fd = -1;
		}
		if (conn_open(e->loop, e->conf->dir, rank, on_gone, j, &j->conn,
			      &err) < 0)
			fail_job(j, EXIT_NOT_RUN, "the task has ended");
		else
			conn_ask(j->conn, "vm.state", NULL, NULL, 0, on_greeted,
				 j);
	}
}

static void close_jobs(struct exec *e)
{
	for (size_t i = 0; i < e->n; i++) {
		struct job *j = &e->jobs[i];

		conn_free(j->conn);
		close_input(j);
		for (int k = 0; k < 3; k++) {
			loop_io_free(j->out[k].io);
			if (j->out[k].fd >= 0)
				close(j->out[k].fd);
			free(j->out[k].line);
		}
	}
	free(e->jobs);
}

static int find_ranks(const struct exec_here *conf, struct rankset *ret,
		      struct errmsg *err)
{
	struct rankset here = { 0 };
	int r = conf->dir ? conn_ranks(conf->dir, &here, err) : 0;

	for (uint32_t rank = rankset_next(&here, 0); r == 0 && rank <= RANK_MAX;
	     rank = rankset_next(&here, rank + 1))
		if (!conf->ranks || rankset_has(conf->ranks, rank))
			r = rankset_add(ret, rank, rank);
	rankset_done(&here);
	return r;
}

int exec_here(const struct exec_here *conf)
{
	struct exec *e = calloc(1, sizeof(*e));
	struct rankset ranks = { 0 };
	struct errmsg err = { "memory" };
	int r = e ? find_ranks(conf, &ranks, &err) : -ENOMEM, status;

	if (r == 0 && !rankset_count(&ranks))
		r = errmsg_say(
			&err, -ENOENT,
			"no task of the step is on this node, not yet or no more");
	if (r == 0) {
		e->conf = conf;
		e->jobs = calloc(rankset_count(&ranks) + 1, sizeof(*e->jobs));
		r = e->jobs ? loop_new(&e->loop, &err) : -ENOMEM;
	}
	if (r == 0)
		r = loop_timer_add(e->loop, 0, on_check, e, &e->check);
	if (r == 0)
		r = loop_timer_add(e->loop, -1, on_read_file, e, &e->read_file);
	if (r == 0)
		r = watch_signals(e, &err);
	if (r == 0) {
		open_jobs(e, &ranks);
		r = loop_run(e->loop);
	}
	tty_restore();
	if (r < 0)
		log_err("%s", err.text);
	status = r < 0 ? EXIT_NOT_RUN : exec_status(e);
	if (e) {
		loop_io_free(e->stdin_io);
		close_jobs(e);
		loop_timer_free(e->check);
		loop_timer_free(e->read_file);
		loop_free(e->loop);
	}
	free(e);
	rankset_done(&ranks);
	return status;
}
