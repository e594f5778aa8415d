#include <config.h>

#include "events.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "call.h"
#include "cleanup.h"
#include "events_here.h"
#include "log.h"
#include "loop.h"
#include "plain.h"
#include "slurm.h"
#include "source.h"

#define KINDS_MAX 16 /* as the tasks have it */

enum { EVENTS_ONCE, EVENTS_HERE };
const struct cmd_option events_options[] = {
	[EVENTS_ONCE] = { "--once", NULL, "only what is kept" },
	[EVENTS_HERE] = { "--here", NULL, "this node, for another vmstep" },
	{ 0 },
};
enum { LOG_FOLLOW, LOG_HERE };
const struct cmd_option log_options[] = {
	[LOG_FOLLOW] = { "-f", NULL, "and what follows, until the step ends" },
	[LOG_HERE] = { "--here", NULL, "this node, for another vmstep" },
	{ 0 },
};

struct events {
	const struct invocation *inv;
	bool log, follow;
	struct loop *loop;
	struct source *source;
	json_t *all; /* until they can be sorted; not where we follow */
	bool any, stopped, failed;
};

/* -- what is shown --------------------------------------------------------- */

static void put_plain(const char *text)
{
	char harmless[2048];

	plain_line(text, harmless, sizeof(harmless));
	fputs(harmless, stdout);
}

static void put_time(json_int_t ms)
{
	time_t s = (time_t)(ms / 1000);
	char text[32] = "?";
	struct tm tm;

	if (localtime_r(&s, &tm))
		strftime(text, sizeof(text), "%F %T", &tm);
	printf("%s.%03d ", text, (int)(ms % 1000));
}

/* What vmstep-net says has its name in front already. */
static void put_log(const char *node, const json_t *e)
{
	const char *kind = json_string_value(json_object_get(e, "kind"));
	const json_t *rank = json_object_get(e, "rank");
	const char *text = json_string_value(json_object_get(e, "text"));

	if (rank) {
		printf("vm[%lld]@", (long long)json_integer_value(rank));
		put_plain(node);
		fputs(": ", stdout);
	}
	if (kind && strcmp(kind, "log.error") == 0)
		fputs("error: ", stdout);
	else if (kind && strcmp(kind, "log.warning") == 0)
		fputs("warning: ", stdout);
	put_plain(text ? text : "?");
}

static void put_event(const char *node, const json_t *e)
{
	static const char *const known[] = { "kind", "rank", "time_ms", "seq",
					     "sub" };
	const char *kind = json_string_value(json_object_get(e, "kind"));
	const char *key;
	json_t *value;

	printf("vm[%lld]@",
	       (long long)json_integer_value(json_object_get(e, "rank")));
	put_plain(node);
	putchar(' ');
	put_plain(kind ? kind : "?");
	json_object_foreach ((json_t *)(uintptr_t)e, key, value) {
		_cleanup_free_ char *text = NULL;
		bool is_known = false;

		for (size_t i = 0; i < ARRAY_SIZE(known); i++)
			is_known |= strcmp(key, known[i]) == 0;
		if (is_known)
			continue;
		text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
		putchar(' ');
		put_plain(key);
		putchar('=');
		put_plain(json_is_string(value) ? json_string_value(value)
			  : text		? text
						: "?");
	}
}

static void put_json(const char *node, const json_t *e)
{
	json_t *o = json_copy((json_t *)(uintptr_t)e);

	json_object_set_new(o, "node", json_string(node));
	json_object_del(o, "sub");
	json_dumpf(o, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
	json_decref(o);
}

void events_show(bool log, const char *node, const json_t *e)
{
	put_time(json_integer_value(json_object_get(e, "time_ms")));
	if (log)
		put_log(node, e);
	else
		put_event(node, e);
	putchar('\n');
}

static void show(struct events *ev, const char *node, const json_t *e)
{
	if (ev->inv->json) {
		put_json(node, e);
		putchar('\n');
	} else {
		events_show(ev->log, node, e);
	}
	if (ev->follow && fflush(stdout) != 0) {
		ev->failed = true;
		source_stop(ev->source);
	}
}

static int by_time(const void *a, const void *b)
{
	json_t *const *x = a, *const *y = b;
	const json_t *ex = json_object_get(*x, "event");
	const json_t *ey = json_object_get(*y, "event");
	json_int_t i = json_integer_value(json_object_get(ex, "time_ms"));
	json_int_t j = json_integer_value(json_object_get(ey, "time_ms"));

	if (i == j) { /* of one task, in its order */
		i = json_integer_value(json_object_get(ex, "seq"));
		j = json_integer_value(json_object_get(ey, "seq"));
	}
	return i < j ? -1 : i > j;
}

static void show_sorted(struct events *ev)
{
	size_t n = json_array_size(ev->all);
	_cleanup_free_ json_t **list = calloc(n + 1, sizeof(json_t *));

	for (size_t i = 0; list && i < n; i++)
		list[i] = json_array_get(ev->all, i);
	if (list)
		qsort(list, n, sizeof(json_t *), by_time);
	for (size_t i = 0; list && i < n; i++)
		show(ev, json_string_value(json_object_get(list[i], "node")),
		     json_object_get(list[i], "event"));
}

/* -- what comes ------------------------------------------------------------ */

static void on_said(const char *node, json_t *o, void *arg)
{
	struct events *ev = arg;
	json_t *event = json_object_get(o, "event");
	json_int_t lost = json_integer_value(json_object_get(o, "lost"));

	if (json_object_get(o, "step"))
		ev->any = true;
	if (lost)
		log_warn("vm[%lld]@%s: %lld older ones are kept no more",
			 (long long)json_integer_value(
				 json_object_get(o, "rank")),
			 node, (long long)lost);
	if (!json_is_object(event))
		return;
	if (ev->follow) {
		show(ev, node, event);
		return;
	}
	json_object_set_new(o, "node", json_string(node));
	json_array_append(ev->all, o);
}

static void on_ended(int wstatus, void *arg)
{
	struct events *ev = arg;

	ev->failed |=
		!ev->stopped && (!WIFEXITED(wstatus) || WEXITSTATUS(wstatus));
	loop_stop(ev->loop, 0);
}

static void on_signal(const struct signalfd_siginfo *si, void *arg)
{
	struct events *ev = arg;

	ev->stopped = true;
	source_stop(ev->source);
}

/* -------------------------------------------------------------------------- */

static int start(struct events *ev, const struct call_where *w,
		 const char *const *words, char **nodes, struct errmsg *err)
{
	_cleanup_free_ char *dir = NULL;
	struct source_conf conf = { .step = &w->step,
				    .config = ev->inv->config,
				    .ranks = ev->inv->ranks,
				    .words = words,
				    .said = on_said,
				    .ended = on_ended,
				    .arg = ev };
	int r = 0;

	call_local_dir(ev->inv, w, &dir);
	if (!dir) {
		slurm_forget_job();
		r = slurm_nodes(&w->step, nodes, err);
	}
	if (r == 0)
		r = loop_new(&ev->loop, err);
	if (r == 0)
		r = loop_signal(ev->loop, SIGINT, on_signal, ev, err);
	if (r == 0)
		r = loop_signal(ev->loop, SIGTERM, on_signal, ev, err);
	conf.loop = ev->loop;
	conf.nodes = *nodes;
	return r < 0 ? r : source_start(&conf, &ev->source, err);
}

static int conclude(struct events *ev)
{
	if (!ev->any && !ev->stopped) {
		log_err("there is no such VM step that runs, or -j has to say which");
		return EXIT_NO_STEP;
	}
	if (!ev->follow)
		show_sorted(ev);
	if (fflush(stdout) == 0 && !ev->failed)
		return EXIT_DONE;
	return EXIT_FAILED;
}

static int run_nodes(struct events *ev, const struct call_where *w)
{
	const struct invocation *inv = ev->inv;
	const char *words[KINDS_MAX + 5];
	_cleanup_free_ char *nodes = NULL;
	struct errmsg err;
	int n = 0, r;

	words[n++] = inv->command->name;
	words[n++] = "--here";
	if (ev->log ? ev->follow : !ev->follow)
		words[n++] = ev->log ? "-f" : "--once";
	words[n++] = "--";
	for (int i = 0; i < inv->n_args && i < KINDS_MAX; i++)
		words[n++] = inv->args[i];
	words[n] = NULL;
	ev->all = json_array();
	signal(SIGPIPE, SIG_IGN);
	r = start(ev, w, words, &nodes, &err);
	if (r == 0)
		r = loop_run(ev->loop);
	if (r < 0)
		log_err("%s", err.text);
	r = r == -ENOENT ? EXIT_NO_STEP : r < 0 ? EXIT_FAILED : conclude(ev);
	source_free(ev->source);
	loop_free(ev->loop);
	json_decref(ev->all);
	return r;
}

static int run_here(struct events *ev, const struct call_where *w)
{
	_cleanup_free_ char *dir = NULL;
	struct events_here conf = { .ranks = w->all ? NULL : &w->ranks,
				    .log = ev->log,
				    .follow = ev->follow,
				    .kinds = ev->inv->args,
				    .n_kinds = ev->inv->n_args };
	int status = call_here_dir(w, &dir);

	if (status != EXIT_DONE || !dir)
		return status;
	conf.dir = dir;
	return events_here(&conf);
}

static int run(struct events *ev, bool here)
{
	struct call_where w;
	int status = call_where(ev->inv, &w);

	if (status == EXIT_DONE)
		status = here ? run_here(ev, &w) : run_nodes(ev, &w);
	call_where_done(&w);
	return status;
}

int events_run(const struct invocation *inv)
{
	struct events ev = { .inv = inv, .follow = !inv->options[EVENTS_ONCE] };

	return run(&ev, inv->options[EVENTS_HERE]);
}

int log_run(const struct invocation *inv)
{
	struct events ev = { .inv = inv,
			     .log = true,
			     .follow = inv->options[LOG_FOLLOW] };

	return run(&ev, inv->options[LOG_HERE]);
}
