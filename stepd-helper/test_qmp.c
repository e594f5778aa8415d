#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "cleanup.h"
#include "qmp.h"

/* A QEMU by hand: the test writes what QEMU would say on the other end. */

#define GREETING "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\r\n"
#define EMPTY	 "{\"return\": {}}\r\n"

struct fixture {
	struct loop *loop;
	struct loop_timer *tick;
	struct qmp *q;
	int qemu;
	int ready, gone, events, replies;
	char event[64], why[128], answer[128];
};

static void on_tick(void *arg)
{
	loop_stop(arg, 0);
}

static void spin(struct fixture *f)
{
	for (int i = 0; i < 3; i++) {
		loop_timer_set(f->tick, 1);
		assert_int_equal(loop_run(f->loop), 0);
	}
}

static void on_ready(void *arg)
{
	struct fixture *f = arg;

	f->ready++;
}

static void on_event(const char *name, json_t *data, void *arg)
{
	struct fixture *f = arg;
	const char *id = json_string_value(json_object_get(data, "id"));

	f->events++;
	snprintf(f->event, sizeof(f->event), "%s %s", name, id ? id : "-");
}

static void on_gone(const char *why, void *arg)
{
	struct fixture *f = arg;

	f->gone++;
	snprintf(f->why, sizeof(f->why), "%s", why);
}

/* Answers, one after the other: the number returned, or the error's words. */
static void on_reply(json_t *result, const char *error, void *arg)
{
	struct fixture *f = arg;
	size_t len = strlen(f->answer);

	f->replies++;
	assert_int_equal(!result, !!error);
	if (error)
		snprintf(f->answer + len, sizeof(f->answer) - len, "(%s)",
			 error);
	else
		snprintf(f->answer + len, sizeof(f->answer) - len, "%d",
			 (int)json_integer_value(result));
}

static const struct qmp_ops ops = { on_ready, on_event, on_gone };

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int sv[2];

	*state = f;
	if (loop_new(&f->loop, NULL) < 0 ||
	    loop_timer_add(f->loop, -1, on_tick, f->loop, &f->tick) < 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
		return -1;
	f->qemu = sv[1];
	return qmp_new(f->loop, sv[0], &ops, f, &f->q, NULL);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	qmp_free(f->q);
	if (f->qemu >= 0)
		close(f->qemu);
	loop_timer_free(f->tick);
	loop_free(f->loop);
	free(f);
	return 0;
}

static void say(struct fixture *f, const char *text)
{
	assert_int_equal(write(f->qemu, text, strlen(text)), strlen(text));
	spin(f);
}

static const char *hear(struct fixture *f)
{
	static char buf[1024];
	ssize_t n = recv(f->qemu, buf, sizeof(buf) - 1, MSG_DONTWAIT);

	buf[n > 0 ? n : 0] = '\0';
	return buf;
}

static void greet(struct fixture *f)
{
	say(f, GREETING);
	assert_string_equal(hear(f), "{\"execute\":\"qmp_capabilities\"}\n");
	say(f, EMPTY);
	assert_int_equal(f->ready, 1);
}

static void ask(struct fixture *f, const char *command)
{
	assert_int_equal(qmp_send(f->q, command, NULL, on_reply, f), 0);
}

/* The conversation is over, and all know. */
static void assert_over(struct fixture *f, const char *why)
{
	assert_int_equal(f->gone, 1);
	if (!strstr(f->why, why))
		fail_msg("'%s' has no '%s'", f->why, why);
	assert_int_equal(qmp_send(f->q, "quit", NULL, on_reply, f), -ENOTCONN);
	assert_int_equal(qmp_send(f->q, "quit", json_object(), NULL, NULL),
			 -ENOTCONN);
	spin(f);
	assert_int_equal(f->gone, 1);
}

/* -- ends ------------------------------------------------------------------ */

static void garbage(void **state, const char *text)
{
	struct fixture *f = *state;

	say(f, text);
	for (int i = 0; i < 1000 && !f->gone; i++)
		spin(f);
	assert_over(f, "no JSON object");
	assert_int_equal(f->events + f->ready, 0);
}

static void test_words(void **state)
{
	garbage(state, "Segmentation fault\n" GREETING);
}

static void test_no_object(void **state)
{
	garbage(state, "[]\n");
}

static void test_two_objects(void **state)
{
	garbage(state, "{\"event\":\"A\"} {\"event\":\"B\"}\n");
}

static void test_empty_line(void **state)
{
	garbage(state, "\r\n");
}

static void test_deep(void **state)
{
	static char text[20002];

	memset(text, '[', 20000);
	text[20000] = '\n';
	garbage(state, text);
}

static void test_long_line(void **state)
{
	struct fixture *f = *state;
	static char text[1 << 16];

	memset(text, 'x', sizeof(text));
	for (int i = 0; i < 17 && !f->gone; i++) {
		size_t sent = 0;

		while (sent < sizeof(text) && !f->gone) {
			ssize_t n =
				send(f->qemu, text + sent, sizeof(text) - sent,
				     MSG_DONTWAIT | MSG_NOSIGNAL);

			sent += n > 0 ? (size_t)n : 0;
			spin(f);
		}
	}
	assert_over(f, "too long a line");
}

static void test_closed(void **state)
{
	struct fixture *f = *state;

	greet(f);
	ask(f, "query-status");
	ask(f, "query-cpus-fast");
	close(TAKE_FD(f->qemu));
	spin(f);
	assert_string_equal(f->answer,
			    "(QEMU's monitor closed)(QEMU's monitor closed)");
	assert_over(f, "closed");
}

static void test_closed_in_line(void **state)
{
	struct fixture *f = *state;

	say(f, "{\"QMP\": ");
	close(TAKE_FD(f->qemu));
	spin(f);
	assert_int_equal(f->ready, 0);
	assert_over(f, "closed");
}

static void test_greeted_twice(void **state)
{
	struct fixture *f = *state;

	greet(f);
	say(f, GREETING);
	assert_int_equal(f->ready, 1);
	assert_over(f, "greeted twice");
}

static void test_freed_with_calls(void **state)
{
	struct fixture *f = *state;

	greet(f);
	ask(f, "query-status");
	qmp_free(TAKE_PTR(f->q));
	spin(f);
	assert_int_equal(f->replies + f->gone, 0); /* who frees knows */
	qmp_free(NULL);
}

static void test_nothing_after_gone(void **state)
{
	struct fixture *f = *state;

	/* lines that came along with the bad one are not looked at */
	greet(f);
	say(f, "{\"event\": \"A\"}\nx\n{\"event\": \"B\"}\n");
	assert_string_equal(f->event, "A -");
	assert_int_equal(f->events, 1);
	assert_over(f, "no JSON");
}

/* -- answers --------------------------------------------------------------- */

static void test_errors(void **state)
{
	struct fixture *f = *state;

	greet(f);
	ask(f, "a");
	ask(f, "b");
	ask(f, "c");
	ask(f, "d");
	say(f, "{\"error\": {\"class\": \"X\", \"desc\": \"no such\"}}\n");
	say(f, "{\"error\": {\"class\": \"X\"}}\n");
	say(f, "{\"error\": 5}\n{\"id\": 3}\n");
	assert_string_equal(
		f->answer,
		"(no such)(QEMU gave no reason)(QEMU gave no reason)(QEMU gave no reason)");
	assert_int_equal(f->gone, 0);
}

static void test_refused_capabilities(void **state)
{
	struct fixture *f = *state;

	say(f, GREETING);
	say(f, "{\"error\": {\"desc\": \"no\"}}\n");
	assert_int_equal(f->ready, 0);
}

static void test_unasked_answer(void **state)
{
	struct fixture *f = *state;

	greet(f);
	say(f, EMPTY EMPTY);
	ask(f, "a");
	say(f, "{\"return\": 7}\n");
	assert_string_equal(f->answer, "7");
}

static void test_events(void **state)
{
	struct fixture *f = *state;

	say(f, "{\"event\": \"EARLY\"}\n");
	assert_string_equal(f->event, "EARLY -");
	greet(f);
	ask(f, "a");
	ask(f, "b");
	say(f,
	    "{\"return\": 1}\n{\"event\": \"VSERPORT_CHANGE\", \"data\": {\"id\": \"agentport\"}}\n{\"return\": 2}\n");
	assert_string_equal(f->event, "VSERPORT_CHANGE agentport");
	assert_string_equal(f->answer, "12");
	say(f, "{\"event\": \"STOP\", \"data\": 3}\n");
	assert_string_equal(f->event, "STOP -");
	say(f,
	    "{\"event\": 3}\n"); /* neither event nor an answer we wait for */
	assert_int_equal(f->events, 3);
	assert_int_equal(f->gone, 0);
}

static void test_split(void **state)
{
	struct fixture *f = *state;
	static const char text[] =
		"{\"return\": 5}\r\n{\"event\": \"RESET\"}\n";

	greet(f);
	ask(f, "a");
	for (const char *p = text; *p; p++) {
		assert_int_equal(write(f->qemu, p, 1), 1);
		spin(f);
	}
	assert_string_equal(f->answer, "5");
	assert_string_equal(f->event, "RESET -");
}

static void test_long_answer(void **state)
{
	struct fixture *f = *state;
	static char text[300000];
	size_t len = 0, sent = 0;

	greet(f);
	ask(f, "a");
	len = (size_t)sprintf(text, "{\"pad\": \"");
	memset(text + len, 'x', 250000);
	strcpy(text + len + 250000, "\", \"return\": 9}\n");
	len = strlen(text);
	while (sent < len) {
		ssize_t n =
			send(f->qemu, text + sent, len - sent, MSG_DONTWAIT);

		sent += n > 0 ? (size_t)n : 0;
		spin(f);
	}
	spin(f);
	for (int i = 0; i < 100 && !f->replies; i++)
		spin(f);
	assert_string_equal(f->answer, "9");
}

static void test_arguments(void **state)
{
	struct fixture *f = *state;

	greet(f);
	assert_int_equal(qmp_send(f->q, "device_del",
				  json_pack("{s:s}", "id", "a\n\"b"), on_reply,
				  f),
			 0);
	/* one line, whatever is in it */
	assert_string_equal(
		hear(f),
		"{\"execute\":\"device_del\",\"arguments\":{\"id\":\"a\\n\\\"b\"}}\n");
	assert_int_equal(qmp_send(f->q, "quit", NULL, NULL, NULL), 0);
	say(f, "{\"return\": 1}\n" EMPTY);
	assert_string_equal(f->answer, "1");
}

#define TEST(text, fn)                          \
	{                                       \
		text, fn, setup, teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST("words that are no JSON end it", test_words),
		TEST("so does JSON that is no object", test_no_object),
		TEST("and two objects on a line", test_two_objects),
		TEST("and an empty line", test_empty_line),
		TEST("and brackets 20000 deep", test_deep),
		TEST("and a line of more than a MiB", test_long_line),
		TEST("a closed socket fails all calls, once", test_closed),
		TEST("closed in the middle of a line", test_closed_in_line),
		TEST("a second greeting ends it", test_greeted_twice),
		TEST("freed with calls under way", test_freed_with_calls),
		TEST("nothing is heard after a bad line",
		     test_nothing_after_gone),
		TEST("errors bring their words, or some of ours", test_errors),
		TEST("refused capabilities: never ready",
		     test_refused_capabilities),
		TEST("an answer that nobody asked for is nobody's",
		     test_unasked_answer),
		TEST("events come before, between and after answers",
		     test_events),
		TEST("lines may be cut anywhere", test_split),
		TEST("a long answer is put together", test_long_answer),
		TEST("arguments go out on one line", test_arguments),
	};

	return cmocka_run_group_tests_name("qmp", tests, NULL, NULL);
}
