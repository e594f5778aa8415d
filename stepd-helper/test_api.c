#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "api.h"
#include "cleanup.h"
#include "localsock.h"

static struct {
	char path[64];
	int dir, client;
	struct loop *loop;
	struct loop_timer *stop;
	struct ops *ops;
	struct api *api;
	struct rpc_call *kept; /* of "later" */
} t;

static void echo(struct rpc_call *call, const json_t *params, void *arg)
{
	rpc_result(call, json_deep_copy(params));
}

static void later(struct rpc_call *call, const json_t *params, void *arg)
{
	t.kept = call;
}

static void large(struct rpc_call *call, const json_t *params, void *arg)
{
	size_t len = (size_t)json_integer_value(json_object_get(params, "len"));
	char *text = malloc(len);

	memset(text, 'x', len);
	rpc_result(call, json_stringn(text, len));
	free(text);
}

static void take_one(struct rpc_call *call, const json_t *params, void *arg)
{
	struct ops_origin *from = rpc_call_origin(call);
	int fd = api_take_fd(from->client);

	if (fd < 0) {
		rpc_fail(call, RPC_E_NOENT, "none came");
		return;
	}
	assert_int_equal(write(fd, "taken", 5), 5);
	close(fd);
	rpc_result(call, NULL);
}

static const struct rpc_method methods[] = {
	{ "echo", echo },
	{ "large", large },
	{ "later", later },
	{ "take", take_one },
	{ 0 },
};

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
	strcpy(t.path, "/tmp/test_api.XXXXXX");
	assert_non_null(mkdtemp(t.path));
	t.dir = open(t.path, O_PATH | O_DIRECTORY);
	assert_int_equal(loop_new(&t.loop, NULL), 0);
	assert_int_equal(loop_timer_add(t.loop, -1, on_stop, NULL, &t.stop), 0);
	t.ops = ops_new();
	assert_non_null(t.ops);
	assert_int_equal(ops_add(t.ops, methods, NULL), 0);
	assert_int_equal(api_new(t.loop, t.dir, "task.0.sock", t.ops,
				 json_pack("{s:i}", "proto", 1), &t.api, NULL),
			 0);
	t.client = localsock_connect(t.dir, "task.0.sock", SOCK_STREAM);
	assert_true(t.client >= 0);
	return 0;
}

static int tear_down(void **state)
{
	api_free(t.api);
	ops_free(t.ops);
	if (t.kept)
		rpc_result(t.kept, NULL);
	loop_free(t.loop);
	if (t.client >= 0)
		close(t.client);
	close(t.dir);
	return rmdir(t.path); /* the socket's name went with it */
}

static void say(const char *text)
{
	assert_int_equal(send(t.client, text, strlen(text), 0), strlen(text));
}

/* The next line, without its end; "" at the end of file. */
static const char *hear(void)
{
	static char line[API_REPLY_MAX + 1];
	size_t len = 0;

	for (int waits = 0; waits < 10000;) {
		ssize_t n = recv(t.client, line + len, sizeof(line) - 1 - len,
				 MSG_DONTWAIT | MSG_PEEK);
		const char *end =
			n > 0 ? memchr(line + len, '\n', (size_t)n) : NULL;

		if (n < 0) {
			run(1);
			waits++;
			continue;
		}
		if (end)
			n = end + 1 - (line + len);
		recv(t.client, line + len, (size_t)n, 0);
		len += (size_t)n;
		if (n == 0 || end) {
			line[end ? len - 1 : len] = '\0';
			return line;
		}
	}
	fail_msg("no answer");
	return NULL;
}

static void assert_heard(const char *part)
{
	const char *line = hear();

	if (!strstr(line, part))
		fail_msg("no %s in %.200s", part, line);
}

#define HELLO \
	"{\"jsonrpc\":\"2.0\",\"method\":\"hello\",\"params\":{\"proto\":1}}"

static void a_client_is_greeted_and_answered(void **state)
{
	assert_string_equal(hear(), HELLO);
	say("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"echo\",\"params\":{\"a\":2}}\n");
	assert_heard("\"result\":{\"a\":2}");
}

static void the_socket_is_its_owners_only(void **state)
{
	struct stat st;

	assert_int_equal(fstatat(t.dir, "task.0.sock", &st, 0), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void a_line_may_come_in_pieces_and_two_at_once(void **state)
{
	hear();
	say("{\"jsonrpc\":\"2.0\",\"id\":1,");
	run(5);
	say("\"method\":\"echo\"}\n\n{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"echo\"}\n{");
	assert_heard("\"id\":1");
	assert_heard("\"id\":2");
}

static void what_is_no_request_is_refused_by_code(void **state)
{
	hear();
	say("nonsense\n");
	assert_heard("-32700");
	say("[]\n");
	assert_heard("-32600");
	say("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"vm.fly\"}\n");
	assert_heard("-32601");
	say("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"echo\",\"params\":[]}\n");
	assert_heard("-32602");
}

/* Two descriptors of @fd along with @line. */
static void say_with_fd(const char *line, int fd)
{
	union {
		char buf[CMSG_SPACE(2 * sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { (void *)(uintptr_t)line, strlen(line) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.buf,
			      .msg_controllen = sizeof(control.buf) };
	struct cmsghdr *h = CMSG_FIRSTHDR(&msg);
	int fds[] = { fd, fd };

	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(fds));
	memcpy(CMSG_DATA(h), fds, sizeof(fds));
	assert_int_equal(sendmsg(t.client, &msg, 0), strlen(line));
}

static void a_descriptor_that_is_not_taken_is_closed(void **state)
{
	char got[8] = "";
	int fd[2];

	hear();
	assert_int_equal(pipe(fd), 0);
	say_with_fd("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"take\"}\n",
		    fd[1]);
	close(fd[1]);
	assert_heard("\"result\":{}");
	assert_int_equal(read(fd[0], got, sizeof(got)), 5);
	assert_string_equal(got, "taken");
	assert_int_equal(read(fd[0], got, sizeof(got)), 0);
	close(fd[0]);
	say("{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"take\"}\n");
	assert_heard("E_NOENT");
}

/* @len bytes of @text by client @fd, as the task takes them. */
static void say_long(int fd, const char *text, size_t len)
{
	for (int waits = 0; len && waits < 10000;) {
		ssize_t n = send(fd, text, len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0) {
			assert_int_equal(errno, EAGAIN);
			run(1);
			waits++;
			continue;
		}
		text += n;
		len -= (size_t)n;
	}
	assert_int_equal(len, 0);
}

#define ECHO_HEAD \
	"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"echo\",\"params\":{\"a\":\""
#define ECHO_TAIL "\"}}\n"

/* A request with @len bytes in it. */
static char *long_echo(size_t len)
{
	char *line = malloc(len + sizeof(ECHO_HEAD ECHO_TAIL));

	assert_non_null(line);
	memcpy(line, ECHO_HEAD, strlen(ECHO_HEAD));
	memset(line + strlen(ECHO_HEAD), 'x', len);
	memcpy(line + strlen(ECHO_HEAD) + len, ECHO_TAIL, sizeof(ECHO_TAIL));
	return line;
}

static void a_line_has_room_for_a_mib(void **state)
{
	char *line = long_echo(1024 * 1024);

	hear();
	for (int i = 0; i < 2; i++) {
		const char *answer;

		say_long(t.client, line, strlen(line));
		answer = hear();
		assert_true(strlen(answer) > 1024 * 1024);
		assert_non_null(strstr(answer, "\"result\":{\"a\":\"xxx"));
	}
	free(line);
	say("{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"echo\"}\n");
	assert_heard("\"id\":2");
}

static void too_long_a_line_ends_the_connection(void **state)
{
	static char line[API_LINE_MAX + 1];

	memset(line, ' ', sizeof(line) - 1);
	hear();
	say_long(t.client, line, strlen(line));
	assert_heard("E_TOOBIG");
	assert_string_equal(hear(), "");
}

static void who_stops_in_mid_line_stops_nobody(void **state)
{
	char *line = long_echo(1024 * 1024);
	size_t len = strlen(line);
	int slow = t.client;

	hear();
	say_long(slow, line, len / 2);
	t.client = localsock_connect(t.dir, "task.0.sock", SOCK_STREAM);
	assert_string_equal(hear(), HELLO);
	say_long(t.client, line, len);
	assert_heard("\"result\":{\"a\":\"xxx");
	close(t.client);
	t.client = slow;
	say_long(slow, line + len / 2, len - len / 2);
	assert_heard("\"result\":{\"a\":\"xxx");
	free(line);
}

/* Together they keep API_OUT_SUM at the most: then an answer is an error. */
static void who_reads_nothing_costs_no_more_than_is_said(void **state)
{
	enum { LEN = API_REPLY_MAX - 4096, N = API_OUT_SUM / LEN + 1 };
	int fds[N];
	char ask[128];

	hear();
	snprintf(
		ask, sizeof(ask),
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"large\",\"params\":{\"len\":%d}}\n",
		LEN);
	for (int i = 0; i < N; i++) {
		fds[i] = localsock_connect(t.dir, "task.0.sock", SOCK_STREAM);
		say_long(fds[i], ask, strlen(ask));
		run(5);
	}
	close(t.client);
	t.client = fds[N - 1];
	assert_string_equal(hear(), HELLO);
	assert_heard("E_FULL");
	for (int i = 1; i < N - 1; i++)
		close(fds[i]);
	run(5);
	say(ask); /* there is room again */
	assert_heard("\"result\":\"xxx");
	close(t.client);
	t.client = fds[0];
	assert_string_equal(hear(), HELLO);
	assert_heard("\"result\":\"xxx");
}

static void ask_as_many_as_may_wait(struct rpc_call *calls[API_CALLS])
{
	static const char ask[] =
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"later\"}\n";

	hear();
	for (int i = 0; i < API_CALLS; i++) {
		say(ask);
		run(0);
		calls[i] = TAKE_PTR(t.kept);
		assert_non_null(calls[i]);
	}
}

static void who_asks_more_waits(void **state)
{
	struct rpc_call *calls[API_CALLS];

	ask_as_many_as_may_wait(calls);
	say("{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"later\"}\n"
	    "{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"later\"}\n");
	shutdown(t.client, SHUT_WR);
	run(5);
	assert_null(t.kept);
	for (int i = 0; i < API_CALLS; i++) {
		rpc_result(calls[i], NULL);
		assert_heard("\"id\":1,\"result\":{}");
		run(1);
		if (i < 2) { /* there is room for the next one */
			assert_non_null(t.kept);
			calls[i] = TAKE_PTR(t.kept);
		}
	}
	rpc_result(calls[0], NULL);
	assert_heard("\"id\":2,\"result\":{}");
	rpc_result(calls[1], NULL);
	assert_heard("\"id\":3,\"result\":{}");
	assert_string_equal(hear(), "");
}

static void on_gone(struct rpc_call *call, void *arg)
{
	*(bool *)arg = true;
	rpc_result(call, NULL);
}

static void who_waits_and_leaves_is_noticed(void **state)
{
	struct rpc_call *calls[API_CALLS];
	bool gone = false;

	ask_as_many_as_may_wait(calls);
	rpc_on_gone(calls[0], on_gone, &gone);
	close(TAKE_FD(t.client));
	for (int i = 0; i < 1000 && !gone; i++)
		run(1);
	assert_true(gone);
	for (int i = 1; i < API_CALLS; i++)
		rpc_result(calls[i], NULL);
}

static void who_has_sent_all_gets_all_answers(void **state)
{
	hear();
	say("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"later\"}\n");
	shutdown(t.client, SHUT_WR);
	run(5);
	assert_non_null(t.kept);
	rpc_result(t.kept, NULL);
	t.kept = NULL;
	assert_heard("\"result\":{}");
	assert_string_equal(hear(), "");
}

static void who_does_not_read_is_not_read_from(void **state)
{
	char buf[4096] = "";
	int sent = 0;

	hear();
	say("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"large\",\"params\":{\"len\":600000}}\n");
	run(5);
	memset(buf, '\n', sizeof(buf));
	while (send(t.client, buf, sizeof(buf), MSG_DONTWAIT) > 0 &&
	       ++sent < 10000)
		run(0);
	assert_true(sent < 10000);
	assert_heard("xxx");
}

/* As a program does that sends all of its input before it looks at any output:
 * it would wait for us, and we for it. */
static void who_reads_later_is_read_from(void **state)
{
	hear();
	for (int i = 0; i < 3; i++)
		say("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"large\",\"params\":{\"len\":100000}}\n");
	run(5);
	say("{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"later\"}\n");
	for (int waits = 0; !t.kept && waits < 1000; waits++)
		run(1);
	assert_non_null(t.kept);
	for (int i = 0; i < 3; i++)
		assert_heard("xxx");
}

static void too_long_an_answer_is_an_error(void **state)
{
	hear();
	say("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"large\",\"params\":{\"len\":17000000}}\n");
	assert_heard("\"error\"");
}

static void a_client_that_left_is_forgotten(void **state)
{
	hear();
	say("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"later\"}\n");
	run(5);
	close(t.client);
	run(5);
	rpc_result(t.kept, NULL); /* to nobody */
	t.kept = NULL;
	t.client = localsock_connect(t.dir, "task.0.sock", SOCK_STREAM);
	assert_string_equal(hear(), HELLO);
}

static void wait_for_greeting(int fd)
{
	char byte;

	for (int i = 0; i < 10000; i++) {
		if (recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 1)
			return;
		run(1);
	}
	fail_msg("nobody greets");
}

static void clients_are_bounded(void **state)
{
	int fds[API_CLIENTS];

	hear();
	for (int i = 0; i < API_CLIENTS; i++)
		fds[i] = localsock_connect(t.dir, "task.0.sock", SOCK_STREAM);
	for (int i = 0; i < API_CLIENTS - 1; i++)
		wait_for_greeting(fds[i]);
	run(20);
	close(t.client);
	t.client = fds[API_CLIENTS - 1];
	assert_string_equal(hear(), ""); /* one too many */
	for (int i = 0; i < API_CLIENTS - 1; i++)
		close(fds[i]);
}

int main(void)
{
#define test(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		test(a_client_is_greeted_and_answered),
		test(the_socket_is_its_owners_only),
		test(a_line_may_come_in_pieces_and_two_at_once),
		test(what_is_no_request_is_refused_by_code),
		test(a_descriptor_that_is_not_taken_is_closed),
		test(a_line_has_room_for_a_mib),
		test(too_long_a_line_ends_the_connection),
		test(who_stops_in_mid_line_stops_nobody),
		test(who_reads_nothing_costs_no_more_than_is_said),
		test(who_asks_more_waits),
		test(who_waits_and_leaves_is_noticed),
		test(who_has_sent_all_gets_all_answers),
		test(who_does_not_read_is_not_read_from),
		test(who_reads_later_is_read_from),
		test(too_long_an_answer_is_an_error),
		test(a_client_that_left_is_forgotten),
		test(clients_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
