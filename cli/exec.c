#include <config.h>

#include "exec.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "call.h"
#include "cleanup.h"
#include "elsewhere.h"
#include "exec_here.h"
#include "log.h"
#include "srun.h"

enum { INPUT, TTY, FOLD, USER, CWD, HERE };
const struct cmd_option exec_options[] = {
	[INPUT] = { "-i", NULL, "the command reads our standard input" },
	[TTY] = { "-t", NULL, "on a terminal of its own (one VM)" },
	[FOLD] = { "--fold", NULL, "the same output of several VMs once" },
	[USER] = { "--user", "NAME", "as this user of the guest" },
	[CWD] = { "--cwd", "DIR", "in this directory of the guest" },
	[HERE] = { "--here", NULL, "this node, for another vmstep" },
	{ 0 },
};

/* -- on the nodes, by srun ------------------------------------------------- */

struct words {
	const char *v[SRUN_ARGS_MAX];
	size_t n;
	char user[256], cwd[4096];
};

static void add(struct words *w, const char *word)
{
	if (w->n < SRUN_ARGS_MAX - 1)
		w->v[w->n++] = word;
}

static void remote_words(const struct invocation *inv, struct words *w)
{
	add(w, "exec");
	add(w, "--here");
	if (inv->options[INPUT])
		add(w, "-i");
	if (inv->options[TTY])
		add(w, "-t");
	if (inv->options[USER]) {
		snprintf(w->user, sizeof(w->user), "--user=%s",
			 inv->options[USER]);
		add(w, w->user);
	}
	if (inv->options[CWD]) {
		snprintf(w->cwd, sizeof(w->cwd), "--cwd=%s", inv->options[CWD]);
		add(w, w->cwd);
	}
	add(w, "--");
	for (int i = 0; i < inv->n_args; i++)
		add(w, inv->args[i]);
}

/* By another vmstep, on @nodes (NULL: all of the step's), or (@here) on this
 * one. */
static int run_other(const struct invocation *inv, const struct call_where *w,
		     bool here, const char *nodes, bool unbuffered)
{
	_cleanup_free_ struct words *words = calloc(1, sizeof(*words));
	struct elsewhere conf = { .inv = inv, .where = w, .nodes = nodes };

	if (!words)
		return EXIT_NOT_RUN;
	remote_words(inv, words);
	conf.words = words->v;
	conf.here = here;
	conf.fold = inv->options[FOLD];
	conf.unbuffered = unbuffered;
	if (inv->options[TTY])
		conf.how = "--pty";
	else if (inv->options[INPUT])
		conf.how = "--input=all";
	return elsewhere_run(&conf);
}

/* -------------------------------------------------------------------------- */

static int run_here(const struct invocation *inv, const struct call_where *w,
		    const char *dir)
{
	const struct exec_here conf = {
		.dir = dir,
		.ranks = w->all ? NULL : &w->ranks,
		.argv = inv->args,
		.n_args = inv->n_args,
		.input = inv->options[INPUT],
		.tty = inv->options[TTY],
		.user = inv->options[USER],
		.cwd = inv->options[CWD],
	};

	return exec_here(&conf);
}

static int run(const struct invocation *inv, bool unbuffered)
{
	bool looks = inv->ranks || inv->options[TTY] || inv->options[INPUT];
	_cleanup_free_ char *dir = NULL, *nodes = NULL;
	struct call_where w;
	int status = call_where(inv, &w);

	if (status != EXIT_DONE)
		return status;
	signal(SIGPIPE, SIG_IGN);
	if (inv->options[HERE])
		status = call_here_dir(&w, &dir);
	else
		call_local_dir(inv, &w, &dir);
	if (status == EXIT_DONE && looks && !inv->options[HERE])
		status = elsewhere_find(inv, inv->options[TTY], &nodes);
	if (status == EXIT_DONE && dir && inv->options[FOLD])
		status = run_other(inv, &w, true, NULL, unbuffered);
	else if (status == EXIT_DONE && (dir || inv->options[HERE]))
		status = run_here(inv, &w, dir);
	else if (status == EXIT_DONE)
		status = run_other(inv, &w, false, nodes, unbuffered);
	call_where_done(&w);
	return status;
}

int exec_run(const struct invocation *inv)
{
	return run(inv, false);
}

int exec_as(const struct invocation *inv, const char *user,
	    const char *const *argv, int n)
{
	const struct invocation exec = {
		.command = command_find("exec"),
		.job = inv->job,
		.ranks = inv->ranks,
		.config = inv->config,
		.options = { [INPUT] = "", [USER] = user },
		.args = argv,
		.n_args = n,
	};

	return run(&exec, true);
}
