#include <config.h>

#include "stats.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "gather.h"
#include "here.h"
#include "log.h"
#include "loop.h"
#include "matrix.h"
#include "site.h"
#include "slurm.h"
#include "source.h"
#include "stats_text.h"
#include "step.h"
#include "value.h"

enum { WATCH, MATRIX, VERBOSE, HERE };

const struct cmd_option stats_options[] = {
	[WATCH] = { "--watch", "[SEC]", "again every SEC (1) seconds: rates" },
	[MATRIX] = { "--matrix", "FILE", "draw who sends to whom, as SVG" },
	[VERBOSE] = { "--verbose", NULL, "sizes of batches, states of rings" },
	[HERE] = { "--here", "[peers]", "this node, for another vmstep" },
	{ 0 },
};

#define WATCH_MAX_S 86400

struct stats {
	const struct invocation *inv;
	struct step_name step;
	struct rankset ranks;
	struct site site;
	char *nodes;	      /* NULL: all of it is here */
	unsigned int every_s; /* 0: once */

	struct loop *loop;
	struct loop_timer *timer;
	struct source *source;
	struct gather *gather;
	json_t *before; /* the last that was shown */
	bool shown, stopped, failed;
};

/* -- this node, for another vmstep ----------------------------------------- */

static void sleep_until(struct timespec *next, unsigned int s)
{
	next->tv_sec += s;
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, next, NULL) ==
	       EINTR)
		;
}

/* What goes wrong is told in what is printed; srun would add to a status. */
static int print_here(const struct stats *st)
{
	bool peers = strcmp(st->inv->options[HERE], "peers") == 0;
	struct timespec next;
	bool gone;
	int r = 0;

	clock_gettime(CLOCK_MONOTONIC, &next);
	for (unsigned int n = 0; r == 0; n++) {
		json_t *o = here_take(st->site.runtime_dir, &st->step, peers,
				      &gone);

		if (!gone || n == 0)
			r = here_print(o);
		json_decref(o);
		if (gone || !st->every_s)
			break;
		sleep_until(&next, st->every_s);
	}
	return r < 0 ? EXIT_FAILED : EXIT_DONE;
}

/* -- what is shown --------------------------------------------------------- */

static int draw(const struct stats *st, const json_t *step)
{
	const char *path = st->inv->options[MATRIX];
	_cleanup_fclose_ FILE *f = fopen(path, "we");
	struct errmsg err;
	struct matrix m;
	int r;

	if (!f) {
		log_err("--matrix=%s: %m", path);
		return -errno;
	}
	r = matrix_make(step, &m, &err);
	if (r < 0) {
		log_err("%s", err.text);
		return r;
	}
	r = matrix_svg(&m, f);
	matrix_done(&m);
	if (r < 0)
		log_err("--matrix=%s: %s", path, strerror(-r));
	return r;
}

static int show_text(struct stats *st, const json_t *step)
{
	bool verbose = st->inv->options[VERBOSE];

	if (st->every_s && !st->before)
		return 0; /* there are no rates yet */
	if (st->every_s && isatty(STDOUT_FILENO))
		fputs("\033[H\033[J", stdout);
	else if (st->shown)
		putchar('\n');
	stats_print(stdout, step, st->every_s ? st->before : NULL, verbose);
	return 0;
}

static int show_json(const json_t *step)
{
	return json_dumpf(step, stdout, JSON_COMPACT | JSON_ENSURE_ASCII) < 0 ||
			       putchar('\n') == EOF
		       ? -EIO
		       : 0;
}

/* < 0: it cannot be shown. */
static int show(struct stats *st)
{
	json_t *step = gather_take(st->gather);
	int r;

	if (!step)
		return 0;
	if (st->inv->options[MATRIX])
		r = draw(st, step);
	else
		r = st->inv->json ? show_json(step) : show_text(st, step);
	if (r == 0 && fflush(stdout) != 0) {
		if (errno != EPIPE)
			log_err("standard output: %m");
		r = -EIO;
	}
	st->shown |= st->before || !st->every_s || st->inv->json;
	json_decref(st->before);
	st->before = step;
	return r;
}

static void show_or_stop(struct stats *st)
{
	if (show(st) == 0)
		return;
	st->failed = true;
	source_stop(st->source);
}

/* -- what happens ---------------------------------------------------------- */

/* A node that does not answer is not waited for. */
static void on_timer(void *arg)
{
	struct stats *st = arg;

	show_or_stop(st);
	loop_timer_set(st->timer, 2000 * (int64_t)st->every_s);
}

static void on_said(const char *node, json_t *o, void *arg)
{
	struct stats *st = arg;
	const char *error = json_string_value(json_object_get(o, "error"));

	gather_add(st->gather, node, o);
	if (!st->every_s)
		return;
	if (error)
		log_warn("%s: %s", node, error);
	if (json_array_size(gather_steps(st->gather)) > 1)
		source_stop(st->source);
	else if (gather_is_whole(st->gather))
		on_timer(st);
}

static void on_ended(int wstatus, void *arg)
{
	struct stats *st = arg;

	st->failed |= !WIFEXITED(wstatus) || WEXITSTATUS(wstatus);
	loop_stop(st->loop, 0);
}

static void on_signal(const struct signalfd_siginfo *si, void *arg)
{
	struct stats *st = arg;

	st->stopped = true;
	source_stop(st->source);
}

static int say_steps(const struct stats *st)
{
	const json_t *steps = gather_steps(st->gather), *step;
	size_t i;

	if (json_array_size(steps) == 0) {
		log_err("there is no VM step %s%s: is it running, and yours?",
			st->step.step[0] ? "" : "in job ",
			st->step.step[0] ? st->step.step : st->step.job);
		return EXIT_NO_STEP;
	}
	log_err("job %s has %zu VM steps: say which with -j", st->step.job,
		json_array_size(steps));
	json_array_foreach (steps, i, step)
		fprintf(stderr, "%s\n", json_string_value(step));
	return EXIT_NO_STEP;
}

/* After the child: what it said, and what came of it. */
static int conclude(struct stats *st)
{
	const char *error = gather_error(st->gather);
	size_t n = json_array_size(gather_steps(st->gather));

	if (n > 1)
		return say_steps(st);
	if (st->stopped || (st->every_s && st->before))
		return st->failed && !st->stopped && !st->before ? EXIT_FAILED
								 : EXIT_DONE;
	if (n == 0 && st->failed) {
		log_err("no answer; what srun said is above");
		return EXIT_FAILED;
	}
	if (n == 0 && !error)
		return say_steps(st);
	if (error)
		log_err("%s", error);
	if (show(st) < 0 || error || st->failed)
		return EXIT_FAILED;
	if (json_is_true(json_object_get(st->before, "complete")))
		return EXIT_DONE;
	log_err("not all nodes of the step answered");
	return EXIT_FAILED;
}

/* Is all of the step here? Where -j does not name it, only if the job is. */
static bool is_local(struct stats *st)
{
	const char *nodes = getenv("SLURM_JOB_NUM_NODES");
	bool alone = !st->inv->job && nodes && strcmp(nodes, "1") == 0;
	bool gone;
	json_t *o;
	bool local;

	if (!st->step.step[0] && !alone)
		return false;
	o = here_take(st->site.runtime_dir, &st->step, false, &gone);
	local = json_integer_value(json_object_get(o, "nodes")) == 1 ||
		json_array_size(json_object_get(o, "steps")) > 1;
	json_decref(o);
	return local;
}

static int prepare(struct stats *st, struct errmsg *err)
{
	bool peers =
		st->inv->options[MATRIX] || (st->inv->json && !st->every_s);
	char every[32];
	const char *words[] = { "stats", peers ? "--here=peers" : "--here",
				st->every_s ? every : NULL, NULL };
	struct source_conf conf = {
		.step = &st->step,
		.config = st->inv->config,
		.words = words,
		.said = on_said,
		.ended = on_ended,
		.arg = st,
	};
	int r = loop_new(&st->loop, err);

	snprintf(every, sizeof(every), "--watch=%u", st->every_s);
	if (r == 0 && !is_local(st)) {
		slurm_forget_job();
		r = slurm_nodes(&st->step, &st->nodes, err);
	}
	conf.loop = st->loop;
	conf.nodes = st->nodes;
	st->gather = gather_new(st->inv->ranks ? &st->ranks : NULL);
	if (!st->gather)
		return errmsg_set(err, -ENOMEM, "statistics");
	if (r == 0)
		r = loop_signal(st->loop, SIGINT, on_signal, st, err);
	if (r == 0)
		r = loop_signal(st->loop, SIGTERM, on_signal, st, err);
	if (r == 0 &&
	    loop_timer_add(st->loop,
			   st->every_s ? 2000 * (int64_t)st->every_s : -1,
			   on_timer, st, &st->timer) < 0)
		r = errmsg_set(err, -ENOMEM, "timer");
	return r < 0 ? r : source_start(&conf, &st->source, err);
}

static int ask_nodes(struct stats *st)
{
	struct errmsg err;
	int status, r;

	signal(SIGPIPE, SIG_IGN);
	r = prepare(st, &err);
	if (r == 0) {
		r = loop_run(st->loop);
		errmsg_set(&err, r, "event loop");
	}
	if (r < 0)
		log_err("%s", err.text);
	status = r == -ENOENT ? EXIT_NO_STEP
		 : r < 0      ? EXIT_FAILED
			      : conclude(st);
	source_free(st->source);
	gather_free(st->gather);
	loop_timer_free(st->timer);
	loop_free(st->loop);
	json_decref(st->before);
	free(st->nodes);
	return status;
}

/* -- what was asked for ---------------------------------------------------- */

static int parse_every(struct stats *st, struct errmsg *err)
{
	const char *text = st->inv->options[WATCH];
	unsigned long n = 1;
	int r = 0;

	if (!text)
		return 0;
	if (*text)
		r = value_uint(text, 1, WATCH_MAX_S, &n, err);
	st->every_s = (unsigned int)n;
	return r < 0 ? errmsg_prefix(err, r, "--watch") : 0;
}

/* Returns an exit status, EXIT_DONE to go on. */
static int parse(struct stats *st, struct errmsg *err)
{
	const struct invocation *inv = st->inv;
	int r = parse_every(st, err);

	if (r == 0 && inv->ranks)
		r = rankset_parse(&st->ranks, inv->ranks, strlen(inv->ranks),
				  err);
	if (r == 0 && inv->options[MATRIX] && (inv->json || st->every_s))
		r = errmsg_say(err, -EINVAL,
			       "--matrix goes with neither --json nor --watch");
	if (r < 0)
		return EXIT_USAGE;
	r = step_name(inv->job, &st->step, err);
	if (r < 0)
		return r == -ENOENT ? EXIT_NO_STEP : EXIT_USAGE;
	r = site_load(inv->config ? inv->config : SITE_DEFAULT_PATH,
		      inv->config != NULL, &st->site, err);
	return r < 0 ? EXIT_FAILED : EXIT_DONE;
}

int stats_run(const struct invocation *inv)
{
	struct stats st = { .inv = inv };
	struct errmsg err;
	int status = parse(&st, &err);

	if (status != EXIT_DONE)
		log_err("%s", err.text);
	else if (inv->options[HERE])
		status = print_here(&st);
	else
		status = ask_nodes(&st);
	rankset_done(&st.ranks);
	site_done(&st.site);
	return status;
}
