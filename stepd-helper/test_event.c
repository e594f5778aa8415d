/* test_event.c - events: kept, waited for, and as notifications */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "api.h"
#include "localsock.h"
#include "log.h"
#include "op_event.h"

static struct {
	char path[64];
	int dir, client;
	struct loop *loop;
	struct loop_timer *stop;
	struct task task;
	struct ops *ops;
	struct peers *peers;
	struct op_event *events;
	struct api *api;
} t;

static void on_stop(void *arg)
{
	loop_stop(t.loop, 0);
}

static void run(int64_t ms)
{
	loop_timer_set(t.stop, ms);
	assert_int_equal(loop_run(t.loop), 0);
}

static int set_up(void **state)
{
	memset(&t, 0, sizeof(t));
	t.task = (struct task){ .rank = 3, .ranks = 5, .step = "7.0" };
	strcpy(t.path, "/tmp/test_event.XXXXXX");
	assert_non_null(mkdtemp(t.path));
	t.dir = open(t.path, O_PATH | O_DIRECTORY);
	assert_int_equal(loop_new(&t.loop, NULL), 0);
	assert_int_equal(loop_timer_add(t.loop, -1, on_stop, NULL, &t.stop), 0);
	t.ops = ops_new();
	assert_int_equal(
		peers_new(t.loop, &t.task, NULL, t.ops, &t.peers, NULL), 0);
	ops_set_router(t.ops, peers_route, t.peers);
	assert_int_equal(
		op_event_new(t.loop, &t.task, t.peers, t.ops, &t.events), 0);
	assert_int_equal(api_new(t.loop, t.dir, "task.3.sock", t.ops,
				 json_object(), &t.api, NULL),
			 0);
	t.client = localsock_connect(t.dir, "task.3.sock", SOCK_STREAM);
	assert_true(t.client >= 0);
	return 0;
}

static int tear_down(void **state)
{
	op_event_end(t.events);
	api_free(t.api);
	peers_end(t.peers, "the test ends");
	op_event_free(t.events);
	peers_free(t.peers);
	ops_free(t.ops);
	loop_timer_free(t.stop);
	loop_free(t.loop);
	if (t.client >= 0)
		close(t.client);
	close(t.dir);
	return rmdir(t.path);
}

static void say(const char *method, const char *params)
{
	char line[512];
	int n = snprintf(
		line, sizeof(line),
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\",\"params\":%s}\n",
		method, params);

	assert_int_equal(send(t.client, line, (size_t)n, 0), n);
}

/* The next line but a greeting; NULL: none comes. A new reference. */
static json_t *hear_within(int ms)
{
	static char line[1 << 20];
	size_t len = 0;

	for (int waits = 0; waits < ms;) {
		ssize_t n = recv(t.client, line + len, 1, MSG_DONTWAIT);
		json_t *o;

		if (n < 0) {
			run(1);
			waits++;
			continue;
		}
		if (n == 0)
			return NULL;
		if (line[len++] != '\n')
			continue;
		o = json_loadb(line, len, 0, NULL);
		assert_non_null(o);
		if (strcmp("hello",
			   json_string_value(json_object_get(o, "method"))
				   ?: "") != 0)
			return o;
		json_decref(o);
		len = 0;
	}
	return NULL;
}

static json_t *hear(void)
{
	json_t *o = hear_within(10000);

	assert_non_null(o);
	return o;
}

static const char *text_of(const json_t *o, const char *name)
{
	const char *text = json_string_value(json_object_get(o, name));

	return text ? text : "";
}

static json_int_t int_of(const json_t *o, const char *name)
{
	return json_integer_value(json_object_get(o, name));
}

/* The kinds in an answer of event.take, "a b", and its "lost". */
static json_int_t assert_taken(const char *want)
{
	char got[256] = "";
	json_t *o = hear(), *e, *result = json_object_get(o, "result");
	json_int_t lost = int_of(result, "lost");
	size_t i;

	json_array_foreach (json_object_get(result, "events"), i, e) {
		if (i)
			strcat(got, " ");
		strcat(got, text_of(e, "kind"));
	}
	assert_string_equal(got, want);
	json_decref(o);
	return lost;
}

static void assert_answered(int code)
{
	json_t *o = hear();

	assert_int_equal(int_of(json_object_get(o, "error"), "code"), code);
	json_decref(o);
}

/* A notification of @kind. */
static void assert_event(const char *kind)
{
	json_t *o = hear(), *p = json_object_get(o, "params");

	assert_string_equal(text_of(o, "method"), "event");
	assert_string_equal(text_of(p, "kind"), kind);
	assert_int_equal(int_of(p, "sub"), 1);
	json_decref(o);
}

/* -- event.take ------------------------------------------------------------ */

static void what_is_kept_can_be_taken_and_stays(void **state)
{
	op_event_say(t.events, "vm.booting", NULL);
	op_event_say(t.events, "vm.running", json_pack("{s:s}", "from", "x"));
	for (int i = 0; i < 2; i++) {
		say("event.take", "{}");
		assert_int_equal(assert_taken("vm.booting vm.running"), 0);
	}
	say("event.take", "{\"after\":1}");
	assert_taken("vm.running");
	say("event.take", "{\"kinds\":[\"*.boo*\"]}");
	assert_taken("vm.booting");
	say("event.take", "{\"count\":1}");
	assert_taken("vm.booting");
	say("event.take", "{\"after\":2}");
	assert_taken("");
}

static void the_next_is_waited_for(void **state)
{
	op_event_say(t.events, "vm.booting", NULL);
	say("event.take",
	    "{\"after\":1,\"wait_ms\":-1,\"kinds\":[\"vm.paused\"]}");
	assert_null(hear_within(5));
	op_event_say(t.events, "vm.running", NULL); /* not wanted */
	assert_null(hear_within(5));
	op_event_say(t.events, "vm.paused", NULL);
	assert_taken("vm.paused");
	say("event.take", "{\"after\":3,\"wait_ms\":5}");
	assert_taken("");
	say("event.take", "{\"after\":3,\"wait_ms\":-1}");
	run(5);
	op_event_end(t.events);
	assert_taken("task.ended");
}

static void what_was_overtaken_is_counted(void **state)
{
	for (int i = 0; i < OP_EVENT_KEPT + 10; i++)
		op_event_say(t.events, "x", NULL);
	say("event.take", "{\"count\":1}");
	assert_int_equal(assert_taken("x"), 10);
	say("event.take", "{\"after\":4,\"count\":1}");
	assert_int_equal(assert_taken("x"), 6);
}

static void who_left_waits_no_more(void **state)
{
	say("event.take", "{\"wait_ms\":-1}");
	run(5);
	close(t.client);
	run(5);
	op_event_say(t.events, "vm.booting", NULL);
	t.client = localsock_connect(t.dir, "task.3.sock", SOCK_STREAM);
	say("event.take", "{}");
	assert_taken("vm.booting");
}

static void wrong_parameters_are_refused(void **state)
{
	static const char *const wrong[] = {
		"{\"kinds\":\"vm.*\"}", "{\"kinds\":[1]}",  "{\"count\":0}",
		"{\"after\":-1}",	"{\"feed\":\"x\"}", "{\"wait\":1}",
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		say("event.take", wrong[i]);
		assert_answered(RPC_INVALID_PARAMS);
	}
	say("event.subscribe", "{\"to\":{}}");
	assert_answered(RPC_INVALID_PARAMS);
	say("event.subscribe", "{\"to\":\"0-7\"}");
	assert_answered(RPC_E_NOTASK);
	say("event.unsubscribe", "{\"sub\":1}");
	assert_answered(RPC_E_NOENT);
}

static void lines_of_the_log_are_a_feed(void **state)
{
	json_t *o, *e;

	log_debug("a line of %d", 7);
	say("event.take", "{\"feed\":\"log\"}");
	o = hear();
	e = json_array_get(
		json_object_get(json_object_get(o, "result"), "events"), 0);
	assert_string_equal(text_of(e, "kind"), "log.debug");
	assert_string_equal(text_of(e, "text"), "a line of 7");
	json_decref(o);
}

/* -- event.subscribe ------------------------------------------------------- */

static void who_subscribes_is_told(void **state)
{
	op_event_say(t.events, "vm.booting", NULL);
	say("event.subscribe", "{\"kinds\":[\"vm.*\"]}");
	assert_answered(0);
	op_event_say(t.events, "proc.exit", NULL);
	op_event_say(t.events, "vm.running", NULL);
	assert_event("vm.running");
	say("event.unsubscribe", "{\"sub\":1}");
	assert_answered(0);
	op_event_say(t.events, "vm.paused", NULL);
	assert_null(hear_within(5));
}

static void also_of_what_was_before(void **state)
{
	op_event_say(t.events, "vm.booting", NULL);
	op_event_say(t.events, "vm.running", NULL);
	say("event.subscribe", "{\"after\":1}");
	assert_answered(0);
	assert_event("vm.running");
}

static void who_has_sent_all_is_still_told(void **state)
{
	say("event.subscribe", "{}");
	shutdown(t.client, SHUT_WR);
	assert_answered(0);
	op_event_say(t.events, "vm.running", NULL);
	assert_event("vm.running");
}

/* All that was said was either heard or counted. */
static void a_slow_reader_is_told_what_it_missed(void **state)
{
	const int said = 20000;
	json_int_t heard = 0, lost = 0, last = 0;
	char fill[513];
	json_t *o;

	memset(fill, 'x', 512);
	fill[512] = '\0';
	say("event.subscribe", "{}");
	assert_answered(0);
	for (int i = 0; i < said; i++)
		op_event_say(t.events, "x", json_pack("{s:s}", "fill", fill));
	while (heard + lost < said) {
		o = hear();
		if (strcmp(text_of(o, "method"), "event.lost") == 0) {
			lost += int_of(json_object_get(o, "params"), "lost");
			last = heard + lost;
		} else {
			heard++;
			assert_int_equal(
				int_of(json_object_get(o, "params"), "seq"),
				++last);
		}
		json_decref(o);
	}
	assert_int_equal(heard + lost, said);
	assert_true(lost > 0);
	assert_null(hear_within(5));
}

static void a_subscriber_that_leaves_is_forgotten(void **state)
{
	for (int i = 0; i < 2; i++) {
		say("event.subscribe", "{}");
		assert_answered(0);
	}
	close(t.client);
	run(5);
	op_event_say(t.events, "vm.running", NULL);
	t.client = localsock_connect(t.dir, "task.3.sock", SOCK_STREAM);
	say("event.take", "{}");
	assert_taken("vm.running");
}

static void a_task_that_cannot_be_reached_is_an_event(void **state)
{
	json_t *o, *p;

	say("event.subscribe", "{\"to\":\"2-3\"}");
	assert_answered(0);
	peers_end(t.peers, "its node is gone");
	o = hear();
	p = json_object_get(o, "params");
	assert_string_equal(text_of(p, "kind"), "task.unreachable");
	assert_int_equal(int_of(p, "rank"), 2);
	assert_true(strlen(text_of(p, "why")) > 0);
	json_decref(o);
	op_event_say(t.events, "vm.running", NULL); /* our own go on */
	assert_event("vm.running");
}

int main(void)
{
#define test(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		test(what_is_kept_can_be_taken_and_stays),
		test(the_next_is_waited_for),
		test(what_was_overtaken_is_counted),
		test(who_left_waits_no_more),
		test(wrong_parameters_are_refused),
		test(lines_of_the_log_are_a_feed),
		test(who_subscribes_is_told),
		test(also_of_what_was_before),
		test(who_has_sent_all_is_still_told),
		test(a_slow_reader_is_told_what_it_missed),
		test(a_subscriber_that_leaves_is_forgotten),
		test(a_task_that_cannot_be_reached_is_an_event),
	};

	log_setup("", -1, LOG_LEVEL_ERR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
