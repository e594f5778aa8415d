/* test_session.c - ops on their way, sessions, and results that are kept */
#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "op_session.h"
#include "session.h"

#define CALLS 32

static struct {
	struct loop *loop;
	struct loop_timer *stop;
	struct ops *ops;
	struct sessions *sessions;
	struct op_session *op;
	struct ops_origin user, guest;
	struct rpc *rpc, *guest_rpc;
	json_t *answers; /* by id, each once */
	int last_id;
	struct rpc_call *kept[CALLS]; /* of task.echo, in order; NULL: gone */
	int n_kept, n_gone;
} t;

/* -- ops of ours ----------------------------------------------------------- */

static void on_gone(struct rpc_call *call, void *arg)
{
	for (int i = 0; i < t.n_kept; i++)
		if (t.kept[i] == call)
			t.kept[i] = NULL;
	t.n_gone++;
	rpc_result(call, NULL);
}

/* It is answered by done(). */
static void later(struct rpc_call *call, const json_t *params, void *arg)
{
	assert_true(t.n_kept < CALLS);
	t.kept[t.n_kept++] = call;
	rpc_on_gone(call, on_gone, NULL);
}

static void done(int n, json_t *result)
{
	struct rpc_call *call = t.kept[n];

	assert_non_null(call);
	t.kept[n] = NULL;
	rpc_result(call, result);
}

static void at_once(struct rpc_call *call, const json_t *params, void *arg)
{
	rpc_result(call, json_deep_copy(params));
}

static void fails(struct rpc_call *call, const json_t *params, void *arg)
{
	rpc_fail(call, RPC_E_NOENT, "no such thing");
}

/* A barrier's, of tasks that are more than ops may be. */
static struct rpc_call *arrived[SESSION_RUNS + 1];
static int n_arrived;

static void arrive(struct rpc_call *call, const json_t *params, void *arg)
{
	arrived[n_arrived++] = call;
}

static const struct rpc_method methods[] = {
	{ "file.stat", later },
	{ "vm.state", later },
	{ "world.get", later },
	{ "file.hash", at_once },
	{ "file.list", fails },
	{ "op.call", at_once },
	{ "proc.start", later },
	{ "sync.arrive", arrive },
	{ 0 },
};

/* -- asking ---------------------------------------------------------------- */

static int on_answer(const char *text, size_t len, void *arg)
{
	json_t *msg = json_loadb(text, len, 0, NULL);
	char id[16];

	assert_non_null(msg);
	snprintf(id, sizeof(id), "%lld",
		 (long long)json_integer_value(json_object_get(msg, "id")));
	assert_null(json_object_get(t.answers, id)); /* once */
	json_object_set_new(t.answers, id, msg);
	return 0;
}

static int ask_as(struct rpc *rpc, const char *method, const char *params)
{
	char text[512];
	int n = snprintf(
		text, sizeof(text),
		"{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"%s\",\"params\":%s}",
		++t.last_id, method, params);

	rpc_receive(rpc, text, (size_t)n);
	return t.last_id;
}

static int ask(const char *method, const char *params)
{
	return ask_as(t.rpc, method, params);
}

static json_t *answer_of(int id)
{
	char key[16];

	snprintf(key, sizeof(key), "%d", id);
	return json_object_get(t.answers, key);
}

static json_t *result_of(int id)
{
	return json_object_get(answer_of(id), "result");
}

static int code_of(int id)
{
	return (int)json_integer_value(json_object_get(
		json_object_get(answer_of(id), "error"), "code"));
}

static json_int_t figure(const json_t *o, const char *name)
{
	assert_true(json_is_integer(json_object_get(o, name)));
	return json_integer_value(json_object_get(o, name));
}

static json_t *at(const json_t *array, size_t i)
{
	return json_array_get(array, i);
}

static json_t *results(int id)
{
	return json_object_get(result_of(id), "results");
}

static void on_stop(void *arg)
{
	loop_stop(t.loop, 0);
}

static void run(int64_t ms)
{
	loop_timer_set(t.stop, ms);
	assert_int_equal(loop_run(t.loop), 0);
}

static struct rpc *client(struct ops_origin *origin)
{
	static const struct rpc_method none[] = { { 0 } };
	struct rpc *r = rpc_new(none, NULL, on_answer, NULL);

	rpc_set_handler(r, ops_handle, origin);
	return r;
}

static int set_up(void **state)
{
	memset(&t, 0, sizeof(t));
	assert_int_equal(loop_new(&t.loop, NULL), 0);
	assert_int_equal(loop_timer_add(t.loop, -1, on_stop, NULL, &t.stop), 0);
	t.ops = ops_new();
	assert_int_equal(ops_add(t.ops, methods, NULL), 0);
	assert_int_equal(sessions_new(t.loop, t.ops, NULL, &t.sessions), 0);
	assert_int_equal(op_session_new(t.loop, t.sessions, t.ops, &t.op), 0);
	t.user = (struct ops_origin){ .ops = t.ops, .who = OPS_USER };
	t.guest = (struct ops_origin){ .ops = t.ops, .who = OPS_GUEST };
	t.rpc = client(&t.user);
	t.guest_rpc = client(&t.guest);
	t.answers = json_object();
	return 0;
}

static int tear_down(void **state)
{
	rpc_free(t.rpc);
	rpc_free(t.guest_rpc);
	for (int i = 0; i < t.n_kept; i++)
		if (t.kept[i])
			rpc_result(t.kept[i], NULL);
	op_session_free(t.op);
	sessions_free(t.sessions);
	ops_free(t.ops);
	json_decref(t.answers);
	loop_timer_free(t.stop);
	loop_free(t.loop);
	return 0;
}

/* -- ops on their way ------------------------------------------------------ */

static void what_is_on_its_way_is_listed(void **state)
{
	json_t *list, *one;
	int a = ask("file.stat", "{\"path\":\"/\",\"opid\":\"mine\"}"), l;

	ask("vm.state", "{}");
	l = ask("op.list", "{}");
	list = result_of(l);
	assert_int_equal(json_array_size(list), 2);
	one = at(list, 0);
	assert_string_equal(json_string_value(json_object_get(one, "opid")),
			    "mine");
	assert_string_equal(json_string_value(json_object_get(one, "state")),
			    "running");
	assert_string_equal(json_string_value(json_object_get(one, "who")),
			    "user");
	assert_null(answer_of(a));
	done(0, NULL);
	assert_non_null(result_of(a));
	assert_int_equal(code_of(ask("op.get", "{\"opid\":\"mine\"}")),
			 RPC_E_NOENT);
	assert_int_equal(json_array_size(result_of(ask("op.list", "{}"))), 1);
}

static void a_cancelled_op_is_answered_once(void **state)
{
	int a = ask("file.stat", "{\"path\":\"/\",\"opid\":\"x\"}");
	int c = ask("op.cancel", "{\"opid\":\"x\"}");

	assert_int_equal(code_of(a), RPC_E_CANCELLED);
	assert_int_equal(figure(result_of(c), "cancelled"), 1);
	assert_int_equal(t.n_gone, 1); /* who carried it out knows */
	assert_int_equal(code_of(ask("op.cancel", "{\"opid\":\"x\"}")),
			 RPC_E_NOENT);
	assert_int_equal(code_of(ask("op.cancel", "{}")), RPC_INVALID_PARAMS);
	a = ask("proc.start", "{\"argv\":[\"true\"],\"opid\":\"y\"}");
	assert_int_equal(code_of(ask("op.cancel", "{\"opid\":\"y\"}")),
			 RPC_E_NOTSUP);
	assert_null(answer_of(a));
}

/* A method that hears of nothing answers later, to nobody. */
static void an_answer_after_the_cancellation_goes_nowhere(void **state)
{
	int a = ask("file.stat", "{\"path\":\"/\",\"opid\":\"x\"}");

	rpc_on_gone(t.kept[0], NULL, NULL);
	ask("op.cancel", "{\"opid\":\"x\"}");
	assert_int_equal(code_of(a), RPC_E_CANCELLED);
	done(0, NULL);
}

static void an_opid_is_carried_out_once(void **state)
{
	const char *p = "{\"path\":\"/\",\"opid\":\"x\"}";
	int a = ask("file.stat", p), b = ask("file.stat", p), c;

	assert_int_equal(t.n_kept, 1);
	assert_int_equal(code_of(ask("file.hash", p)), RPC_E_EXIST);
	done(0, json_pack("{s:i}", "n", 5));
	assert_int_equal(figure(result_of(a), "n"), 5);
	assert_int_equal(figure(result_of(b), "n"), 5);
	c = ask("file.stat", p); /* while it is kept */
	assert_int_equal(t.n_kept, 1);
	assert_int_equal(figure(result_of(c), "n"), 5);
	ask("result.take", "{}");
	ask("file.stat", p); /* it is not any more */
	assert_int_equal(t.n_kept, 2);
	/* an error is an answer, too */
	p = "{\"path\":\"/\",\"opid\":\"y\"}";
	assert_int_equal(code_of(ask("file.list", p)), RPC_E_NOENT);
	assert_int_equal(code_of(ask("file.list", p)), RPC_E_NOENT);
}

static void who_left_is_not_worked_for(void **state)
{
	ask("file.stat", "{\"path\":\"/\"}");
	rpc_free(t.rpc);
	t.rpc = client(&t.user);
	assert_int_equal(t.n_gone, 1);
	assert_int_equal(json_array_size(result_of(ask("op.list", "{}"))), 0);
}

/* -- results --------------------------------------------------------------- */

static void a_kept_result_is_for_who_comes_later(void **state)
{
	json_t *one;
	int r, w;

	ask("file.stat", "{\"path\":\"/\",\"keep\":true,\"opid\":\"x\"}");
	rpc_free(t.rpc); /* it goes on */
	t.rpc = client(&t.user);
	assert_int_equal(t.n_gone, 0);
	r = ask("result.take", "{}");
	assert_int_equal(json_array_size(results(r)), 0);
	w = ask("result.take", "{\"opid\":\"x\",\"wait_ms\":-1}");
	assert_null(answer_of(w));
	done(0, json_pack("{s:i}", "n", 7));
	one = at(results(w), 0);
	assert_int_equal(figure(json_object_get(one, "result"), "n"), 7);
	assert_string_equal(json_string_value(json_object_get(one, "method")),
			    "file.stat");
	assert_int_equal(figure(result_of(w), "left"), 0);
	assert_int_equal(
		code_of(ask("result.take", "{\"opid\":\"x\",\"wait_ms\":-1}")),
		RPC_E_NOENT);
}

static void peeking_leaves_it(void **state)
{
	ask("file.hash", "{\"path\":\"/\",\"keep\":true}");
	ask("file.list", "{\"path\":\"/\",\"keep\":true}");
	for (int i = 0; i < 2; i++)
		assert_int_equal(
			json_array_size(results(ask("result.peek", "{}"))), 2);
	assert_true(json_is_true(json_object_get(
		at(results(ask("result.list", "{}")), 1), "failed")));
	assert_int_equal(
		json_array_size(results(ask("result.take", "{\"count\":1}"))),
		1);
	assert_int_equal(json_array_size(results(ask("result.take", "{}"))), 1);
}

static void peeking_at_what_is_waited_for_leaves_it(void **state)
{
	int w;

	ask("file.stat", "{\"path\":\"/\",\"keep\":true,\"opid\":\"x\"}");
	w = ask("result.peek", "{\"opid\":\"x\",\"wait_ms\":-1}");
	assert_null(answer_of(w));
	done(0, json_pack("{s:i}", "n", 7));
	assert_int_equal(json_array_size(results(w)), 1);
	assert_int_equal(figure(result_of(w), "left"), 1);
	assert_int_equal(json_array_size(results(ask("result.take", "{}"))), 1);
}

static void waiting_for_a_result_ends(void **state)
{
	int w = ask("result.take", "{\"wait_ms\":5}"), g;

	run(20);
	assert_int_equal(code_of(w), RPC_E_TIMEOUT);
	ask("session.open", "{\"name\":\"s\"}");
	g = ask("result.take", "{\"session\":\"s\",\"wait_ms\":-1}");
	ask("session.close", "{\"session\":\"s\"}");
	assert_int_equal(code_of(g), RPC_E_GONE);
}

static void results_are_bounded(void **state)
{
	char big[300];
	int r;

	ask("session.open", "{\"name\":\"s\",\"keep_results\":3}");
	for (int i = 0; i < 5; i++)
		ask("file.hash",
		    "{\"path\":\"/\",\"keep\":true,\"session\":\"s\"}");
	r = ask("result.take", "{\"session\":\"s\"}");
	assert_int_equal(json_array_size(results(r)), 3);
	assert_int_equal(figure(result_of(r), "dropped"), 2);
	ask("session.set", "{\"session\":\"s\",\"keep_bytes\":100}");
	snprintf(big, sizeof(big),
		 "{\"path\":\"%0200d\",\"keep\":true,\"session\":\"s\"}", 0);
	assert_non_null(result_of(ask("file.hash", big)));
	r = ask("result.take", "{\"session\":\"s\"}");
	assert_int_equal(
		figure(json_object_get(at(results(r), 0), "error"), "code"),
		RPC_E_LOST);
}

static void results_grow_old(void **state)
{
	struct outbox *o = outbox_new();

	outbox_put(o, "a", "m", json_pack("{s:i}", "result", 1), 1000);
	outbox_put(o, "b", "m", json_pack("{s:i}", "result", 1), 2000);
	assert_int_equal(outbox_due_ms(o), 1000 + OUTBOX_AGE_MS);
	assert_int_equal(outbox_trim(o, 1000 + OUTBOX_AGE_MS), 1);
	assert_null(outbox_find(o, "a"));
	assert_non_null(outbox_find(o, "b"));
	assert_int_equal(outbox_trim(o, 2000 + OUTBOX_AGE_MS), 1);
	assert_int_equal(outbox_count(o), 0);
	assert_int_equal(outbox_bytes(o), 0);
	assert_int_equal(outbox_dropped(o), 2);
	outbox_free(o);
}

/* -- sessions -------------------------------------------------------------- */

static void a_session_carries_out_so_many_at_a_time(void **state)
{
	int ids[3], g;

	ask("session.open", "{\"name\":\"s\",\"max_ops\":1}");
	for (int i = 0; i < 3; i++)
		ids[i] = ask("file.stat", "{\"path\":\"/\",\"session\":\"s\"}");
	assert_int_equal(t.n_kept, 1);
	g = ask("session.get", "{\"session\":\"s\"}");
	assert_int_equal(figure(result_of(g), "running"), 1);
	assert_int_equal(figure(result_of(g), "queued"), 2);
	ask("vm.state", "{\"session\":\"s\"}"); /* gets through */
	assert_int_equal(t.n_kept, 2);
	assert_int_equal(
		code_of(ask("file.stat", "{\"io\":\"fd\",\"session\":\"s\"}")),
		RPC_E_FULL);
	done(0, NULL);
	run(5);
	assert_int_equal(t.n_kept, 3);
	assert_non_null(answer_of(ids[0]));
	assert_null(answer_of(ids[1]));
	ask("session.set", "{\"session\":\"s\",\"max_ops\":2}");
	run(5);
	assert_int_equal(t.n_kept, 4);
}

/* The kernel of an op.call with @params, as it is carried out. */
static const char *kernel_of(const char *params)
{
	return json_string_value(
		json_object_get(result_of(ask("op.call", params)), "kernel"));
}

static void a_session_has_a_kernel(void **state)
{
	int g = ask("session.open", "{\"name\":\"s\",\"kernel\":\"mine\"}");

	assert_string_equal(
		json_string_value(json_object_get(result_of(g), "kernel")),
		"mine");
	assert_string_equal(kernel_of("{\"session\":\"s\",\"op\":\"o\"}"),
			    "mine");
	assert_string_equal(
		kernel_of("{\"session\":\"s\",\"op\":\"o\",\"kernel\":\"k\"}"),
		"k");
	assert_null(kernel_of("{\"op\":\"o\"}")); /* of "default" */
	ask("session.set", "{\"session\":\"default\",\"kernel\":\"k\"}");
	assert_string_equal(kernel_of("{\"op\":\"o\"}"), "k");
	ask("session.set", "{\"session\":\"s\",\"kernel\":\"\"}");
	assert_null(kernel_of("{\"session\":\"s\",\"op\":\"o\"}"));
}

static void closing_ends_its_ops_or_lets_them_go(void **state)
{
	int ids[3], c;

	ask("session.open", "{\"name\":\"s\",\"max_ops\":1}");
	for (int i = 0; i < 2; i++)
		ids[i] = ask("file.stat", "{\"path\":\"/\",\"session\":\"s\"}");
	c = ask("session.close", "{\"session\":\"s\"}");
	assert_int_equal(figure(result_of(c), "ops"), 2);
	assert_int_equal(code_of(ids[0]), RPC_E_CANCELLED);
	assert_int_equal(code_of(ids[1]), RPC_E_CANCELLED);
	assert_int_equal(code_of(ask("file.stat", "{\"session\":\"s\"}")),
			 RPC_E_GONE);
	ask("session.open", "{\"name\":\"s\",\"max_ops\":1}");
	for (int i = 0; i < 2; i++)
		ids[i] = ask("file.stat", "{\"path\":\"/\",\"session\":\"s\"}");
	ask("session.close", "{\"session\":\"s\",\"kill\":\"detach\"}");
	run(5);
	done(1, NULL);
	done(2, NULL);
	assert_non_null(result_of(ids[0]));
	assert_non_null(result_of(ids[1]));
	assert_int_equal(
		code_of(ask("session.close", "{\"session\":\"default\"}")),
		RPC_E_PERM);
}

static void all_of_a_session_can_be_cancelled(void **state)
{
	int a, b, other = ask("file.stat", "{\"path\":\"/\"}");

	ask("session.open", "{\"name\":\"s\",\"max_ops\":1}");
	a = ask("file.stat", "{\"path\":\"/\",\"session\":\"s\"}");
	b = ask("file.stat", "{\"path\":\"/\",\"session\":\"s\"}");
	assert_int_equal(
		figure(result_of(ask("op.cancel", "{\"session\":\"s\"}")),
		       "cancelled"),
		2);
	assert_int_equal(code_of(a), RPC_E_CANCELLED);
	assert_int_equal(code_of(b), RPC_E_CANCELLED);
	assert_null(answer_of(other));
	run(5);
	ask("file.stat", "{\"path\":\"/\",\"session\":\"s\"}");
	assert_int_equal(t.n_kept, 3); /* there is room again */
}

static void who_waits_and_leaves_is_not_worked_for(void **state)
{
	ask("session.open", "{\"name\":\"s\",\"max_ops\":1}");
	ask("file.stat", "{\"path\":\"/\",\"session\":\"s\"}");
	ask("file.stat", "{\"path\":\"/\",\"session\":\"s\"}");
	ask("file.stat", "{\"path\":\"/\",\"session\":\"s\",\"keep\":true}");
	rpc_free(t.rpc);
	t.rpc = client(&t.user);
	run(5);
	assert_int_equal(t.n_kept, 2); /* the first, and what is kept */
	assert_int_equal(json_array_size(result_of(ask("op.list", "{}"))), 1);
}

static void an_unused_session_ends(void **state)
{
	struct session *s;

	assert_int_equal(session_open(t.sessions, NULL, &s), 0);
	assert_string_equal(session_name(s), "s1");
	session_limits(s)->ttl_ms = 5;
	session_changed(s);
	run(30);
	assert_null(session_find(t.sessions, "s1"));
}

static void sessions_are_bounded_and_named_once(void **state)
{
	assert_int_equal(code_of(ask("session.open", "{\"name\":\"default\"}")),
			 RPC_E_EXIST);
	assert_int_equal(code_of(ask("session.open", "{\"name\":\"\"}")),
			 RPC_INVALID_PARAMS);
	assert_int_equal(code_of(ask("session.open", "{\"max_ops\":-1}")),
			 RPC_INVALID_PARAMS);
	for (int i = 1; i < SESSIONS_MAX; i++)
		assert_non_null(result_of(ask("session.open", "{}")));
	assert_int_equal(code_of(ask("session.open", "{}")), RPC_E_FULL);
	assert_int_equal(json_array_size(result_of(ask("session.list", "{}"))),
			 SESSIONS_MAX);
}

static void a_guest_keeps_nothing(void **state)
{
	int a = ask_as(t.guest_rpc, "world.get", "{\"keep\":true}");

	assert_int_equal(code_of(a), RPC_INVALID_PARAMS);
	assert_int_equal(code_of(ask_as(t.guest_rpc, "op.list", "{}")),
			 RPC_E_PERM);
	ask_as(t.guest_rpc, "world.get", "{}");
	assert_string_equal(
		json_string_value(json_object_get(
			at(result_of(ask("op.list", "{}")), 0), "who")),
		"guest");
}

static void all_tasks_can_meet(void **state)
{
	struct ops_origin task = { .ops = t.ops, .who = OPS_TASK, .rank = 7 };
	struct rpc *rpc = client(&task);

	n_arrived = 0;
	rpc_set_limit(rpc, SESSION_RUNS + 1);
	for (int i = 0; i <= SESSION_RUNS; i++)
		ask_as(rpc, "sync.arrive", "{}");
	assert_int_equal(n_arrived, SESSION_RUNS + 1);
	ask("vm.state", "{}"); /* and others have their room */
	assert_int_equal(t.n_kept, 1);
	for (int i = 0; i < n_arrived; i++)
		rpc_result(arrived[i], NULL);
	rpc_free(rpc);
}

static void wrong_parameters_are_refused(void **state)
{
	static const char *const wrong[] = {
		"{\"session\":1}",
		"{\"session\":\"\"}",
		"{\"opid\":\"\"}",
		"{\"keep\":\"yes\"}",
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(code_of(ask("file.stat", wrong[i])),
				 RPC_INVALID_PARAMS);
	assert_int_equal(t.n_kept, 0);
}

int main(void)
{
#define test(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		test(what_is_on_its_way_is_listed),
		test(a_cancelled_op_is_answered_once),
		test(an_answer_after_the_cancellation_goes_nowhere),
		test(an_opid_is_carried_out_once),
		test(who_left_is_not_worked_for),
		test(a_kept_result_is_for_who_comes_later),
		test(peeking_leaves_it),
		test(peeking_at_what_is_waited_for_leaves_it),
		test(waiting_for_a_result_ends),
		test(results_are_bounded),
		test(results_grow_old),
		test(a_session_carries_out_so_many_at_a_time),
		test(a_session_has_a_kernel),
		test(closing_ends_its_ops_or_lets_them_go),
		test(all_of_a_session_can_be_cancelled),
		test(who_waits_and_leaves_is_not_worked_for),
		test(an_unused_session_ends),
		test(sessions_are_bounded_and_named_once),
		test(a_guest_keeps_nothing),
		test(all_tasks_can_meet),
		test(wrong_parameters_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
