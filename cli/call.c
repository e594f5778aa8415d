#include <config.h>

#include "call.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "cleanup.h"
#include "conn.h"
#include "here.h"
#include "log.h"
#include "loop.h"
#include "slurm.h"
#include "source.h"

#define PARAMS_WORD (64 * 1024) /* longer ones are no word of a command's */

/* -- this node ------------------------------------------------------------- */

struct here_call {
	struct loop *loop;
	struct here_task {
		struct here_call *all;
		struct conn *conn;
		uint32_t rank;
		bool answered;
	} * tasks;
	size_t n, open;
	json_t *results;
	json_int_t step_tasks; /* how many the step has; 0: not known */
};

static void add_error_of(json_t *results, const char *key, int code,
			 const char *name, const char *text)
{
	json_object_set_new(results, key,
			    json_pack("{s:{s:i, s:s, s:{s:s}}}", "error",
				      "code", code, "message", text, "data",
				      "name", name));
}

static void add_error(json_t *results, uint32_t rank, int code,
		      const char *name, const char *text)
{
	char key[16];

	snprintf(key, sizeof(key), "%" PRIu32, rank);
	add_error_of(results, key, code, name, text);
}

static json_t *reply_json(const struct rpc_reply *reply)
{
	json_t *error;

	if (reply->result)
		return json_pack("{s:O}", "result", reply->result);
	error = json_pack("{s:i, s:s}", "code", reply->code, "message",
			  reply->message);
	if (reply->data)
		json_object_set(error, "data",
				(json_t *)(uintptr_t)reply->data);
	return json_pack("{s:o}", "error", error);
}

static void on_reply(const struct rpc_reply *reply, void *arg)
{
	struct here_task *t = arg;
	char key[16];

	if (t->answered)
		return;
	t->answered = true;
	snprintf(key, sizeof(key), "%" PRIu32, t->rank);
	json_object_set_new(t->all->results, key, reply_json(reply));
	if (--t->all->open == 0)
		loop_stop(t->all->loop, 0);
}

static void on_time_up(void *arg)
{
	struct here_call *h = arg;

	loop_stop(h->loop, 0);
}

static void ask_task(struct here_call *h, struct here_task *t, const char *dir,
		     const struct call_conf *conf)
{
	const struct rpc_reply lost = { .code = RPC_E_UNREACHABLE,
					.message = "the task has ended" };
	struct errmsg err;

	h->open++;
	if (conn_open(h->loop, dir, t->rank, NULL, NULL, &t->conn, &err) < 0 ||
	    conn_ask(t->conn, conf->method,
		     conf->params ? json_deep_copy(conf->params) : NULL, NULL,
		     0, on_reply, t) < 0)
		on_reply(&lost, t);
}

static void ask_all(struct here_call *h, const char *dir,
		    const struct call_conf *conf, const struct rankset *ranks)
{
	h->open = 1; /* so that no early answer ends it */
	for (uint32_t rank = rankset_next(ranks, 0); rank <= RANK_MAX;
	     rank = rankset_next(ranks, rank + 1)) {
		struct here_task *t = &h->tasks[h->n++];

		t->all = h;
		t->rank = rank;
		ask_task(h, t, dir, conf);
	}
	if (--h->open > 0)
		loop_run(h->loop);
	for (size_t i = 0; i < h->n; i++) {
		if (!h->tasks[i].answered)
			add_error(
				h->results, h->tasks[i].rank, RPC_E_TIMEOUT,
				"E_TIMEOUT",
				"the task does not answer: its helper is stopped, or busy");
		if (h->tasks[i].conn && conn_tasks(h->tasks[i].conn))
			h->step_tasks = conn_tasks(h->tasks[i].conn);
		conn_free(h->tasks[i].conn);
	}
}

static json_t *results_of(const char *dir, const struct call_conf *conf,
			  const struct rankset *ranks, json_int_t *ret_tasks)
{
	struct here_call h = { .results = json_object() };
	struct loop_timer *timer = NULL;

	h.tasks = calloc(rankset_count(ranks) + 1, sizeof(*h.tasks));
	if (h.tasks && loop_new(&h.loop, NULL) == 0 &&
	    loop_timer_add(h.loop,
			   conf->timeout_s ? 1000 * (int64_t)conf->timeout_s
					   : -1,
			   on_time_up, &h, &timer) == 0)
		ask_all(&h, dir, conf, ranks);
	loop_timer_free(timer);
	loop_free(h.loop);
	free(h.tasks);
	*ret_tasks = h.step_tasks;
	return h.results;
}

/* Of the step in @dir; {"error"} with words. */
static json_t *take_of(const char *step, const char *dir,
		       const struct call_conf *conf, const struct call_where *w)
{
	struct rankset here = { 0 }, wanted = { 0 };
	struct errmsg err = { "" };
	json_int_t tasks = 0;
	json_t *o = NULL, *results;
	int r = conn_ranks(dir, &here, &err);

	for (uint32_t rank = rankset_next(&here, 0); r == 0 && rank <= RANK_MAX;
	     rank = rankset_next(&here, rank + 1))
		if (w->all || rankset_has(&w->ranks, rank))
			r = rankset_add(&wanted, rank, rank);
	if (r == 0) {
		results = results_of(dir, conf, &wanted, &tasks);
		o = json_pack("{s:s, s:I, s:o}", "step", step, "tasks", tasks,
			      "results", results);
	}
	rankset_done(&here);
	rankset_done(&wanted);
	return o ? o : json_pack("{s:s}", "error", err.text);
}

json_t *call_of_node(const struct call_conf *conf, const struct call_where *w)
{
	struct strings steps = { 0 }, dirs = { 0 };
	struct errmsg err;
	json_t *o;

	if (step_find(w->runtime_dir, &w->step, &steps, &dirs, &err) < 0) {
		o = json_pack("{s:s}", "error", err.text);
	} else if (steps.n == 1) {
		o = take_of(steps.v[0], dirs.v[0], conf, w);
	} else {
		json_t *list = json_array();

		for (size_t i = 0; i < steps.n; i++)
			json_array_append_new(list, json_string(steps.v[i]));
		o = json_pack("{s:o}", "steps", list);
	}
	strings_done(&steps);
	strings_done(&dirs);
	return o;
}

int call_here(const struct call_conf *conf)
{
	struct call_where w;
	int status = call_where(conf->inv, &w);
	json_t *o;

	if (status != EXIT_DONE)
		return status;
	o = call_of_node(conf, &w);
	status = o && here_print(o) == 0 ? EXIT_DONE : EXIT_FAILED;
	json_decref(o);
	call_where_done(&w);
	return status;
}

/* -- all nodes ------------------------------------------------------------- */

struct gathered {
	struct loop *loop;
	json_t *results, *steps; /* names */
	json_int_t tasks;	 /* of the step; 0: not known */
	char error[ERRMSG_MAX];
	bool failed;
};

static void add_step(struct gathered *g, const char *step)
{
	json_t *name;
	size_t i;

	json_array_foreach (g->steps, i, name)
		if (strcmp(json_string_value(name), step) == 0)
			return;
	json_array_append_new(g->steps, json_string(step));
}

static void add_said(struct gathered *g, const char *node, const json_t *o)
{
	const char *error = json_string_value(json_object_get(o, "error"));
	const char *step = json_string_value(json_object_get(o, "step"));
	json_t *name;
	size_t i;

	if (error && !g->error[0])
		snprintf(g->error, sizeof(g->error), "%s: %s", node, error);
	if (step)
		add_step(g, step);
	json_array_foreach (json_object_get(o, "steps"), i, name)
		if (json_is_string(name))
			add_step(g, json_string_value(name));
	json_object_update(g->results, json_object_get(o, "results"));
	if (json_integer_value(json_object_get(o, "tasks")) > 0)
		g->tasks = json_integer_value(json_object_get(o, "tasks"));
}

static void on_said(const char *node, json_t *o, void *arg)
{
	add_said(arg, node, o);
}

static void on_ended(int wstatus, void *arg)
{
	struct gathered *g = arg;

	g->failed = !WIFEXITED(wstatus) || WEXITSTATUS(wstatus);
	loop_stop(g->loop, 0);
}

static int ask_nodes(const struct call_conf *conf, const struct call_where *w,
		     struct gathered *g, struct errmsg *err)
{
	_cleanup_free_ char *params = NULL, *nodes = NULL;
	struct source *source = NULL;
	char timeout[32];
	const char *words[] = { "op",	      "--here", timeout, "--",
				conf->method, NULL,	NULL };
	struct source_conf sc = { .step = &w->step,
				  .config = conf->inv->config,
				  .ranks = conf->inv->ranks,
				  .words = words,
				  .said = on_said,
				  .ended = on_ended,
				  .arg = g };
	int r;

	snprintf(timeout, sizeof(timeout), "--timeout=%u", conf->timeout_s);
	if (conf->params) {
		params = json_dumps(conf->params, JSON_COMPACT);
		words[5] = params;
	}
	if (params && strlen(params) > PARAMS_WORD) {
		words[5] = "-";
		sc.input = params;
	}
	slurm_forget_job();
	r = slurm_nodes(&w->step, &nodes, err);
	if (r == 0)
		r = loop_new(&g->loop, err);
	sc.loop = g->loop;
	sc.nodes = nodes;
	if (r == 0)
		r = source_start(&sc, &source, err);
	if (r == 0)
		r = loop_run(g->loop);
	source_free(source);
	loop_free(g->loop);
	return r;
}

static int say_steps(const struct call_where *w, const json_t *steps)
{
	json_t *step;
	size_t i;

	if (json_array_size(steps) == 0) {
		log_err("there is no VM step %s%s: is it running, and yours?",
			w->step.step[0] ? "" : "in job ",
			w->step.step[0] ? w->step.step : w->step.job);
		return EXIT_NO_STEP;
	}
	log_err("job %s has %zu VM steps: say which with -j", w->step.job,
		json_array_size(steps));
	json_array_foreach (steps, i, step)
		fprintf(stderr, "%s\n", json_string_value(step));
	return EXIT_NO_STEP;
}

static void say_size(uint32_t tasks, struct errmsg *text)
{
	if (!tasks) /* none of those that were asked for has said so */
		errmsg_say(
			text, 0,
			"the step has no such task, it has ended, or its node does not answer");
	else if (tasks == 1)
		errmsg_say(text, 0, "the step has one task, rank 0");
	else
		errmsg_say(text, 0,
			   "the step has %" PRIu32
			   " tasks, ranks 0 to %" PRIu32,
			   tasks, tasks - 1);
}

/* Those of @ranks that the step, of @tasks, cannot have: one answer for all of
 * them. */
static void complete_beyond(json_t *results, const struct rankset *ranks,
			    uint32_t tasks)
{
	_cleanup_free_ char *key = NULL;
	struct rankset beyond = { 0 };
	struct errmsg text;

	for (size_t i = 0; i < ranks->n; i++) {
		uint32_t first = ranks->ranges[i].first;
		uint32_t last = ranks->ranges[i].last;

		if (last >= tasks && last != RANK_MAX)
			rankset_add(&beyond, first < tasks ? tasks : first,
				    last);
	}
	key = beyond.n ? rankset_text(&beyond) : NULL;
	say_size(tasks, &text);
	if (key)
		add_error_of(results, key, RPC_E_NOTASK, "E_NOTASK", text.text);
	rankset_done(&beyond);
}

/* Every rank that was asked for has an answer. */
static void complete(const struct gathered *g, const struct call_where *w)
{
	uint32_t tasks = g->tasks > 0 ? (uint32_t)g->tasks : 0;

	for (uint32_t rank = 0; rank < tasks; rank++) {
		char key[16];

		snprintf(key, sizeof(key), "%" PRIu32, rank);
		if ((w->all || rankset_has(&w->ranks, rank)) &&
		    !json_object_get(g->results, key))
			add_error(g->results, rank, RPC_E_NOTASK, "E_NOTASK",
				  "it has ended, or its node does not answer");
	}
	if (!w->all)
		complete_beyond(g->results, &w->ranks, tasks);
}

static int conclude(struct gathered *g, const struct call_where *w,
		    json_t **ret)
{
	size_t n = json_array_size(g->steps);

	if (n == 0 && g->error[0])
		log_err("%s", g->error);
	else if (n == 0 && g->failed)
		log_err("no answer; what srun said is above");
	else if (n != 1)
		return say_steps(w, g->steps);
	if (n == 0)
		return EXIT_FAILED;
	if (g->error[0])
		log_err("%s", g->error);
	/* its directory is there before its tasks, and goes after them */
	if (w->all && json_object_size(g->results) == 0) {
		if (!g->error[0])
			log_err("step %s has no task that answers: it is about to begin, or has ended",
				json_string_value(json_array_get(g->steps, 0)));
		return EXIT_NO_STEP;
	}
	complete(g, w);
	*ret = json_pack("{s:O, s:I, s:O}", "step", json_array_get(g->steps, 0),
			 "tasks", g->tasks, "results", g->results);
	return *ret ? EXIT_DONE : EXIT_FAILED;
}

static void gathered_init(struct gathered *g)
{
	*g = (struct gathered){ .results = json_object(),
				.steps = json_array() };
	signal(SIGPIPE, SIG_IGN);
}

static void gathered_done(struct gathered *g)
{
	json_decref(g->results);
	json_decref(g->steps);
}

/* 0; -ENOENT: Slurm knows no such step; -errno. */
static int gather(const struct call_conf *conf, const struct call_where *w,
		  struct gathered *g, struct errmsg *err)
{
	_cleanup_free_ char *dir = NULL;
	json_t *o;

	call_local_dir(conf->inv, w, &dir);
	if (!dir)
		return ask_nodes(conf, w, g, err);
	o = take_of(strrchr(dir, '/') + 1, dir, conf, w);
	add_said(g, "here", o);
	json_decref(o);
	return 0;
}

int call_tasks(const struct call_conf *conf, json_t **ret)
{
	struct gathered g;
	struct call_where w;
	struct errmsg err;
	int r, status = call_where(conf->inv, &w);

	*ret = NULL;
	gathered_init(&g);
	if (status == EXIT_DONE) {
		r = gather(conf, &w, &g, &err);
		if (r < 0)
			log_err("%s", err.text);
		status = r == -ENOENT ? EXIT_NO_STEP
			 : r < 0      ? EXIT_FAILED
				      : conclude(&g, &w, ret);
	}
	gathered_done(&g);
	call_where_done(&w);
	return status;
}

static bool all_answer(const struct gathered *g, const struct call_where *w)
{
	uint32_t tasks = g->tasks > 0 ? (uint32_t)g->tasks : 0;
	char key[16];

	for (uint32_t rank = 0; rank < tasks; rank++) {
		snprintf(key, sizeof(key), "%" PRIu32, rank);
		if ((w->all || rankset_has(&w->ranks, rank)) &&
		    !json_object_get(json_object_get(g->results, key),
				     "result"))
			return false;
	}
	return tasks > 0;
}

bool call_has_begun(const struct invocation *inv, const struct call_where *w,
		    bool all)
{
	const struct call_conf conf = { inv, "task.features", NULL, CALL_S };
	struct gathered g;
	struct errmsg err;
	bool begun;

	gathered_init(&g);
	begun = gather(&conf, w, &g, &err) == 0 &&
		json_array_size(g.steps) > 0 && (!all || all_answer(&g, w));
	gathered_done(&g);
	return begun;
}

int call_one(const struct call_conf *conf, const char *what, json_t **ret,
	     char **ret_rank, char **ret_step)
{
	json_t *answer = NULL, *results, *one;
	int status = call_tasks(conf, &answer);
	const char *text;
	void *at;

	if (status != EXIT_DONE)
		return status;
	results = json_object_get(answer, "results");
	at = json_object_iter(results);
	one = json_object_iter_value(at);
	text = json_string_value(
		json_object_get(json_object_get(one, "error"), "message"));
	if (json_object_size(results) != 1) {
		log_err("%s is for one VM: say which with -r", what);
		status = EXIT_USAGE;
	} else if (text) {
		log_err("vm[%s]: %s", json_object_iter_key(at), text);
		status = EXIT_FAILED;
	} else {
		*ret = json_incref(json_object_get(one, "result"));
		*ret_rank = strdup(json_object_iter_key(at));
		*ret_step = strdup(
			json_string_value(json_object_get(answer, "step")));
		if (!*ret_rank || !*ret_step)
			status = EXIT_FAILED;
	}
	json_decref(answer);
	return status;
}

static int find_group(const json_t *answer, const char *name, char **ret)
{
	const char *key, *ranks = NULL;
	json_t *one;

	json_object_foreach (json_object_get(answer, "results"), key, one)
		if (!ranks)
			ranks = json_string_value(json_object_get(
				json_object_get(json_object_get(one, "result"),
						"groups"),
				name));
	if (!ranks) {
		log_err("-r @%s: the step has no such group (--vm-config)",
			name);
		return EXIT_USAGE;
	}
	*ret = strdup(ranks);
	return *ret ? EXIT_DONE : EXIT_FAILED;
}

int call_group(const struct invocation *inv, char **ret)
{
	struct invocation all = *inv;
	const struct call_conf conf = { &all, "task.features", NULL, CALL_S };
	json_t *answer = NULL;
	int status;

	*ret = NULL;
	if (!inv->ranks || *inv->ranks != '@')
		return EXIT_DONE;
	all.ranks = NULL;
	status = call_tasks(&conf, &answer);
	if (status == EXIT_DONE)
		status = find_group(answer, inv->ranks + 1, ret);
	json_decref(answer);
	return status;
}
