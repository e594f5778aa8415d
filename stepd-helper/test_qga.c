/* test_qga.c - QEMU's guest agent, as it should be and as it should not */
#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "cleanup.h"
#include "qga_exec.h"
#include "qga_net.h"

/* A guest by hand: the test reads what is asked, and writes the answers. */

struct fixture {
	struct loop *loop;
	struct loop_timer *tick;
	struct qga *q;
	int guest;
	int up, down;
	char down_why[128];
	char asked[4096]; /* the last line */
	json_int_t id;	  /* of it */
	/* answers, one after the other: the result, or (code words) */
	char answers[1024];
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

static void on_up(void *arg)
{
	((struct fixture *)arg)->up++;
}

static void on_down(const char *why, void *arg)
{
	struct fixture *f = arg;

	f->down++;
	snprintf(f->down_why, sizeof(f->down_why), "%s", why);
}

static int setup(void **state)
{
	static const struct qga_ops ops = { on_up, on_down };
	struct fixture *f = calloc(1, sizeof(*f));
	int sv[2];

	*state = f;
	signal(SIGPIPE, SIG_IGN);
	if (loop_new(&f->loop, NULL) < 0 ||
	    loop_timer_add(f->loop, -1, on_tick, f->loop, &f->tick) < 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
		return -1;
	f->guest = sv[1];
	return qga_new(f->loop, sv[0], &ops, f, &f->q, NULL);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	qga_free(f->q);
	if (f->guest >= 0)
		close(f->guest);
	loop_timer_free(f->tick);
	loop_free(f->loop);
	free(f);
	return 0;
}

/* -- the guest ------------------------------------------------------------- */

static void say(struct fixture *f, const char *text)
{
	size_t len = strlen(text), sent = 0;

	while (sent < len) {
		ssize_t n = send(f->guest, text + sent, len - sent,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		sent += n > 0 ? (size_t)n : 0;
		spin(f);
	}
}

/* The next line that was asked: "COMMAND ARGUMENTS"; "" for none. */
static const char *hear(struct fixture *f)
{
	static char text[8192];
	char line[6000], *p = line;
	size_t n = 0;
	json_t *o, *args;

	spin(f);
	while (n < sizeof(line) - 1 &&
	       recv(f->guest, line + n, 1, MSG_DONTWAIT) == 1 &&
	       line[n] != '\n')
		n++;
	line[n] = '\0';
	while ((unsigned char)*p == 0xff)
		p++;
	o = json_loads(p, 0, NULL);
	if (o)
		f->id = json_integer_value(json_object_get(o, "id"));
	args = json_object_get(o, "arguments");
	snprintf(text, sizeof(text), "%s",
		 o ? json_string_value(json_object_get(o, "execute")) : "");
	if (args) {
		_cleanup_free_ char *a =
			json_dumps(args, JSON_COMPACT | JSON_SORT_KEYS);

		snprintf(text + strlen(text), sizeof(text) - strlen(text),
			 " %s", a);
	}
	json_decref(o);
	return text;
}

/* @text is JSON without the end: , "id": N} */
static void reply(struct fixture *f, const char *text)
{
	char line[8192];

	snprintf(line, sizeof(line), "%s, \"id\": %lld}\n", text,
		 (long long)f->id);
	say(f, line);
}

static void answer_sync(struct fixture *f)
{
	const char *text = hear(f);
	char line[128];
	long long id = 0;

	assert_int_equal(
		sscanf(text, "guest-sync-delimited {\"id\":%lld}", &id), 1);
	snprintf(line, sizeof(line), "\xff{\"return\": %lld}\n", id);
	say(f, line);
}

static void meet(struct fixture *f, const char *os)
{
	qga_port(f->q, true);
	answer_sync(f);
	assert_string_equal(hear(f), "guest-info");
	reply(f, "{\"return\": {\"version\": \"7.2.22\"}");
	assert_string_equal(hear(f), "guest-get-osinfo");
	assert_int_equal(f->up, 0);
	reply(f, os);
	assert_int_equal(f->up, 1);
	assert_true(qga_is_up(f->q));
}

#define LINUX	"{\"return\": {\"id\": \"debian\"}"
#define WINDOWS "{\"return\": {\"id\": \"mswindows\"}"

/* -- us -------------------------------------------------------------------- */

static void on_answer(const struct rpc_reply *r, void *arg)
{
	struct fixture *f = arg;
	size_t len = strlen(f->answers);
	_cleanup_free_ char *text =
		r->result
			? json_dumps(r->result, JSON_ENCODE_ANY | JSON_COMPACT)
			: NULL;

	if (r->result)
		snprintf(f->answers + len, sizeof(f->answers) - len, "%s",
			 text);
	else
		snprintf(f->answers + len, sizeof(f->answers) - len, "(%d %s)",
			 r->code, r->message);
}

static int ask(struct fixture *f, const char *command, int64_t timeout_ms)
{
	const struct qga_ask a = { .command = command,
				   .timeout_ms = timeout_ms,
				   .fn = on_answer,
				   .arg = f };

	return qga_ask(f->q, &a);
}

/* What is there after it went wrong, and that it goes on. */
static void assert_goes_on(struct fixture *f)
{
	assert_false(qga_is_up(f->q));
	assert_int_equal(ask(f, "guest-ping", 0), -ENOTCONN);
	answer_sync(f);
	assert_true(qga_is_up(f->q));
	*f->answers = '\0';
	assert_int_equal(ask(f, "guest-ping", 0), 0);
	assert_string_equal(hear(f), "guest-ping");
	reply(f, "{\"return\": 7");
	assert_string_equal(f->answers, "7");
	assert_int_equal(f->up, 1);
	assert_int_equal(f->down, 0);
}

/* -- it begins ------------------------------------------------------------- */

static void test_not_open(void **state)
{
	struct fixture *f = *state;

	assert_false(qga_is_up(f->q));
	assert_int_equal(ask(f, "guest-ping", 0), -ENOTCONN);
	assert_string_equal(hear(f), "");
	qga_port(f->q, true);
	assert_int_equal(ask(f, "guest-ping", 0), -ENOTCONN);
	qga_port(f->q, false);
	assert_int_equal(f->up + f->down, 0);
}

static void test_meets(void **state)
{
	struct fixture *f = *state;

	meet(f, LINUX);
	assert_string_equal(qga_version(f->q), "7.2.22");
	assert_false(qga_is_windows(f->q));
	qga_port(f->q, false);
	assert_int_equal(f->down, 1);
	assert_string_equal(f->down_why,
			    "QEMU's guest agent has closed its port");
	f->up = 0;
	meet(f, WINDOWS);
	assert_true(qga_is_windows(f->q));
}

static void test_old_knows_little(void **state)
{
	struct fixture *f = *state;

	qga_port(f->q, true);
	answer_sync(f);
	hear(f); /* it tells no ids, either */
	say(f, "{\"return\": {}}\n");
	hear(f);
	say(f,
	    "{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"x\"}}\n");
	assert_int_equal(f->up, 1);
	assert_null(qga_os(f->q));
}

static void test_earlier_life(void **state)
{
	struct fixture *f = *state;
	char line[200];
	long long id = 0;

	qga_port(f->q, true);
	assert_int_equal(
		sscanf(hear(f), "guest-sync-delimited {\"id\":%lld}", &id), 1);
	say(f, "{\"return\": 1}\n\"half a li");
	snprintf(line, sizeof(line), "{\"return\": %lld}\n", id);
	say(f, line); /* no mark before it */
	snprintf(line, sizeof(line), "\xff{\"return\": %lld}\n", id + 1);
	say(f, line); /* another's */
	assert_string_equal(hear(f), "");
	snprintf(line, sizeof(line), "\xff{\"retu\xff{\"return\": %lld}\n", id);
	say(f, line);
	assert_string_equal(hear(f), "guest-info");
}

/* -- it answers ------------------------------------------------------------ */

static void test_one_after_the_other(void **state)
{
	struct fixture *f = *state;

	meet(f, LINUX);
	assert_int_equal(ask(f, "a", 0), 0);
	assert_int_equal(ask(f, "b", 0), 0);
	assert_string_equal(hear(f), "a");
	assert_string_equal(hear(f), "");
	reply(f, "{\"return\": 1");
	assert_string_equal(hear(f), "b");
	reply(f, "{\"return\": {\"x\": []}");
	assert_string_equal(f->answers, "1{\"x\":[]}");
}

static void test_errors(void **state)
{
	static const struct {
		const char *class, *desc;
		int code;
	} errors[] = {
		{ "CommandNotFound", "disabled", RPC_E_NOTSUP },
		{ "GenericError",
		  "this feature or command is not currently supported",
		  RPC_E_NOTSUP },
		{ "GenericError",
		  "failed to open file '/x': No such file or directory",
		  RPC_E_NOENT },
		{ "GenericError", "Permission denied", RPC_E_PERM },
		{ "GenericError", "No space left on device", RPC_E_FULL },
		{ "GenericError", "who knows", RPC_E_OS },
	};
	struct fixture *f = *state;

	meet(f, LINUX);
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		char text[256], want[256];

		*f->answers = '\0';
		assert_int_equal(ask(f, "x", 0), 0);
		hear(f);
		snprintf(text, sizeof(text),
			 "{\"error\": {\"class\": \"%s\", \"desc\": \"%s\"}",
			 errors[i].class, errors[i].desc);
		reply(f, text);
		snprintf(want, sizeof(want), "(%d %s)", errors[i].code,
			 errors[i].desc);
		assert_string_equal(f->answers, want);
	}
	*f->answers = '\0';
	ask(f, "x", 0);
	hear(f);
	reply(f, "{\"error\": 3");
	assert_string_equal(f->answers, "(14 no reason was given)");
}

static void test_odd_answers(void **state)
{
	struct fixture *f = *state;

	meet(f, LINUX);
	say(f, "{\"return\": 1}\n{\"return\": 2}\n"); /* nobody asked */
	assert_int_equal(ask(f, "x", 0), 0);
	hear(f);
	say(f, "{\"return\": 3, \"id\": 99}\n"); /* another's */
	say(f, "{\"return\": 3, \"id\": \"x\"}\n");
	say(f, "[]\n{}\n\nno JSON\n{\"event\": \"X\"}\n");
	say(f, "{\"return\": 4}} \n");
	reply(f, "{\"return\": 5");
	/* what came before it was asked does not count, where ids do not tell
	 * it: an old one is told by its mark */
	assert_non_null(strstr("1 5", f->answers));
	assert_int_equal(f->down, 0);
}

static void test_twice(void **state)
{
	struct fixture *f = *state;

	meet(f, LINUX);
	assert_int_equal(ask(f, "a", 0), 0);
	hear(f);
	reply(f, "{\"return\": 1");
	reply(f, "{\"return\": 2");
	assert_int_equal(ask(f, "b", 0), 0);
	hear(f);
	reply(f, "{\"return\": 3");
	assert_string_equal(f->answers, "13");
}

static void test_late(void **state)
{
	struct fixture *f = *state;

	meet(f, LINUX);
	assert_int_equal(ask(f, "a", 1), 0);
	assert_int_equal(ask(f, "b", 0), 0);
	hear(f);
	for (int i = 0; i < 100 && !*f->answers; i++)
		spin(f);
	assert_string_equal(f->answers,
			    "(4 QEMU's guest agent has not answered in time)");
	say(f, "{\"return\": 1}\n{\"ret"); /* it was on its way */
	assert_false(qga_is_up(f->q));
	answer_sync(f);
	assert_true(qga_is_up(f->q));
	assert_string_equal(hear(f), "b"); /* that waited */
	reply(f, "{\"return\": 2");
	assert_non_null(strstr(f->answers, ")2"));
}

static void test_mute(void **state)
{
	struct fixture *f = *state;
	const struct qga_ask a = { .command = "guest-shutdown",
				   .timeout_ms = 1,
				   .mute = true,
				   .fn = on_answer,
				   .arg = f };

	meet(f, LINUX);
	assert_int_equal(qga_ask(f->q, &a), 0);
	for (int i = 0; i < 100 && !*f->answers; i++)
		spin(f);
	assert_string_equal(f->answers, "true");
	assert_true(qga_is_up(f->q));
}

static void test_goes_away(void **state)
{
	struct fixture *f = *state;

	meet(f, LINUX);
	ask(f, "a", 0);
	ask(f, "b", 0);
	qga_port(f->q, false);
	assert_string_equal(
		f->answers,
		"(2 QEMU's guest agent has closed its port)(2 QEMU's guest agent has closed its port)");
	assert_int_equal(f->down, 1);
	*f->answers = '\0';
	f->up = 0;
	while (*hear(f))
		;
	meet(f, LINUX);
	ask(f, "c", 0);
	hear(f);
	close(TAKE_FD(f->guest));
	spin(f);
	assert_string_equal(f->answers,
			    "(2 QEMU has closed the guest agent's port)");
	assert_int_equal(f->down, 2);
	qga_port(f->q, true); /* no more */
	assert_false(qga_is_open(f->q));
}

/* -- it is hostile --------------------------------------------------------- */

static void test_long_line(void **state)
{
	struct fixture *f = *state;
	static char text[QGA_ANSWER_MAX + 2];

	meet(f, LINUX);
	ask(f, "a", 0);
	hear(f);
	memset(text, '[', sizeof(text) - 1);
	say(f, text);
	for (int i = 0; i < 1000 && !*f->answers; i++)
		spin(f);
	assert_string_equal(f->answers,
			    "(12 QEMU's guest agent answers more than it may)");
	assert_goes_on(f);
}

static void test_flood(void **state)
{
	struct fixture *f = *state;
	static char text[1 << 16];
	size_t sent = 0;

	meet(f, LINUX);
	memset(text, '{', sizeof(text));
	for (int i = 0; i < 64; i++) {
		ssize_t n = send(f->guest, text, sizeof(text),
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		sent += n > 0 ? (size_t)n : 0;
		spin(f);
	}
	/* nothing was asked, so nothing is read: it waits itself */
	assert_true(sent < 2 << 20);
}

static void test_never_reads(void **state)
{
	struct fixture *f = *state;
	static char big[1 << 20];
	int r = 0, n;

	meet(f, LINUX);
	memset(big, 'x', sizeof(big) - 1);
	for (n = 0; r == 0 && n < 100; n++) {
		const struct qga_ask a = { .command = big,
					   .fn = on_answer,
					   .arg = f };

		r = qga_ask(f->q, &a);
		spin(f);
	}
	assert_int_equal(r, -ENOBUFS);
	assert_int_equal(n, QGA_QUEUE_BYTES / sizeof(big));
	qga_port(f->q, false);
}

static void test_many(void **state)
{
	struct fixture *f = *state;

	meet(f, LINUX);
	for (int i = 0; i < QGA_QUEUE; i++)
		assert_int_equal(ask(f, "x", 0), 0);
	assert_int_equal(ask(f, "x", 0), -ENOBUFS);
	qga_forget(f->q, f);
	qga_port(f->q, false);
	assert_string_equal(f->answers, "");
}

/* -- a process ------------------------------------------------------------- */

struct run {
	struct fixture *f;
	struct qga_exec *x;
	char told[256];
};

static void on_started(const struct rpc_reply *r, void *arg)
{
	struct run *run = arg;

	snprintf(run->told, sizeof(run->told), "%d %s;", r->code,
		 r->what ? r->what : "");
	if (!r->result)
		qga_exec_free(TAKE_PTR(run->x));
}

static void on_ended(const json_t *how, const struct qga_output out[2],
		     const char *why, void *arg)
{
	_cleanup_free_ char *text = how ? json_dumps(how, JSON_COMPACT) : NULL;
	struct run *run = arg;
	size_t len = strlen(run->told);

	snprintf(run->told + len, sizeof(run->told) - len,
		 "%s out=%.20s(%zu%s) err=%.20s(%zu%s)", how ? text : why,
		 out[0].data ? out[0].data : "", out[0].len,
		 out[0].cut ? "+" : "", out[1].data ? out[1].data : "",
		 out[1].len, out[1].cut ? "+" : "");
	qga_exec_free(TAKE_PTR(run->x));
}

static void start(struct run *run, json_t *params, int in)
{
	static const struct qga_exec_ops ops = { on_started, on_ended };

	assert_null(qga_exec_cannot(params));
	assert_int_equal(qga_exec_new(run->f->loop, run->f->q, params, in, &ops,
				      run, &run->x),
			 0);
	json_decref(params);
}

static json_t *cat(void)
{
	return json_pack("{s:[s, s], s:{s:s}, s:b}", "argv", "cat", "a  b",
			 "env", "X", "1", "env_clear", 1);
}

/* The next guest-exec-status, past those that find it running. */
static void hear_status(struct fixture *f)
{
	const char *text = "";

	for (int i = 0; i < 200 && !*text; i++)
		text = hear(f);
	assert_string_equal(text, "guest-exec-status {\"pid\":77}");
}

static void test_runs(void **state)
{
	struct run run = { .f = *state };
	int in[2];

	meet(run.f, LINUX);
	assert_int_equal(pipe(in), 0);
	start(&run, cat(), in[0]);
	assert_string_equal(hear(run.f), ""); /* all input first */
	assert_int_equal(write(in[1], "he", 2), 2);
	spin(run.f);
	assert_int_equal(write(in[1], "llo", 3), 3);
	assert_true(qga_exec_reads(run.x));
	close(in[1]);
	assert_string_equal(
		hear(run.f),
		"guest-exec {\"arg\":[\"a  b\"],\"capture-output\":true,\"env\":[\"X=1\"],\"input-data\":\"aGVsbG8=\",\"path\":\"cat\"}");
	reply(run.f, "{\"return\": {\"pid\": 77}");
	hear_status(run.f);
	reply(run.f, "{\"return\": {\"exited\": false}");
	hear_status(run.f);
	reply(run.f,
	      "{\"return\": {\"exited\": true, \"exitcode\": 3, \"out-data\": \"aGVsbG8=\", \"err-data\": \"eA==\", \"err-truncated\": true}");
	assert_string_equal(run.told, "0 ;{\"exit\":3} out=hello(5) err=x(1+)");
}

static void test_other_system(void **state)
{
	struct run run = { .f = *state };
	const char *text;

	meet(run.f, WINDOWS);
	start(&run,
	      json_pack("{s:[s, s], s:{s:s}}", "argv", "ipconfig", "/all",
			"env", "X", "1"),
	      -1);
	text = hear(run.f);
	assert_non_null(strstr(text, "\"arg\":[\"/all\"]"));
	assert_non_null(strstr(text, "\"SystemRoot=C:\\\\Windows\""));
	assert_non_null(strstr(text, "\"X=1\""));
	assert_null(strstr(text, "/bin"));
	qga_exec_free(run.x);
}

static void ends_by(void **state, const char *start_reply,
		    const char *status_reply, const char *told)
{
	struct run run = { .f = *state };

	if (!run.f->up)
		meet(run.f, LINUX);
	start(&run, cat(), -1);
	assert_memory_equal(hear(run.f), "guest-exec ", 11);
	reply(run.f, start_reply);
	if (status_reply) {
		hear_status(run.f);
		reply(run.f, status_reply);
	}
	assert_string_equal(run.told, told);
	assert_null(run.x);
}

static void test_ends(void **state)
{
	const char *ok = "{\"return\": {\"pid\": 77}";

	ends_by(state, ok, "{\"return\": {\"exited\": true, \"signal\": 9}",
		"0 ;{\"signal\":9} out=(0) err=(0)");
	ends_by(state,
		"{\"error\": {\"class\": \"GenericError\", \"desc\": \"Failed to execute child process (No such file or directory)\"}",
		NULL, "10 command;");
	ends_by(state,
		"{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"disabled\"}",
		NULL, "7 setup;");
	ends_by(state, "{\"return\": {\"pid\": \"x\"}", NULL, "17 setup;");
	ends_by(state, ok, "{\"return\": {\"exited\": true}",
		"0 ;QEMU's guest agent tells nonsense of how it ended out=(0) err=(0)");
	ends_by(state, ok,
		"{\"return\": {\"exited\": true, \"exitcode\": 0, \"out-data\": \"!\"}",
		"0 ;QEMU's guest agent tells nonsense of how it ended out=(0) err=(0)");
	ends_by(state, ok,
		"{\"error\": {\"class\": \"GenericError\", \"desc\": \"Invalid parameter 'pid'\"}",
		"0 ;QEMU's guest agent does not know the process any more out=(0) err=(0)");
}

static void test_much_output(void **state)
{
	struct run run = { .f = *state };
	static char text[2 * QGA_STRING_MAX + 256];
	size_t len;

	meet(run.f, LINUX);
	start(&run, cat(), -1);
	hear(run.f);
	reply(run.f, "{\"return\": {\"pid\": 77}");
	hear_status(run.f);
	len = (size_t)sprintf(
		text,
		"{\"return\": {\"exited\": true, \"exitcode\": 0, \"out-data\": \"");
	memset(text + len, 'A', QGA_STRING_MAX + 4000);
	len += QGA_STRING_MAX + 4000;
	sprintf(text + len, "\", \"err-data\": \"eA==\"}, \"id\": %lld}\n",
		(long long)run.f->id);
	say(run.f, text);
	assert_string_equal(run.told,
			    "0 ;{\"exit\":0} out=(8388606+) err=x(1)");
}

static void test_too_much_input(void **state)
{
	struct run run = { .f = *state };
	char path[] = "/tmp/vmstep-qga-XXXXXX";
	int fd = mkstemp(path);

	unlink(path);
	assert_int_equal(ftruncate(fd, QGA_INPUT_MAX + 1), 0);
	meet(run.f, LINUX);
	start(&run, cat(), fd);
	for (int i = 0; i < 1000 && !*run.told; i++)
		spin(run.f);
	assert_string_equal(run.told, "12 setup;");
	assert_string_equal(hear(run.f), "");
}

static void test_lost(void **state)
{
	struct run run = { .f = *state };

	meet(run.f, LINUX);
	start(&run, cat(), -1);
	hear(run.f);
	reply(run.f, "{\"return\": {\"pid\": 77}");
	qga_port(run.f->q, false);
	for (int i = 0; i < 100 && !strchr(run.told, '('); i++)
		spin(run.f);
	/* by whom comes first: who asks, or who waits for an answer */
	if (strcmp(run.told,
		   "0 ;QEMU's guest agent has closed its port out=(0) err=(0)") !=
	    0)
		assert_string_equal(
			run.told,
			"0 ;QEMU's guest agent is gone out=(0) err=(0)");
}

static void kill_it(struct run *run, const char *started, const char *status,
		    const char *answer)
{
	json_t *sig = json_string("SIGTERM");

	*run->f->answers = '\0';
	assert_int_equal(qga_exec_signal(run->x, sig, on_answer, run->f), 0);
	json_decref(sig);
	for (int i = 0; i < 300 && !*run->f->answers; i++) {
		const char *text = hear(run->f);

		if (strcmp(text,
			   "guest-exec {\"arg\":[\"-TERM\",\"77\"],\"path\":\"kill\"}") ==
		    0)
			reply(run->f, started);
		else if (strcmp(text, "guest-exec-status {\"pid\":78}") == 0)
			reply(run->f, status);
		else if (*text)
			reply(run->f, "{\"return\": {\"exited\": false}");
	}
	assert_string_equal(run->f->answers, answer);
}

static void test_signal(void **state)
{
	struct run run = { .f = *state };
	const char *ok = "{\"return\": {\"pid\": 78}";

	meet(run.f, LINUX);
	start(&run, cat(), -1);
	hear(run.f);
	reply(run.f, "{\"return\": {\"pid\": 77}");
	kill_it(&run, ok, "{\"return\": {\"exited\": true, \"exitcode\": 0}",
		"true");
	kill_it(&run, ok, "{\"return\": {\"exited\": true, \"exitcode\": 1}",
		"(10 the guest's program kill did not find the process)");
	kill_it(&run,
		"{\"error\": {\"class\": \"GenericError\", \"desc\": \"No such file or directory\"}",
		NULL,
		"(7 QEMU's guest agent sends no signals, and the guest has no program kill)");
	*run.f->answers = '\0';
	qga_exec_signal(run.x, json_null(), on_answer, run.f);
	qga_exec_free(run.x);
}

static void test_cannot(void **state)
{
	static const char *const params[] = {
		"{\"argv\": [\"a\"], \"pty\": {}}",
		"{\"argv\": [\"a\"], \"user\": \"nobody\"}",
		"{\"argv\": [\"a\"], \"cwd\": \"/\"}",
		"{\"argv\": [\"a\", {\"b64\": \"/w==\"}]}",
		"{\"argv\": [\"a\"], \"env\": {\"X\": {\"b64\": \"/w==\"}}}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(params); i++) {
		json_t *o = json_loads(params[i], 0, NULL);

		assert_non_null(qga_exec_cannot(o));
		json_decref(o);
	}
}

/* -- the network ----------------------------------------------------------- */

static void on_net(const char *error, void *arg)
{
	struct fixture *f = arg;

	snprintf(f->answers, sizeof(f->answers), "%.300s",
		 error ? error : "there");
}

static void test_network(void **state)
{
	struct fixture *f = *state;
	struct qga_net *n;

	meet(f, LINUX);
	assert_int_equal(qga_net_new(f->loop, f->q, "52:54:00:00:00:01",
				     "10.0.0.2", 0, on_net, f, &n),
			 0);
	assert_string_equal(hear(f), "guest-network-get-interfaces");
	reply(f,
	      "{\"return\": [{}, 3, {\"hardware-address\": \"52:54:00:00:00:01\", \"ip-addresses\": [{\"ip-address\": \"10.0.0.20\"}]}]");
	assert_non_null(
		strstr(f->answers, "has not taken its address 10.0.0.2"));
	qga_net_free(n);
	assert_int_equal(qga_net_new(f->loop, f->q, "52:54:00:0a:00:01",
				     "10.0.0.2", 0, on_net, f, &n),
			 0);
	hear(f);
	reply(f,
	      "{\"return\": [{\"hardware-address\": \"52:54:00:0A:00:01\", \"ip-addresses\": [{}, {\"ip-address\": \"10.0.0.2\"}]}]");
	assert_string_equal(f->answers, "there");
	qga_net_free(n);
}

#define TEST(text, fn)                          \
	{                                       \
		text, fn, setup, teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST("nothing is asked before its port is open", test_not_open),
		TEST("it is met: version and system", test_meets),
		TEST("an old one knows little", test_old_knows_little),
		TEST("what was said in an earlier life is skipped",
		     test_earlier_life),
		TEST("one thing after the other", test_one_after_the_other),
		TEST("errors have their codes", test_errors),
		TEST("answers that are none", test_odd_answers),
		TEST("an answer given twice counts once", test_twice),
		TEST("a late answer is not the next one's", test_late),
		TEST("where success is silent", test_mute),
		TEST("it goes away: all that waits is told", test_goes_away),
		TEST("a line without an end", test_long_line),
		TEST("it floods: it waits", test_flood),
		TEST("it never reads: what waits is bounded", test_never_reads),
		TEST("so is the number of requests", test_many),
		TEST("a command: its input first, its output last", test_runs),
		TEST("a system without /bin", test_other_system),
		TEST("how a command ends, or does not begin", test_ends),
		TEST("long output is cut, and that is said", test_much_output),
		TEST("long input is refused", test_too_much_input),
		TEST("lost while a command runs", test_lost),
		TEST("a signal, by the guest's kill", test_signal),
		TEST("what cannot be", test_cannot),
		TEST("the guest's own address", test_network),
	};

	return cmocka_run_group_tests_name("qga", tests, NULL, NULL);
}
