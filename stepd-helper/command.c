#include <config.h>

#include "command.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "qga_exec.h"
#include "start_error.h"

struct command {
	struct guest *guest;
	const struct task *task;
	const struct spec *spec;
	struct proc *proc; /* NULL: it has ended */
	command_fn fn;
	void *arg;
	bool attached; /* it ran already */
};

static void on_ended(struct proc *p, void *arg)
{
	struct command *c = arg;

	c->proc = NULL;
	for (int i = 1; i < 3; i++)
		if (proc_kept(p, i) && keep_dropped(proc_kept(p, i)))
			log_warn(
				"%s was longer than QEMU's guest agent carries, and is cut",
				i == 1 ? "standard output" : "standard error");
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
	if (c->attached) {
		errmsg_say(&words, 0,
			   "the saved command cannot be gone on with: %s",
			   reply->message);
		status = 125;
	}
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
		struct command **ret, struct errmsg *err)
{
	struct command *c = calloc(1, sizeof(*c));
	struct proc_spec ps = { .params = start_params(t, s, cmd),
				.attach = cmd->attach,
				.fd = { cmd->attach && !cmd->pty
						? -1
						: standard_stream(STDIN_FILENO),
					standard_stream(STDOUT_FILENO),
					standard_stream(STDERR_FILENO) },
				.pty = cmd->pty,
				.label = "command",
				.started = on_started,
				.arg = c };
	const char *no = ps.params && guest_uses_qga(g)
				 ? qga_exec_cannot(ps.params)
				 : NULL;
	int r;

	if (!c || !ps.params || no) {
		free(c);
		json_decref(ps.params);
		for (int i = 0; i < 3; i++)
			if (ps.fd[i] >= 0)
				close(ps.fd[i]);
		return no ? errmsg_say(err, -EOPNOTSUPP, "%s", no)
			  : errmsg_set(err, -ENOMEM, "the command");
	}
	*c = (struct command){ g, t, s, NULL, fn, arg, cmd->attach };
	r = procs_start(guest_procs(g), &ps, &c->proc);
	if (r < 0) {
		free(c);
		return errmsg_say(
			err, r,
			"the guest's agent does not take the command: %s",
			strerror(-r));
	}
	*ret = c;
	return 0;
}

void command_signal(struct command *c, int sig)
{
	if (c && c->proc)
		proc_signal(c->proc, json_integer(sig), true, NULL, NULL);
}

bool command_reads_input(const struct command *c)
{
	return c && c->proc && proc_reads_input(c->proc);
}

json_int_t command_agents_id(const struct command *c, const char **ret_program)
{
	if (!c || !c->proc || !proc_agents_id(c->proc) ||
	    proc_has_exited(c->proc))
		return 0;
	*ret_program = proc_program(c->proc);
	return proc_agents_id(c->proc);
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
