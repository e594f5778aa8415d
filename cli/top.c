#include <config.h>

#include "top.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "call.h"
#include "cleanup.h"
#include "log.h"
#include "loop.h"
#include "slurm.h"
#include "source.h"
#include "top_here.h"
#include "top_text.h"
#include "value.h"

enum { EVERY, COUNT, HERE };
const struct cmd_option top_options[] = {
	[EVERY] = { "-d", "SEC", "between two tables (2)" },
	[COUNT] = { "-n", "N",
		    "so many tables (1 where standard output is no terminal)" },
	[HERE] = { "--here", NULL, "this node, for another vmstep" },
	{ 0 },
};

#define EVERY_MAX_S 86400
#define COUNT_MAX   1000000

struct top {
	const struct invocation *inv;
	const struct call_where *where;
	unsigned int every_s, count; /* 0: as long as it runs */
	struct loop *loop;
	struct loop_timer *timer;
	struct source *source;
	json_t *before;	 /* each node's sample before the last */
	json_t *figures; /* by rank */
	json_t *fresh;	 /* ranks, since the last table */
	json_t *step;	 /* its name; NULL: none has answered */
	json_int_t total;
	unsigned int shown;
	bool stopped, failed;
};

/* -- what is shown --------------------------------------------------------- */

static json_t *in_order(const struct top *t)
{
	json_t *list = json_array(), *one;
	char key[32];

	for (json_int_t rank = 0; rank < t->total; rank++) {
		snprintf(key, sizeof(key), "%lld", (long long)rank);
		one = json_object_get(t->figures, key);
		if (one)
			json_array_append(list, one);
	}
	return list;
}

static void show_json(const struct top *t, json_t *tasks)
{
	json_t *o = json_pack("{s:O, s:O}", "step", t->step, "tasks", tasks);

	json_dumpf(o, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
	putchar('\n');
	json_decref(o);
}

static void show(struct top *t)
{
	json_t *tasks = in_order(t);

	if (t->inv->json) {
		show_json(t, tasks);
	} else {
		if (isatty(STDOUT_FILENO) && t->count != 1)
			fputs("\033[H\033[J", stdout);
		else if (t->shown)
			putchar('\n');
		top_print(stdout, tasks);
	}
	json_decref(tasks);
	json_object_clear(t->fresh);
	t->shown++;
	if (fflush(stdout) != 0)
		t->failed = true;
	if (t->failed || t->shown == t->count) {
		t->stopped = true;
		source_stop(t->source);
	}
}

/* -- what comes ------------------------------------------------------------ */

static bool is_whole(const struct top *t)
{
	const struct call_where *w = t->where;
	size_t wanted = 0;

	for (json_int_t rank = 0; rank < t->total; rank++)
		wanted += w->all || rankset_has(&w->ranks, (uint32_t)rank);
	return json_object_size(t->fresh) >= wanted;
}

static void on_said(const char *node, json_t *o, void *arg)
{
	struct top *t = arg;
	const json_t *before = json_object_get(t->before, node);
	json_t *step = json_object_get(o, "step"), *figures, *one;
	const char *key;

	if (!json_is_string(step) || t->stopped)
		return;
	if (!t->step)
		t->step = json_incref(step);
	if (json_integer_value(json_object_get(o, "total")))
		t->total = json_integer_value(json_object_get(o, "total"));
	figures = top_figures(o, before);
	json_object_foreach (figures, key, one)
		if (before)
			json_object_set_new(t->fresh, key, json_true());
	json_object_update(t->figures, figures);
	json_decref(figures);
	json_object_set(t->before, node, o);
	if (json_object_size(t->fresh) && is_whole(t)) {
		loop_timer_set(t->timer, 2000 * (int64_t)t->every_s);
		show(t);
	}
}

/* A node that does not answer is not waited for. */
static void on_timer(void *arg)
{
	struct top *t = arg;

	if (json_object_size(t->fresh))
		show(t);
	loop_timer_set(t->timer, 2000 * (int64_t)t->every_s);
}

static void on_ended(int wstatus, void *arg)
{
	struct top *t = arg;

	t->failed |=
		!t->stopped && (!WIFEXITED(wstatus) || WEXITSTATUS(wstatus));
	loop_stop(t->loop, 0);
}

static void on_signal(const struct signalfd_siginfo *si, void *arg)
{
	struct top *t = arg;

	t->stopped = true;
	source_stop(t->source);
}

/* -------------------------------------------------------------------------- */

static int start(struct top *t, const char *const *words, char **nodes,
		 struct errmsg *err)
{
	_cleanup_free_ char *dir = NULL;
	struct source_conf conf = { .step = &t->where->step,
				    .config = t->inv->config,
				    .ranks = t->inv->ranks,
				    .words = words,
				    .said = on_said,
				    .ended = on_ended,
				    .arg = t };
	int r = 0;

	call_local_dir(t->inv, t->where, &dir);
	if (!dir) {
		slurm_forget_job();
		r = slurm_nodes(&t->where->step, nodes, err);
	}
	if (r == 0)
		r = loop_new(&t->loop, err);
	if (r == 0)
		r = loop_signal(t->loop, SIGINT, on_signal, t, err);
	if (r == 0)
		r = loop_signal(t->loop, SIGTERM, on_signal, t, err);
	if (r == 0 && loop_timer_add(t->loop, -1, on_timer, t, &t->timer) < 0)
		r = errmsg_set(err, -ENOMEM, "timer");
	conf.loop = t->loop;
	conf.nodes = *nodes;
	return r < 0 ? r : source_start(&conf, &t->source, err);
}

static int conclude(struct top *t)
{
	if (!t->step && !t->stopped) {
		log_err("there is no such VM step that runs, or -j has to say which");
		return EXIT_NO_STEP;
	}
	if (!t->shown && !t->stopped) {
		log_err("the step ended before there was anything to show");
		return EXIT_FAILED;
	}
	return t->failed ? EXIT_FAILED : EXIT_DONE;
}

static int run_nodes(struct top *t)
{
	char every[32], count[32];
	const char *const words[] = { "top", "--here", "-d", every,
				      "-n",  count,    NULL };
	_cleanup_free_ char *nodes = NULL;
	struct errmsg err;
	int r;

	snprintf(every, sizeof(every), "%u", t->every_s);
	snprintf(count, sizeof(count), "%u", t->count ? t->count + 1 : 0);
	t->before = json_object();
	t->figures = json_object();
	t->fresh = json_object();
	signal(SIGPIPE, SIG_IGN);
	r = start(t, words, &nodes, &err);
	if (r == 0)
		r = loop_run(t->loop);
	if (r < 0)
		log_err("%s", err.text);
	r = r == -ENOENT ? EXIT_NO_STEP : r < 0 ? EXIT_FAILED : conclude(t);
	source_free(t->source);
	loop_timer_free(t->timer);
	loop_free(t->loop);
	json_decref(t->before);
	json_decref(t->figures);
	json_decref(t->fresh);
	json_decref(t->step);
	return r;
}

static int run_here(const struct top *t)
{
	_cleanup_free_ char *dir = NULL;
	struct top_here conf = { .ranks = t->where->all ? NULL
							: &t->where->ranks,
				 .every_s = t->every_s,
				 .samples = t->count };
	int status = call_here_dir(t->where, &dir);

	if (status != EXIT_DONE || !dir)
		return status;
	conf.dir = dir;
	return top_here(&conf);
}

static int parse(const struct invocation *inv, struct top *t,
		 struct errmsg *err)
{
	unsigned long every = 2, count = 0;
	int r = 0;

	if (!inv->options[HERE] && !isatty(STDOUT_FILENO))
		count = 1;
	if (inv->options[EVERY])
		r = value_uint(inv->options[EVERY], 1, EVERY_MAX_S, &every,
			       err);
	if (r < 0)
		return errmsg_prefix(err, r, "-d");
	if (inv->options[COUNT])
		r = value_uint(inv->options[COUNT], 0, COUNT_MAX, &count, err);
	t->every_s = (unsigned int)every;
	t->count = (unsigned int)count;
	return r < 0 ? errmsg_prefix(err, r, "-n") : 0;
}

int top_run(const struct invocation *inv)
{
	struct top t = { .inv = inv };
	struct call_where w;
	struct errmsg err;
	int status;

	if (parse(inv, &t, &err) < 0) {
		log_err("%s", err.text);
		return EXIT_USAGE;
	}
	status = call_where(inv, &w);
	t.where = &w;
	if (status == EXIT_DONE)
		status = inv->options[HERE] ? run_here(&t) : run_nodes(&t);
	call_where_done(&w);
	return status;
}
