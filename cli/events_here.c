#include <config.h>

#include "events_here.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "command.h"
#include "conn.h"
#include "here.h"
#include "log.h"
#include "loop.h"
#include "netlog.h"

struct here {
	const struct events_here *conf;
	struct loop *loop;
	struct task {
		struct here *here;
		struct conn *conn;
		uint32_t rank;
		bool over;
	} * tasks;
	size_t n, open;
	struct netlog *net;
	bool failed;
};

/* @o is stolen. */
static void print(struct here *h, json_t *o)
{
	if (here_print(o) < 0) {
		h->failed = true;
		loop_stop(h->loop, 0);
	}
	json_decref(o);
}

static void print_event(struct here *h, const json_t *event)
{
	print(h, json_pack("{s:O}", "event", (json_t *)(uintptr_t)event));
}

static void print_lost(struct task *t, json_int_t lost)
{
	if (lost)
		print(t->here, json_pack("{s:I, s:I}", "lost", lost, "rank",
					 (json_int_t)t->rank));
}

static void end(struct task *t)
{
	if (t->over)
		return;
	t->over = true;
	if (--t->here->open == 0)
		loop_stop(t->here->loop, 0);
}

static void on_gone(void *arg)
{
	end(arg);
}

/* -- what is kept ---------------------------------------------------------- */

static json_t *params(const struct events_here *conf, json_int_t after)
{
	json_t *p = json_pack("{s:s, s:I}", "feed",
			      conf->log ? "log" : "events", "after", after);
	json_t *kinds = json_array();

	for (int i = 0; i < conf->n_kinds; i++)
		json_array_append_new(kinds, json_string(conf->kinds[i]));
	if (conf->n_kinds)
		json_object_set(p, "kinds", kinds);
	json_decref(kinds);
	return p;
}

static void on_taken(const struct rpc_reply *reply, void *arg)
{
	struct task *t = arg;
	json_t *events = json_object_get(reply->result, "events"), *e;
	size_t i;

	if (!reply->result)
		log_err("vm[%u]: %s", t->rank, reply->message);
	print_lost(t,
		   json_integer_value(json_object_get(reply->result, "lost")));
	json_array_foreach (events, i, e)
		print_event(t->here, e);
	if (json_array_size(events) == 0 ||
	    conn_ask(t->conn, "event.take",
		     params(t->here->conf, json_integer_value(json_object_get(
						   reply->result, "seq"))),
		     NULL, 0, on_taken, t) < 0)
		end(t);
}

/* -- and what follows ------------------------------------------------------ */

static void on_subscribed(const struct rpc_reply *reply, void *arg)
{
	struct task *t = arg;

	if (reply->result)
		return;
	log_err("vm[%u]: %s", t->rank, reply->message);
	end(t);
}

/* A rpc_handler_fn. */
static void on_notified(struct rpc_call *call, const char *method,
			const json_t *p, void *arg)
{
	struct task *t = arg;

	if (strcmp(method, "event") == 0)
		print_event(t->here, p);
	else if (strcmp(method, "event.lost") == 0)
		print_lost(t, json_integer_value(json_object_get(p, "lost")));
	rpc_result(call, NULL);
}

static void begin(struct here *h, struct task *t, uint32_t rank)
{
	bool follow = h->conf->follow;
	struct errmsg err;

	t->here = h;
	t->rank = rank;
	h->open++;
	if (conn_open(h->loop, h->conf->dir, rank, on_gone, t, &t->conn, &err) <
	    0) {
		end(t);
		return;
	}
	conn_set_handler(t->conn, on_notified, t);
	if (conn_ask(t->conn, follow ? "event.subscribe" : "event.take",
		     params(h->conf, 0), NULL, 0,
		     follow ? on_subscribed : on_taken, t) < 0)
		end(t);
}

static void on_net_line(long long ms, const char *words, void *arg)
{
	print(arg, json_pack("{s:{s:s, s:I, s:s}}", "event", "kind", "log.net",
			     "time_ms", (json_int_t)ms, "text", words));
}

static void begin_all(struct here *h, const struct rankset *ranks)
{
	const char *step = strrchr(h->conf->dir, '/');

	print(h, json_pack("{s:s}", "step", step ? step + 1 : h->conf->dir));
	if (h->conf->log && !h->conf->ranks)
		netlog_open(h->conf->follow ? h->loop : NULL, h->conf->dir,
			    on_net_line, h, &h->net);
	h->open = 1; /* so that no early end is that of all */
	for (uint32_t rank = rankset_next(ranks, 0); rank <= RANK_MAX;
	     rank = rankset_next(ranks, rank + 1))
		if (!h->conf->ranks || rankset_has(h->conf->ranks, rank))
			begin(h, &h->tasks[h->n++], rank);
	h->open--;
}

int events_here(const struct events_here *conf)
{
	struct here h = { .conf = conf };
	struct rankset ranks = { 0 };
	struct errmsg err;
	int r = conn_ranks(conf->dir, &ranks, &err);

	if (r == 0) {
		h.tasks = calloc(rankset_count(&ranks) + 1, sizeof(*h.tasks));
		r = h.tasks ? loop_new(&h.loop, &err)
			    : errmsg_set(&err, -ENOMEM, "tasks");
	}
	if (r == 0) {
		begin_all(&h, &ranks);
		r = h.open ? loop_run(h.loop) : 0;
		errmsg_set(&err, r, "event loop");
	}
	if (r < 0)
		log_err("%s", err.text);
	netlog_free(h.net);
	for (size_t i = 0; i < h.n; i++)
		conn_free(h.tasks[i].conn);
	free(h.tasks);
	loop_free(h.loop);
	rankset_done(&ranks);
	return r < 0 || h.failed ? EXIT_FAILED : EXIT_DONE;
}
