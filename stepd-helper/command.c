#include <config.h>

#include "command.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "start_error.h"

struct command {
	struct guest *guest;
	const struct task *task;
	const struct spec *spec;
	struct proc *proc; /* NULL: it has ended */
	command_fn fn;
	void *arg;
};

static void on_ended(struct proc *p, void *arg)
{
	struct command *c = arg;

	c->proc = NULL;
	if (proc_state(p) == PROC_ENDED)
		c->fn(proc_status(p), NULL, c->arg);
}

static void on_started(struct proc *p, const struct rpc_reply *reply, void *arg)
{
	struct command *c = arg;
	const struct start_error e = { reply->code, reply->what,
				       reply->message };
	struct errmsg words;
	int status;

	if (reply->result) {
		if (proc_wait(p, on_ended, c) < 0)
			c->fn(125, "out of memory", c->arg);
		return;
	}
	c->proc = NULL;
	if (reply->code == RPC_E_UNREACHABLE)
		return; /* the agent is lost, and that is told */
	status = start_error_status(&e, c->spec, c->task->argv0, &words);
	c->fn(status, words.text, c->arg);
}

/* A copy of the task's own, or of nothing where that is closed. */
static int standard_stream(int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 10);

	if (copy >= 0)
		return copy;
	return open("/dev/null",
		    (fd == STDIN_FILENO ? O_RDONLY : O_WRONLY) | O_CLOEXEC);
}

int command_run(struct guest *g, const struct task *t, const struct spec *s,
		const struct guest_cmd *cmd, command_fn fn, void *arg,
		struct command **ret)
{
	struct command *c = calloc(1, sizeof(*c));
	struct proc_spec ps = { .params = start_params(t, s, cmd),
				.fd = { standard_stream(STDIN_FILENO),
					standard_stream(STDOUT_FILENO),
					standard_stream(STDERR_FILENO) },
				.pty = cmd->pty,
				.label = "command",
				.started = on_started,
				.arg = c };
	int r;

	if (!c || !ps.params) {
		free(c);
		json_decref(ps.params);
		for (int i = 0; i < 3; i++)
			if (ps.fd[i] >= 0)
				close(ps.fd[i]);
		return -ENOMEM;
	}
	*c = (struct command){ g, t, s, NULL, fn, arg };
	r = procs_start(guest_procs(g), &ps, &c->proc);
	if (r < 0)
		free(c);
	else
		*ret = c;
	return r;
}

void command_signal(struct command *c, int sig)
{
	if (c && c->proc)
		proc_signal(c->proc, json_integer(sig), true, NULL, NULL);
}

void command_resize(struct command *c, const struct winsize *ws)
{
	if (c && c->proc)
		proc_resize(c->proc, ws->ws_row, ws->ws_col, NULL, NULL);
}

void command_free(struct command *c)
{
	free(c);
}
