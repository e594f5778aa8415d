#include <config.h>

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
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "cleanup.h"
#include "test_host.h"

static const char *agent_path(void)
{
	const char *path = getenv("VMSTEP_AGENT");

	return path ? path : "guest-agent/vmstep-agent";
}

/* -- the host -------------------------------------------------------------- */

static void on_tick(void *arg)
{
	loop_stop(arg, 0);
}

void spin(struct fixture *f)
{
	loop_timer_set(f->tick, 2);
	assert_int_equal(loop_run(f->loop), 0);
}

void pass(struct fixture *f, int64_t ms)
{
	int64_t end = loop_now_ms() + ms;

	while (loop_now_ms() < end)
		spin(f);
}

static void send_json(struct fixture *f, json_t *msg)
{
	_cleanup_free_ char *text = json_dumps(msg, 0);

	assert_non_null(text);
	json_decref(msg);
	assert_int_equal(mux_ctrl(f->mux, text, strlen(text)), 0);
}

static void on_up(const struct mux_peer *peer, void *arg)
{
	struct fixture *f = arg;

	f->n_up++;
}

static void on_down(const char *why, void *arg)
{
}

static void on_message(struct fixture *f, json_t *msg)
{
	const char *method = json_string_value(json_object_get(msg, "method"));
	json_t *params = json_object_get(msg, "params");
	char key[32];

	f->n_results += json_object_get(msg, "result") != NULL;
	if (method && strcmp(method, "agent.hello") == 0) {
		f->n_hello++;
		json_decref(f->hello);
		f->hello = json_incref(params);
		send_json(f, json_pack("{s:s, s:O, s:{s:i, s:i, s:s, s:b}}",
				       "jsonrpc", "2.0", "id",
				       json_object_get(msg, "id"), "result",
				       "rank", 0, "ntasks", 1, "name", "vm0",
				       "attach", (int)f->attach));
	} else if (method && strcmp(method, "proc.exit") == 0) {
		snprintf(key, sizeof(key), "%lld",
			 (long long)json_integer_value(
				 json_object_get(params, "proc")));
		assert_null(json_object_get(f->exits, key)); /* once */
		json_object_set(f->exits, key, params);
	} else if (method && strcmp(method, "file.opened") == 0) {
		json_decref(f->opened);
		f->opened = json_incref(params);
	} else if (json_integer_value(json_object_get(msg, "id")) ==
		   f->last_id) {
		assert_null(f->reply); /* once */
		f->reply = json_incref(msg);
	}
}

static void on_ctrl(const char *text, size_t len, void *arg)
{
	json_t *msg = json_loadb(text, len, 0, NULL);

	assert_non_null(msg);
	on_message(arg, msg);
	json_decref(msg);
}

void accept_agent(struct fixture *f)
{
	static const struct mux_ops ops = { on_up, on_down, on_ctrl, NULL };
	int hellos = f->n_hello;

	f->port = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(f->port >= 0);
	assert_int_equal(mux_new(f->loop, f->port, &ops, f, &f->mux, NULL), 0);
	WAIT_FOR(f, f->n_hello > hellos);
}

void hang_up(struct fixture *f)
{
	mux_free(TAKE_PTR(f->mux));
	close(TAKE_FD(f->port));
}

pid_t run_agent(struct fixture *f, const char *option, int err_fd)
{
	pid_t pid = fork();

	if (pid == 0) {
		if (err_fd >= 0)
			dup2(err_fd, 2);
		setenv("LANG", "should-not-be-inherited", 1);
		execl(agent_path(), "vmstep-agent", "--port", f->path, option,
		      NULL);
		_exit(99);
	}
	return pid;
}

int setup(void **state)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct fixture *f = calloc(1, sizeof(*f));

	signal(SIGPIPE, SIG_IGN);
	*state = f;
	strcpy(f->dir, "/tmp/vmstep-agent-XXXXXX");
	if (!mkdtemp(f->dir) || chmod(f->dir, 0755) < 0 ||
	    loop_new(&f->loop, NULL) < 0 ||
	    loop_timer_add(f->loop, -1, on_tick, f->loop, &f->tick) < 0)
		return -1;
	snprintf(f->path, sizeof(f->path), "%s/port", f->dir);
	strcpy(sa.sun_path, f->path);
	f->exits = json_object();
	f->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(f->listener, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    listen(f->listener, 4) < 0)
		return -1;
	f->agent = run_agent(f, NULL, open("/dev/null", O_WRONLY | O_CLOEXEC));
	accept_agent(f);
	return 0;
}

int teardown(void **state)
{
	struct fixture *f = *state;
	int wstatus = -1;

	kill(f->agent, SIGTERM);
	waitpid(f->agent, &wstatus, 0);
	assert_int_equal(wstatus, 0); /* sanitizers say so otherwise */
	mux_free(f->mux);
	loop_free(f->loop);
	close(f->listener);
	close(f->port);
	unlink(f->path);
	assert_int_equal(rmdir(f->dir), 0);
	json_decref(f->hello);
	json_decref(f->exits);
	json_decref(f->opened);
	json_decref(f->reply);
	free(f);
	return 0;
}

void ask_only(struct fixture *f, const char *method, json_t *params)
{
	json_decref(f->reply);
	f->reply = NULL;
	send_json(f,
		  json_pack("{s:s, s:I, s:s, s:o}", "jsonrpc", "2.0", "id",
			    ++f->last_id, "method", method, "params", params));
}

json_t *ask(struct fixture *f, const char *method, json_t *params)
{
	ask_only(f, method, params);
	WAIT_FOR(f, f->reply);
	return f->reply;
}

json_t *result_of(json_t *reply)
{
	json_t *result = json_object_get(reply, "result");

	if (!result)
		print_message("%s\n", json_dumps(reply, 0));
	assert_non_null(result);
	return result;
}

void check_error(json_t *reply, int code, const char *what)
{
	json_t *error = json_object_get(reply, "error");
	json_t *data = json_object_get(error, "data");

	assert_int_equal(json_integer_value(json_object_get(error, "code")),
			 code);
	assert_non_null(json_string_value(json_object_get(error, "message")));
	if (what)
		assert_string_equal(
			json_string_value(json_object_get(data, "what")), what);
}
