#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "cleanup.h"
#include "mux.h"
#include "opsock.h"

/* vmop itself, the agent's socket, and a host that the test plays. */

#define WAIT_MS 60000

static struct loop *loop;
static struct loop_timer *timer;
static struct agent agent;
static struct {
	struct mux *mux;
	struct rpc *rpc;
	char method[64]; /* what was asked last */
	json_t *params;
	struct rpc_call *waits; /* msg.recv: not answered yet */
	bool waiter_gone;
	int refuse; /* with this code; 0: answer */
	int n_asked;
} host;
static char dir[64], path[96];
static char out[65536];
static const char *in = ""; /* that the next vmop reads */
static int status;	    /* of the last vmop; -1: it runs */

/* -- the host -------------------------------------------------------------- */

static void on_waiter_gone(struct rpc_call *call, void *arg)
{
	host.waiter_gone = true;
	host.waits = NULL;
	rpc_result(call, NULL);
}

static json_t *result_of(const char *method)
{
	if (strcmp(method, "world.hosts") == 0)
		return json_pack("{s:s}", "text", "10.0.0.1 vm0\n");
	if (strcmp(method, "store.get") == 0)
		return json_pack("{s:{s:i}, s:i}", "value", "a", 1, "version",
				 7);
	if (strcmp(method, "store.list") == 0)
		return json_pack("{s:{s:i, s:i}}", "keys", "one", 1, "two", 2);
	if (strcmp(method, "msg.send") == 0 &&
	    strcmp(json_string_value(json_object_get(host.params, "to")),
		   "all") == 0)
		return json_pack("{s:{s:{}, s:{s:{s:i, s:s}}}}", "results", "0",
				 "1", "error", "code", 13, "message",
				 "vm[1] is full");
	if (strcmp(method, "world.get") == 0)
		return json_pack("{s:i}", "self", 0);
	return json_object();
}

static void on_call(struct rpc_call *call, const char *method,
		    const json_t *params, void *arg)
{
	snprintf(host.method, sizeof(host.method), "%s", method);
	json_decref(host.params);
	host.params = json_deep_copy(params);
	host.n_asked++;
	if (host.refuse) {
		rpc_fail(call, (enum rpc_error)host.refuse, "not now");
	} else if (strcmp(method, "msg.recv") == 0) {
		host.waits = call;
		rpc_on_gone(call, on_waiter_gone, NULL);
	} else {
		rpc_result(call, result_of(method));
	}
}

static void on_up(const struct mux_peer *peer, void *arg)
{
}

static void on_host_ctrl(const char *text, size_t len, void *arg)
{
	rpc_receive(host.rpc, text, len);
}

static void on_agent_ctrl(const char *text, size_t len, void *arg)
{
	rpc_receive(agent.rpc, text, len);
}

static void on_down(const char *why, void *arg)
{
}

static void on_agent_down(const char *why, void *arg)
{
	rpc_forget(agent.rpc, why);
}

static int send_ctrl(const char *text, size_t len, void *arg)
{
	return mux_ctrl(*(struct mux **)arg, text, len);
}

/* -- waiting --------------------------------------------------------------- */

static void on_timer(void *arg)
{
	loop_stop(loop, 1);
}

static void run_until(bool (*is_true)(void), const char *what)
{
	int64_t until = loop_now_ms() + WAIT_MS;

	while (!is_true()) {
		if (loop_now_ms() > until)
			fail_msg("never: %s", what);
		loop_timer_set(timer, 2);
		loop_run(loop);
	}
}
#define RUN_UNTIL(fn) run_until(fn, #fn)

static bool both_are_up(void)
{
	return mux_is_up(host.mux) && mux_is_up(agent.mux);
}

static bool it_has_ended(void)
{
	return status >= 0;
}

static bool it_waits(void)
{
	return host.waits;
}

static bool waiter_is_gone(void)
{
	return host.waiter_gone;
}

/* -- vmop ------------------------------------------------------------------ */

static void on_exit_of_vmop(pid_t pid, int wstatus, void *arg)
{
	status = WIFEXITED(wstatus) ? WEXITSTATUS(wstatus) : 255;
}

/* What it prints and says goes to one file. */
static pid_t start_vmop(uid_t uid, const char *const *args)
{
	const char *argv[16] = { "vmop" };
	char file[128];
	int fds[2];
	pid_t pid;

	for (int i = 0; args[i]; i++)
		argv[i + 1] = args[i];
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(write(fds[1], in, strlen(in)), strlen(in));
	close(fds[1]);
	snprintf(file, sizeof(file), "%s/out", dir);
	unlink(file);
	status = -1;
	pid = fork();
	if (pid == 0) {
		int fd = open(file, O_WRONLY | O_CREAT, 0666);

		dup2(fds[0], STDIN_FILENO);
		dup2(fd, STDOUT_FILENO);
		dup2(fd, STDERR_FILENO);
		setenv(OPSOCK_ENV, path, 1);
		loop_unblock_signals();
		if (uid && setuid(uid) < 0)
			_exit(99);
		execv(VMSTEP_AGENT, (char **)(uintptr_t)argv);
		_exit(98);
	}
	close(fds[0]);
	assert_true(pid > 0);
	assert_int_equal(loop_child(loop, pid, on_exit_of_vmop, NULL), 0);
	return pid;
}

static int end_vmop(void)
{
	char file[128];
	ssize_t n;
	int fd;

	RUN_UNTIL(it_has_ended);
	snprintf(file, sizeof(file), "%s/out", dir);
	fd = open(file, O_RDONLY);
	n = fd < 0 ? 0 : read(fd, out, sizeof(out) - 1);
	out[n > 0 ? n : 0] = '\0';
	if (fd >= 0)
		close(fd);
	return status;
}

#define ARGS(...) ((const char *const[]){ __VA_ARGS__, NULL })

static int vmop(const char *const *args)
{
	start_vmop(0, args);
	return end_vmop();
}

/* -- begin and end --------------------------------------------------------- */

static int begin(void **state)
{
	static const struct mux_ops host_ops = { on_up, on_down, on_host_ctrl };
	static const struct mux_ops agent_ops = { on_up, on_agent_down,
						  on_agent_ctrl };
	static const struct rpc_method none[] = { { 0 } };
	int sv[2];

	in = "";
	memset(&host, 0, sizeof(host));
	memset(&agent, 0, sizeof(agent));
	snprintf(dir, sizeof(dir), "/tmp/vmstep-test-vmop.XXXXXX");
	assert_non_null(mkdtemp(dir));
	chmod(dir, 0755);
	snprintf(path, sizeof(path), "%s/run/ops.sock", dir);
	assert_int_equal(loop_new(&loop, NULL), 0);
	assert_int_equal(loop_timer_add(loop, -1, on_timer, NULL, &timer), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv),
			 0);
	agent.loop = loop;
	assert_int_equal(mux_new(loop, sv[0], &host_ops, NULL, &host.mux, NULL),
			 0);
	assert_int_equal(
		mux_new(loop, sv[1], &agent_ops, NULL, &agent.mux, NULL), 0);
	host.rpc = rpc_new(none, NULL, send_ctrl, &host.mux);
	rpc_set_handler(host.rpc, on_call, NULL);
	agent.rpc = rpc_new(none, NULL, send_ctrl, &agent.mux);
	assert_int_equal(opsock_new(&agent, path, &agent.opsock, NULL), 0);
	RUN_UNTIL(both_are_up);
	return 0;
}

static int end(void **state)
{
	char text[128];

	opsock_free(agent.opsock);
	mux_free(agent.mux);
	mux_free(host.mux);
	rpc_free(agent.rpc);
	rpc_free(host.rpc);
	json_decref(host.params);
	loop_timer_free(timer);
	loop_free(loop);
	snprintf(text, sizeof(text), "%s/out", dir);
	unlink(text);
	snprintf(text, sizeof(text), "%s/run", dir);
	assert_int_equal(rmdir(text), 0); /* the socket has gone */
	rmdir(dir);
	return 0;
}

static void asked(const char *method, const char *params)
{
	json_t *want = json_loads(params, 0, NULL);

	assert_non_null(want);
	assert_string_equal(host.method, method);
	if (!json_equal(host.params, want))
		fail_msg("asked %s", json_dumps(host.params, 0));
	json_decref(want);
}

/* -- tests ----------------------------------------------------------------- */

static void a_message_is_sent(void **state)
{
	assert_int_equal(vmop(ARGS("send", "3", "some words")), 0);
	asked("msg.send", "{\"to\":\"3\",\"data\":\"some words\"}");
	assert_string_equal(out, "");
	assert_int_equal(
		vmop(ARGS("-j", "-q", "q", "-r", "r", "--wait=taken",
			  "--reply-to=x", "send", "0-2", "{\"a\":[1]}")),
		0);
	asked("msg.send",
	      "{\"to\":\"0-2\",\"data\":{\"a\":[1]},\"queue\":\"q\",\"ref\":\"r\",\"wait\":\"taken\",\"reply_to\":\"x\"}");
	assert_int_equal(vmop(ARGS("send", "all", "x")), 1);
	assert_string_equal(out, "vmop: vm[1] is full\n");
}

static void lines_are_messages(void **state)
{
	char many[2 * 300 + 1] = "";

	in = "one\ntwo words\n\nthe last\n";
	assert_int_equal(vmop(ARGS("-l", "-q", "q", "send", "3")), 0);
	asked("msg.send",
	      "{\"to\":\"3\",\"data\":[\"one\",\"two words\",\"\",\"the last\"],\"queue\":\"q\",\"each\":true,\"full\":\"wait\"}");
	in = "without an end";
	assert_int_equal(vmop(ARGS("-l", "send", "3")), 0);
	asked("msg.send",
	      "{\"to\":\"3\",\"data\":[\"without an end\"],\"each\":true,\"full\":\"wait\"}");
	in = "1\n[2]\n";
	assert_int_equal(vmop(ARGS("-jl", "send", "3")), 0);
	asked("msg.send",
	      "{\"to\":\"3\",\"data\":[1,[2]],\"each\":true,\"full\":\"wait\"}");
	for (int i = 0; i < 300; i++)
		strcat(many, "x\n");
	in = many;
	host.n_asked = 0;
	assert_int_equal(vmop(ARGS("-l", "send", "3")), 0);
	assert_int_equal(host.n_asked, 2);
	assert_int_equal(json_array_size(json_object_get(host.params, "data")),
			 300 - 256);
	in = "fine\n\xff\n";
	assert_int_equal(vmop(ARGS("-l", "send", "3")), 2);
	assert_string_equal(out, "vmop: send: line 2 is no UTF-8\n");
	host.refuse = RPC_E_FULL;
	in = "a\nb\n";
	assert_int_equal(vmop(ARGS("-l", "send", "3")), 1);
	assert_string_equal(out, "vmop: not now\nvmop: send: lines 1 to 2\n");
}

static void messages_are_lines(void **state)
{
	start_vmop(0, ARGS("-l", "-n", "3", "recv"));
	RUN_UNTIL(it_waits);
	asked("msg.recv", "{\"wait_ms\":-1,\"count\":3}");
	rpc_result(TAKE_PTR(host.waits),
		   json_pack("[{s:s}, {s:s}]", "data", "a", "data", "b"));
	RUN_UNTIL(it_waits);
	asked("msg.recv", "{\"wait_ms\":-1,\"count\":1}");
	rpc_result(TAKE_PTR(host.waits), json_pack("[{s:s}]", "data", "c"));
	assert_int_equal(end_vmop(), 0);
	assert_string_equal(out, "a\nb\nc\n");
}

static void a_message_is_waited_for(void **state)
{
	start_vmop(0, ARGS("-n", "2", "-f", "4", "recv"));
	RUN_UNTIL(it_waits);
	asked("msg.recv", "{\"wait_ms\":-1,\"from\":4,\"count\":2}");
	rpc_result(host.waits,
		   json_pack("[{s:i, s:s}, {s:i, s:[i]}]", "from", 4, "data",
			     "two words", "from", 4, "data", 5));
	assert_int_equal(end_vmop(), 0);
	assert_string_equal(out, "two words\n[5]\n");
}

static void who_stops_waiting_takes_nothing(void **state)
{
	pid_t pid = start_vmop(0, ARGS("recv"));

	RUN_UNTIL(it_waits);
	kill(pid, SIGKILL);
	RUN_UNTIL(waiter_is_gone);
	RUN_UNTIL(it_has_ended);
}

static void a_time_is_in_seconds(void **state)
{
	host.refuse = RPC_E_TIMEOUT;
	assert_int_equal(vmop(ARGS("-t", "1.5", "recv")), 124);
	asked("msg.recv", "{\"wait_ms\":1500}");
	assert_string_equal(out, "vmop: not now\n");
	assert_int_equal(vmop(ARGS("-t", "2", "barrier", "b")), 124);
	asked("sync.barrier", "{\"name\":\"b\",\"timeout_ms\":2000}");
	assert_int_equal(vmop(ARGS("-t", "soon", "recv")), 2);
}

/* Rank 0, version 0 and no count at all would be something else. */
static void numbers_are_numbers(void **state)
{
	host.refuse = RPC_E_TIMEOUT;
	assert_int_equal(vmop(ARGS("-f", "3", "-n", "2", "recv")), 124);
	asked("msg.recv", "{\"wait_ms\":-1,\"from\":3,\"count\":2}");
	host.n_asked = 0;
	assert_int_equal(vmop(ARGS("-f", "vm3", "recv")), 2);
	assert_non_null(strstr(out, "--from: 'vm3' is not a whole number"));
	assert_int_equal(vmop(ARGS("-n", "2x", "recv")), 2);
	assert_int_equal(vmop(ARGS("-n", "0", "-l", "recv")), 2);
	assert_int_equal(vmop(ARGS("--if=absnt", "store", "put", "k", "x")), 2);
	assert_int_equal(vmop(ARGS("--if=", "store", "put", "k", "x")), 2);
	assert_int_equal(host.n_asked, 0);
}

static void values_are_kept_and_given(void **state)
{
	assert_int_equal(vmop(ARGS("store", "put", "k", "v")), 0);
	asked("store.put", "{\"key\":\"k\",\"value\":\"v\"}");
	assert_int_equal(
		vmop(ARGS("-j", "--if=absent", "store", "put", "k", "17")), 0);
	asked("store.put", "{\"key\":\"k\",\"value\":17,\"if\":\"absent\"}");
	assert_int_equal(vmop(ARGS("--if=3", "store", "put", "k", "x")), 0);
	asked("store.put", "{\"key\":\"k\",\"value\":\"x\",\"if\":3}");
	assert_int_equal(vmop(ARGS("store", "get", "k")), 0);
	assert_string_equal(out, "{\"a\":1}\n");
	assert_int_equal(vmop(ARGS("store", "list", "*")), 0);
	asked("store.list", "{\"pattern\":\"*\"}");
	assert_string_equal(out, "one\ntwo\n");
}

static void all_else_is_called_by_name(void **state)
{
	assert_int_equal(vmop(ARGS("hosts")), 0);
	assert_string_equal(out, "10.0.0.1 vm0\n");
	assert_int_equal(vmop(ARGS("-j", "info")), 0);
	assert_string_equal(out, "{\"self\":0}\n");
	assert_int_equal(vmop(ARGS("call", "task.ping", "{\"to\":1}")), 0);
	asked("task.ping", "{\"to\":1}");
	assert_int_equal(vmop(ARGS("call", "task.ping", "[1]")), 2);
	assert_int_equal(vmop(ARGS("fly")), 2);
	assert_non_null(strstr(out, "no command 'fly'"));
	host.refuse = RPC_E_PERM;
	assert_int_equal(vmop(ARGS("call", "vm.poweroff")), 1);
}

static void the_agents_own_words_are_not_for_programs(void **state)
{
	assert_int_equal(vmop(ARGS("call", "agent.bye")), 1);
	assert_int_equal(vmop(ARGS("call", "proc.exit")), 1);
	assert_string_equal(host.method, ""); /* the host heard nothing */
}

static void without_a_host_it_says_so(void **state)
{
	pid_t pid = start_vmop(0, ARGS("recv"));

	assert_true(pid > 0);
	RUN_UNTIL(it_waits);
	rpc_on_gone(host.waits, NULL, NULL);
	mux_free(agent.mux);
	agent.mux = NULL;
	rpc_forget(agent.rpc, "the host is gone");
	assert_int_equal(end_vmop(), 1);
	assert_string_equal(out, "vmop: the host is gone\n");
	assert_int_equal(vmop(ARGS("recv")), 1);
	assert_string_equal(out, "vmop: the host is not there\n");
	rpc_result(host.waits, NULL);
	opsock_free(agent.opsock);
	agent.opsock = NULL;
	assert_int_equal(vmop(ARGS("recv")), 1);
	assert_non_null(strstr(out, "is vmstep-agent running"));
}

static void others_are_not_listened_to(void **state)
{
	if (geteuid() != 0) {
		print_message("only root can be others\n");
		skip();
	}
	start_vmop(65534, ARGS("hosts"));
	assert_int_equal(end_vmop(), 1);
	assert_non_null(strstr(out, "for root and the step's user"));
	opsock_set_user(agent.opsock, "65534");
	start_vmop(65534, ARGS("hosts"));
	assert_int_equal(end_vmop(), 0);
}

/* Ops of kernels run as root, but not for who is not. */
static void a_user_calls_ops_as_that_user(void **state)
{
	if (geteuid() != 0) {
		print_message("only root can be others\n");
		skip();
	}
	assert_int_equal(vmop(ARGS("call", "k:f", "{\"a\":1}")), 0);
	asked("k:f", "{\"a\":1}");
	opsock_set_user(agent.opsock, "65534");
	start_vmop(65534, ARGS("call", "k:f", "{\"a\":1}"));
	assert_int_equal(end_vmop(), 0);
	asked("op.call",
	      "{\"kernel\":\"k\",\"op\":\"f\",\"params\":{\"a\":1},\"user\":\"65534\"}");
	start_vmop(65534, ARGS("call", "op.call", "{\"user\":\"root\"}"));
	assert_int_equal(end_vmop(), 0);
	asked("op.call", "{\"user\":\"65534\"}");
	start_vmop(65534, ARGS("call", "world.get", "{\"user\":\"x\"}"));
	assert_int_equal(end_vmop(), 0);
	asked("world.get", "{\"user\":\"x\"}");
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(a_message_is_sent),
		TEST(a_message_is_waited_for),
		TEST(lines_are_messages),
		TEST(messages_are_lines),
		TEST(who_stops_waiting_takes_nothing),
		TEST(a_time_is_in_seconds),
		TEST(numbers_are_numbers),
		TEST(values_are_kept_and_given),
		TEST(all_else_is_called_by_name),
		TEST(the_agents_own_words_are_not_for_programs),
		TEST(without_a_host_it_says_so),
		TEST(others_are_not_listened_to),
		TEST(a_user_calls_ops_as_that_user),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
