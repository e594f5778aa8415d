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
#include "exec_here.h"
#include "log.h"
#include "relay.h"
#include "slurm.h"
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

static bool has_node(const char *nodes, const char *node)
{
	size_t len = strlen(node);

	while (*nodes) {
		size_t this = strcspn(nodes, ",");

		if (this == len && strncmp(nodes, node, len) == 0)
			return true;
		nodes += this + (nodes[this] == ',');
	}
	return false;
}

/* "n1,n2": where the tasks of @answer are; to be freed. */
static char *nodes_of(const json_t *answer)
{
	const char *key, *node;
	size_t size = 1;
	char *nodes;
	json_t *one;

	json_object_foreach (json_object_get(answer, "results"), key, one)
		size += 1 + json_string_length(json_object_get(
				    json_object_get(one, "result"), "node"));
	nodes = calloc(1, size);
	if (!nodes)
		return NULL;
	json_object_foreach (json_object_get(answer, "results"), key, one) {
		node = json_string_value(json_object_get(
			json_object_get(one, "result"), "node"));
		if (!node || has_node(nodes, node))
			continue;
		if (*nodes)
			strcat(nodes, ",");
		strcat(nodes, node);
	}
	return nodes;
}

/* Say which of them cannot be asked. */
static bool all_answer(const json_t *answer)
{
	const char *key, *text;
	bool all = true;
	json_t *one;

	json_object_foreach (json_object_get(answer, "results"), key, one) {
		if (json_object_get(one, "result"))
			continue;
		text = json_string_value(json_object_get(
			json_object_get(one, "error"), "message"));
		log_err("vm[%s]: %s", key, text ? text : "no answer");
		all = false;
	}
	return all;
}

/* The nodes of the ranks that were asked for, *ret to be freed: srun's input
 * goes to those that read it only, or it would wait for the others. */
static int find_nodes(const struct invocation *inv, char **ret)
{
	const struct call_conf conf = { inv, "task.state", NULL, CALL_S };
	json_t *answer = NULL;
	int status = call_tasks(&conf, &answer);
	size_t n;

	if (status != EXIT_DONE)
		return status == EXIT_NO_STEP ? status : EXIT_NOT_RUN;
	n = json_object_size(json_object_get(answer, "results"));
	if (all_answer(answer))
		*ret = nodes_of(answer);
	json_decref(answer);
	if (!*ret)
		return EXIT_NOT_RUN;
	if (inv->options[TTY] && n != 1) {
		log_err("-t is for one VM: say which with -r");
		return EXIT_USAGE;
	}
	if (*ret && **ret)
		return EXIT_DONE;
	log_err("none of the tasks answers");
	return EXIT_NOT_RUN;
}

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
		     bool here, const char *nodes)
{
	_cleanup_free_ struct words *words = calloc(1, sizeof(*words));
	_cleanup_free_ struct srun_args *args = calloc(1, sizeof(*args));
	_cleanup_free_ char *all_nodes = NULL;
	struct srun_conf conf = { .step = &w->step,
				  .config = inv->config,
				  .ranks = inv->ranks };
	struct errmsg err;
	int r = 0;

	if (!words || !args)
		return EXIT_NOT_RUN;
	if (inv->options[TTY])
		conf.how = "--pty";
	else if (inv->options[INPUT])
		conf.how = "--input=all";
	slurm_forget_job();
	if (!nodes && !here)
		r = slurm_nodes(&w->step, &all_nodes, &err);
	remote_words(inv, words);
	conf.words = words->v;
	conf.nodes = here ? NULL : nodes ? nodes : all_nodes;
	if (r == 0)
		r = srun_args(args, &conf, &err);
	if (r < 0) {
		log_err("%s", err.text);
		return r == -ENOENT ? EXIT_NO_STEP : EXIT_NOT_RUN;
	}
	return relay_run(args->v, inv->options[FOLD]);
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

int exec_run(const struct invocation *inv)
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
		status = find_nodes(inv, &nodes);
	if (status == EXIT_DONE && dir && inv->options[FOLD])
		status = run_other(inv, &w, true, NULL);
	else if (status == EXIT_DONE && dir)
		status = run_here(inv, &w, dir);
	else if (status == EXIT_DONE && !inv->options[HERE])
		status = run_other(inv, &w, false, nodes);
	call_where_done(&w);
	return status;
}
