#include <config.h>

#include "top_here.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "command.h"
#include "conn.h"
#include "here.h"
#include "log.h"
#include "loop.h"

struct task {
	struct sampler *sampler;
	uint32_t rank;
	struct conn *conn;
	bool over;
	json_t *figures; /* of this sample */
};

struct sampler {
	const struct top_here *conf;
	struct loop *loop;
	struct loop_timer *timer;
	struct task *tasks;
	size_t n, open;
	unsigned int taken;
	int64_t asked_ms;
	bool rests; /* until the next sample; else answers are waited for */
	json_t *ports;
};

static bool has_all(const struct sampler *s)
{
	for (size_t i = 0; i < s->n; i++)
		if (!s->tasks[i].over &&
		    !json_object_get(s->tasks[i].figures, "stats"))
			return false;
	return s->ports || !s->n;
}

static void check(struct sampler *s)
{
	if (!s->rests && has_all(s))
		loop_timer_set(s->timer, 0);
}

static void ask(struct task *t, const char *method, rpc_reply_fn fn)
{
	if (!t->over)
		conn_ask(t->conn, method, NULL, NULL, 0, fn, t);
}

static void on_state(const struct rpc_reply *reply, void *arg)
{
	struct task *t = arg;

	if (reply->result)
		json_object_set(t->figures, "state",
				(json_t *)(uintptr_t)reply->result);
}

static void on_stats(const struct rpc_reply *reply, void *arg)
{
	struct task *t = arg;

	if (reply->result)
		json_object_set(t->figures, "stats",
				(json_t *)(uintptr_t)reply->result);
	check(t->sampler);
}

static void on_net(const struct rpc_reply *reply, void *arg)
{
	struct task *t = arg;
	json_t *ports = json_object_get(reply->result, "ports");

	json_decref(t->sampler->ports);
	t->sampler->ports = json_incref(ports);
	check(t->sampler);
}

static void ask_all(struct sampler *s)
{
	bool net = false;

	s->asked_ms = loop_now_ms();
	json_decref(s->ports);
	s->ports = NULL;
	for (size_t i = 0; i < s->n; i++) {
		struct task *t = &s->tasks[i];

		json_object_clear(t->figures);
		ask(t, "task.state", on_state);
		ask(t, "vm.stats", on_stats);
		if (!net && !t->over)
			ask(t, "net.stats", on_net);
		net |= !t->over;
	}
}

/* What has come. */
static int print(const struct sampler *s)
{
	const char *step = strrchr(s->conf->dir, '/');
	json_t *tasks = json_object(), *o;
	json_int_t total = 0;
	char key[16];
	int r;

	for (size_t i = 0; i < s->n; i++) {
		const struct task *t = &s->tasks[i];

		snprintf(key, sizeof(key), "%" PRIu32, t->rank);
		if (t->conn && conn_tasks(t->conn))
			total = conn_tasks(t->conn);
		if (json_object_get(t->figures, "state"))
			json_object_set(tasks, key, t->figures);
	}
	o = json_pack("{s:s, s:I, s:I, s:o, s:O*}", "step",
		      step ? step + 1 : s->conf->dir, "ms",
		      (json_int_t)s->asked_ms, "total", total, "tasks", tasks,
		      "ports", s->ports);
	r = o ? here_print(o) : -ENOMEM;
	json_decref(o);
	return r;
}

static void finish(struct sampler *s)
{
	int64_t next_ms = s->asked_ms + 1000 * (int64_t)s->conf->every_s;
	int64_t now_ms = loop_now_ms();
	int r = print(s);

	if (r < 0 || ++s->taken == s->conf->samples || !s->open) {
		loop_stop(s->loop, r < 0 ? EXIT_FAILED : EXIT_DONE);
		return;
	}
	s->rests = true;
	loop_timer_set(s->timer, next_ms > now_ms ? next_ms - now_ms : 0);
}

/* Who does not answer in time is left out. */
static void on_timer(void *arg)
{
	struct sampler *s = arg;

	if (!s->rests || !s->open) {
		finish(s);
		return;
	}
	s->rests = false;
	ask_all(s);
	loop_timer_set(s->timer, 1000 * (int64_t)s->conf->every_s);
}

static void on_gone(void *arg)
{
	struct task *t = arg;

	t->over = true;
	if (--t->sampler->open == 0)
		loop_timer_set(t->sampler->timer, 0);
}

static int begin(struct sampler *s, struct errmsg *err)
{
	struct rankset here = { 0 };
	int r = conn_ranks(s->conf->dir, &here, err);

	if (r == 0)
		r = loop_new(&s->loop, err);
	if (r == 0 && loop_timer_add(s->loop, 1000 * (int64_t)s->conf->every_s,
				     on_timer, s, &s->timer) < 0)
		r = errmsg_set(err, -ENOMEM, "timer");
	s->tasks = calloc(rankset_count(&here) + 1, sizeof(*s->tasks));
	if (r == 0 && !s->tasks)
		r = errmsg_set(err, -ENOMEM, "tasks");
	for (uint32_t rank = rankset_next(&here, 0); r == 0 && rank <= RANK_MAX;
	     rank = rankset_next(&here, rank + 1)) {
		struct task *t = &s->tasks[s->n];

		if (s->conf->ranks && !rankset_has(s->conf->ranks, rank))
			continue;
		t->sampler = s;
		t->rank = rank;
		if (conn_open(s->loop, s->conf->dir, rank, on_gone, t, &t->conn,
			      err) < 0)
			continue;
		t->figures = json_object();
		s->n++;
		s->open++;
	}
	rankset_done(&here);
	if (r == 0)
		ask_all(s);
	return r;
}

int top_here(const struct top_here *conf)
{
	struct sampler s = { .conf = conf };
	struct errmsg err;
	int r = begin(&s, &err);

	if (r < 0)
		log_err("%s", err.text);
	else if (s.open)
		r = loop_run(s.loop);
	for (size_t i = 0; i < s.n; i++) {
		conn_free(s.tasks[i].conn);
		json_decref(s.tasks[i].figures);
	}
	json_decref(s.ports);
	free(s.tasks);
	loop_timer_free(s.timer);
	loop_free(s.loop);
	return r < 0 ? EXIT_FAILED : r;
}
