/* test_op_io.c - bytes between a client's connection and a guest's end */
#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "param.h"
#include "pump.h"
#include "stream.h"

static struct {
	struct loop *loop;
	struct loop_timer *stop;
	int n_over;

	struct rpc *rpc;
	struct streams *streams;
	json_t *said; /* an array of what the client got */
} t;

static void on_stop(void *arg)
{
	loop_stop(t.loop, 0);
}

static void run(void)
{
	loop_timer_set(t.stop, 10);
	assert_int_equal(loop_run(t.loop), 0);
}

static int send_text(const char *text, size_t len, void *arg)
{
	json_array_append_new(t.said, json_loadb(text, len, 0, NULL));
	return 0;
}

static int set_up(void **state)
{
	memset(&t, 0, sizeof(t));
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(loop_new(&t.loop, NULL), 0);
	assert_int_equal(loop_timer_add(t.loop, -1, on_stop, NULL, &t.stop), 0);
	t.said = json_array();
	t.streams = streams_new(t.loop);
	t.rpc = rpc_new(streams_methods, t.streams, send_text, NULL);
	streams_set_rpc(t.streams, t.rpc);
	return 0;
}

static int tear_down(void **state)
{
	streams_free(t.streams);
	rpc_free(t.rpc);
	json_decref(t.said);
	loop_timer_free(t.stop);
	loop_free(t.loop);
	return 0;
}

/* -- pump ------------------------------------------------------------------ */

static void on_over(void *arg)
{
	t.n_over++;
}

static void a_pump_carries_both_ways_and_passes_ends_on(void **state)
{
	int a[2], b[2];
	struct pump *p;
	char got[32] = "";

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, a), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, b), 0);
	assert_int_equal(
		pump_new(t.loop, a[1], b[1], "first ", 6, on_over, NULL, &p),
		0);
	assert_int_equal(write(a[0], "second", 6), 6);
	assert_int_equal(write(b[0], "back", 4), 4);
	run();
	assert_int_equal(read(b[0], got, sizeof(got)), 12);
	assert_memory_equal(got, "first second", 12);
	assert_int_equal(read(a[0], got, sizeof(got)), 4);
	shutdown(a[0], SHUT_WR);
	run();
	assert_int_equal(read(b[0], got, sizeof(got)), 0);
	assert_int_equal(t.n_over, 0); /* the other way still flows */
	assert_int_equal(write(b[0], "more", 4), 4);
	run();
	assert_int_equal(read(a[0], got, sizeof(got)), 4);
	close(b[0]);
	run();
	assert_int_equal(read(a[0], got, sizeof(got)), 0);
	assert_int_equal(t.n_over, 1);
	pump_free(p);
	close(a[0]);
}

static void a_side_that_does_not_read_makes_the_other_wait(void **state)
{
	static char much[1 << 20];
	size_t sent = 0, got = 0;
	int a[2], b[2];
	struct pump *p;
	ssize_t n;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, a), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, b), 0);
	assert_int_equal(
		pump_new(t.loop, a[1], b[1], NULL, 0, on_over, NULL, &p), 0);
	for (int i = 0; i < 20; i++) {
		while ((n = send(a[0], much, 65536, MSG_DONTWAIT)) > 0)
			sent += (size_t)n;
		run();
	}
	assert_true(sent < 4 << 20);
	close(a[0]);
	for (int i = 0; i < 200 && got < sent; i++) {
		while ((n = recv(b[0], much, sizeof(much), MSG_DONTWAIT)) > 0)
			got += (size_t)n;
		run();
	}
	assert_int_equal(got, sent);
	pump_free(p);
	close(b[0]);
}

/* -- streams --------------------------------------------------------------- */

/* How many of @method the client got; their data's bytes in *ret. */
static int heard(const char *method, size_t *ret)
{
	json_t *m, *params;
	int n = 0;
	size_t i;

	*ret = 0;
	json_array_foreach (t.said, i, m) {
		const char *name =
			json_string_value(json_object_get(m, "method"));

		if (!name || strcmp(name, method) != 0)
			continue;
		n++;
		params = json_object_get(m, "params");
		*ret += json_string_length(json_object_get(params, "data"));
		*ret += (size_t)json_integer_value(
			json_object_get(params, "bytes"));
	}
	return n;
}

/* A request of the client's; the code of the answer's error, or 0. */
static int say(const char *method, json_t *params)
{
	json_t *m = json_pack("{s:s, s:i, s:s, s:o}", "jsonrpc", "2.0", "id", 1,
			      "method", method, "params", params);
	char *text = json_dumps(m, 0);
	size_t before = json_array_size(t.said), i;
	int code = 0;
	json_t *one;

	rpc_receive(t.rpc, text, strlen(text));
	for (i = before; i < json_array_size(t.said); i++) {
		one = json_array_get(t.said, i);
		if (json_object_get(one, "error"))
			code = (int)json_integer_value(json_object_get(
				json_object_get(one, "error"), "code"));
	}
	free(text);
	json_decref(m);
	return code;
}

static void output_flows_as_far_as_its_credit(void **state)
{
	static char much[STREAM_WINDOW];
	size_t bytes, sent = 0;
	int fd, id;
	ssize_t n;

	memset(much, 'x', sizeof(much));
	assert_int_equal(streams_add(t.streams, false, &fd, &id), 0);
	assert_int_equal(write(fd, "early", 5), 5);
	run();
	assert_int_equal(heard("stream.data", &bytes), 0);
	streams_begin(t.streams, id);
	for (int i = 0; i < 100; i++) {
		while ((n = send(fd, much, 4096, MSG_DONTWAIT)) > 0)
			sent += (size_t)n;
		run();
	}
	heard("stream.data", &bytes);
	assert_int_equal(bytes, STREAM_WINDOW);
	assert_int_equal(say("stream.credit", json_pack("{s:i, s:i}", "stream",
							id, "bytes", 100)),
			 0);
	run();
	heard("stream.data", &bytes);
	assert_int_equal(bytes, STREAM_WINDOW + 100);
	assert_int_equal(heard("stream.eof", &bytes), 0);
	close(fd);
	say("stream.credit",
	    json_pack("{s:i, s:i}", "stream", id, "bytes", STREAM_WINDOW));
	for (int i = 0; i < 100 && !heard("stream.eof", &bytes); i++)
		say("stream.credit", json_pack("{s:i, s:i}", "stream", id,
					       "bytes", STREAM_WINDOW)),
			run();
	assert_int_equal(heard("stream.eof", &bytes), 1);
	heard("stream.data", &bytes);
	assert_int_equal(bytes, sent + 5);
}

static void input_gets_credit_as_it_is_taken(void **state)
{
	static char much[STREAM_WINDOW + 1];
	size_t bytes;
	char got[8];
	int fd, id;

	memset(much, 'x', sizeof(much) - 1);
	assert_int_equal(streams_add(t.streams, true, &fd, &id), 0);
	streams_begin(t.streams, id);
	heard("stream.credit", &bytes);
	assert_int_equal(bytes, STREAM_WINDOW);
	assert_int_equal(say("stream.data", json_pack("{s:i, s:s}", "stream",
						      id, "data", "one")),
			 0);
	assert_int_equal(read(fd, got, sizeof(got)), 3);
	heard("stream.credit", &bytes);
	assert_int_equal(bytes, STREAM_WINDOW + 3);
	assert_int_equal(say("stream.eof", json_pack("{s:i}", "stream", id)),
			 0);
	assert_int_equal(read(fd, got, sizeof(got)), 0);
	assert_int_equal(say("stream.data", json_pack("{s:i, s:s}", "stream",
						      id, "data", "late")),
			 RPC_E_GONE);
	close(fd);
}

static void who_sends_more_than_the_credit_loses_the_stream(void **state)
{
	static char piece[65537];
	size_t bytes;
	int fd, id, code = 0;

	memset(piece, 'x', sizeof(piece) - 1);
	assert_int_equal(streams_add(t.streams, true, &fd, &id), 0);
	streams_begin(t.streams, id);
	/* nobody reads: the socket takes some, then the window is full */
	for (int i = 0; i < 100 && !code; i++)
		code = say("stream.data", json_pack("{s:i, s:s}", "stream", id,
						    "data", piece));
	assert_int_equal(code, RPC_E_FULL);
	assert_int_equal(heard("stream.eof", &bytes), 1);
	assert_int_equal(say("stream.data", json_pack("{s:i}", "stream", id)),
			 RPC_E_GONE);
	close(fd);
	assert_int_equal(say("stream.data", json_object()), RPC_E_GONE);
	assert_int_equal(say("stream.credit", json_pack("{s:i, s:i}", "stream",
							id, "bytes", -1)),
			 RPC_INVALID_PARAMS);
}

static void streams_are_bounded(void **state)
{
	int fd[STREAMS_MAX], one, id;

	for (int i = 0; i < STREAMS_MAX; i++)
		assert_int_equal(streams_add(t.streams, false, &fd[i], &id), 0);
	assert_int_equal(streams_add(t.streams, false, &one, &id), -EMFILE);
	for (int i = 0; i < STREAMS_MAX; i++)
		close(fd[i]);
}

int main(void)
{
#define test(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		test(a_pump_carries_both_ways_and_passes_ends_on),
		test(a_side_that_does_not_read_makes_the_other_wait),
		test(output_flows_as_far_as_its_credit),
		test(input_gets_credit_as_it_is_taken),
		test(who_sends_more_than_the_credit_loses_the_stream),
		test(streams_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
