#include <config.h>

#include "console_here.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "cleanup.h"
#include "command.h"
#include "conn.h"
#include "escape.h"
#include "log.h"
#include "loop.h"
#include "tty.h"

#define PIECE 4096

struct console {
	const struct console_here *conf;
	struct loop *loop;
	uint32_t rank;
	struct conn *conn;
	int out, in; /* our ends; -1: none */
	struct loop_io *out_io, *in_io, *stdin_io;
	struct loop_timer *read_file; /* stdin is one */
	struct escape escape;
	bool tty;
	char typed[2 * PIECE]; /* that the task has not taken yet */
	size_t at, len;
};

static void say(const char *text)
{
	if (write(STDOUT_FILENO, text, strlen(text)) < 0)
		return; /* the end will be seen */
}

static void leave(struct console *c, int status)
{
	loop_stop(c->loop, status);
}

/* -- what it says ---------------------------------------------------------- */

static void on_out(uint32_t events, void *arg)
{
	struct console *c = arg;
	char data[16384];
	ssize_t n = read(c->out, data, sizeof(data));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		leave(c, EXIT_DONE);
		return;
	}
	for (ssize_t done = 0; done < n;) {
		ssize_t w =
			write(STDOUT_FILENO, data + done, (size_t)(n - done));

		if (w < 0 && errno != EINTR) {
			leave(c, EXIT_FAILED);
			return;
		}
		done += w > 0 ? w : 0;
	}
}

/* -- what is typed --------------------------------------------------------- */

static void read_on(struct console *c)
{
	if (c->stdin_io)
		loop_io_set(c->stdin_io, c->len ? 0 : EPOLLIN);
	else if (!c->len)
		loop_timer_set(c->read_file, 0);
}

static void no_more_input(struct console *c)
{
	loop_io_free(c->stdin_io);
	loop_io_free(c->in_io);
	c->stdin_io = c->in_io = NULL;
	if (c->in >= 0)
		close(TAKE_FD(c->in));
}

static void type(struct console *c)
{
	while (c->len) {
		ssize_t n = write(c->in, c->typed + c->at, c->len);

		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0 && errno != EINTR) { /* nobody takes it any more */
			no_more_input(c);
			return;
		}
		c->at += n > 0 ? (size_t)n : 0;
		c->len -= n > 0 ? (size_t)n : 0;
	}
	loop_io_set(c->in_io, c->len ? EPOLLOUT : 0);
	read_on(c);
}

static void on_may_type(uint32_t events, void *arg)
{
	if (events & EPOLLERR)
		no_more_input(arg);
	else
		type(arg);
}

static void take_typed(struct console *c, const char *data, size_t len)
{
	c->at = c->len = 0;
	if (!c->tty) {
		memcpy(c->typed, data, len);
		c->len = len;
	}
	for (size_t done = 0; c->tty && done < len;) {
		size_t taken, more;

		switch (escape_take(&c->escape, data + done, len - done, &taken,
				    c->typed + c->len, &more)) {
		case ESCAPE_LEAVE:
			leave(c, EXIT_DONE);
			return;
		case ESCAPE_HELP:
			say("\r\n~. leaves the console, ~~ is a ~ (at the beginning of a line)\r\n");
			break;
		case ESCAPE_ALL:
			break;
		}
		done += taken;
		c->len += more;
	}
	type(c);
}

static void on_stdin(uint32_t events, void *arg)
{
	struct console *c = arg;
	char data[PIECE];
	ssize_t n = read(STDIN_FILENO, data, sizeof(data));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n > 0)
		take_typed(c, data, (size_t)n);
	else if (c->tty)
		leave(c, EXIT_DONE); /* it has been hung up */
	else
		no_more_input(c);
}

static void on_read_file(void *arg)
{
	on_stdin(EPOLLIN, arg);
}

/* -- the task -------------------------------------------------------------- */

static int watch_stdin(struct console *c)
{
	int r = loop_io_add(c->loop, STDIN_FILENO, EPOLLIN, on_stdin, c,
			    &c->stdin_io);

	if (r == -EPERM)
		loop_timer_set(c->read_file, r = 0);
	return r;
}

static void on_attached(const struct rpc_reply *reply, void *arg)
{
	struct console *c = arg;

	if (!reply->result) {
		log_err("vm[%u]: %s%s", c->rank, reply->message,
			reply->code == RPC_E_BUSY && c->conf->input
				? ": -n only looks"
				: "");
		leave(c, EXIT_FAILED);
		return;
	}
	if (!c->conf->input)
		return;
	if (c->tty) {
		tty_raw();
		say("[~. leaves the console]\r\n");
	}
	if (watch_stdin(c) < 0)
		log_warn("standard input does not reach the guest");
}

static void on_gone(void *arg)
{
	leave(arg, EXIT_DONE);
}

/* The task's end of a pipe: @which is ours. */
static int make_pipe(int *ret_ours, int which)
{
	int fd[2];

	if (pipe2(fd, O_CLOEXEC) < 0)
		return -errno;
	fcntl(fd[which], F_SETFL, O_NONBLOCK);
	*ret_ours = fd[which];
	return fd[!which];
}

static int attach(struct console *c)
{
	json_t *params = json_pack("{s:s}", "io", "fd");
	int fds[2] = { -1, -1 }, r = 0;
	size_t n = 0;

	if (c->conf->input) {
		r = fds[n++] = make_pipe(&c->in, 1);
		if (r >= 0)
			r = loop_io_add(c->loop, c->in, 0, on_may_type, c,
					&c->in_io);
	}
	if (r >= 0)
		r = fds[n++] = make_pipe(&c->out, 0);
	if (r >= 0)
		r = loop_io_add(c->loop, c->out, EPOLLIN, on_out, c,
				&c->out_io);
	if (c->conf->input)
		json_object_set_new(params, "input", json_true());
	if (r < 0)
		json_decref(params);
	else
		r = conn_ask(c->conn, c->conf->op ? c->conf->op : "vm.console",
			     params, fds, n, on_attached, c);
	for (size_t i = 0; i < n; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	return r;
}

static int first_rank(const struct console_here *conf, uint32_t *ret,
		      struct errmsg *err)
{
	struct rankset here = { 0 };
	int r = conn_ranks(conf->dir, &here, err);

	*ret = UINT32_MAX;
	for (uint32_t rank = rankset_next(&here, 0); r == 0 && rank <= RANK_MAX;
	     rank = rankset_next(&here, rank + 1))
		if (*ret == UINT32_MAX &&
		    (!conf->ranks || rankset_has(conf->ranks, rank)))
			*ret = rank;
	rankset_done(&here);
	if (r == 0 && *ret == UINT32_MAX)
		r = errmsg_say(err, -ENOENT, "no such task is here any more");
	return r;
}

static void on_signal(const struct signalfd_siginfo *si, void *arg)
{
	leave(arg, 128 + (int)si->ssi_signo);
}

static int prepare(struct console *c, struct errmsg *err)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	int r = first_rank(c->conf, &c->rank, err);

	if (r == 0)
		r = loop_new(&c->loop, err);
	for (size_t i = 0; i < ARRAY_SIZE(signals) && r == 0; i++)
		r = loop_signal(c->loop, signals[i], on_signal, c, err);
	if (r == 0 &&
	    loop_timer_add(c->loop, -1, on_read_file, c, &c->read_file) < 0)
		r = errmsg_set(err, -ENOMEM, "timer");
	if (r == 0)
		r = conn_open(c->loop, c->conf->dir, c->rank, on_gone, c,
			      &c->conn, err);
	if (r == 0) {
		r = attach(c);
		errmsg_set(err, r, "console");
	}
	return r;
}

int console_here(const struct console_here *conf)
{
	struct console c = { .conf = conf, .out = -1, .in = -1 };
	struct errmsg err;
	int r;

	c.tty = conf->input && tty_is_there();
	r = prepare(&c, &err);
	if (r < 0)
		log_err("%s", err.text);
	else
		r = loop_run(c.loop);
	if (c.tty) {
		tty_restore();
		say("\r\n");
	}
	no_more_input(&c);
	loop_io_free(c.out_io);
	if (c.out >= 0)
		close(c.out);
	conn_free(c.conn);
	loop_timer_free(c.read_file);
	loop_free(c.loop);
	return r < 0 ? EXIT_FAILED : r;
}
