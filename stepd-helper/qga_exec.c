#include <config.h>

#include "qga_exec.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <unistd.h>

#include "cleanup.h"
#include "param.h"

/* It is asked for its end after an eighth of the time it runs already. */
#define POLL_FIRST_MS 20
#define POLL_LAST_MS  1000
#define AGAIN_MS      1000 /* where the agent is not there for the moment */
#define KILL_MS	      100

/* The guest's kill(1) under way. */
struct kill_call {
	LIST_ENTRY(kill_call) next;
	struct qga *qga;
	struct loop_timer *timer;
	json_int_t pid; /* kill's own */
	rpc_reply_fn fn;
	void *arg;
};

struct qga_exec {
	struct loop *loop;
	struct qga *qga;
	struct qga_exec_ops ops;
	void *arg;
	json_t *args; /* of guest-exec, until it is asked */

	int in; /* -1: none, or all is read */
	struct loop_io *io;
	char *input;
	size_t len;

	json_int_t pid;
	int64_t begun_ms;
	struct loop_timer *timer;
	LIST_HEAD(, kill_call) kills;
};

static void kill_failed(struct kill_call *k, enum rpc_error code,
			const char *words);

/* -- what it takes --------------------------------------------------------- */

static bool all_texts(const json_t *argv, const json_t *env)
{
	const char *name;
	json_t *value;
	size_t i;

	json_array_foreach ((json_t *)(uintptr_t)argv, i, value)
		if (!json_is_string(value))
			return false;
	json_object_foreach ((json_t *)(uintptr_t)env, name, value)
		if (!json_is_string(value))
			return false;
	return true;
}

const char *qga_exec_cannot(const json_t *params)
{
	const char *user = json_string_value(json_object_get(params, "user"));

	if (json_object_get(params, "pty"))
		return "QEMU's guest agent has no terminals";
	if (user && strcmp(user, "root") != 0 && strcmp(user, "0") != 0)
		return "QEMU's guest agent runs commands as its own user only";
	if (json_object_get(params, "cwd"))
		return "QEMU's guest agent takes no working directory";
	if (!all_texts(json_object_get(params, "argv"),
		       json_object_get(params, "env")))
		return "QEMU's guest agent takes words and variables in UTF-8 only";
	return NULL;
}

/* Variables given to guest-exec are all that the process gets. */
static json_t *env_list(const json_t *params, bool windows)
{
	static const char *const unixes[] = {
		"HOME=/root",
		"USER=root",
		"LOGNAME=root",
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		NULL,
	};
	static const char *const windowses[] = {
		"SystemRoot=C:\\Windows",
		"SystemDrive=C:",
		"TEMP=C:\\Windows\\Temp",
		"PATH=C:\\Windows\\system32;C:\\Windows",
		NULL,
	};
	const char *const *base = windows ? windowses : unixes;
	json_t *list = json_array(), *value;
	const json_t *env = json_object_get(params, "env");
	const char *name;

	for (; !json_is_true(json_object_get(params, "env_clear")) && *base;
	     base++) {
		_cleanup_free_ char *word = strndup(*base, strcspn(*base, "="));

		if (word && !json_object_get(env, word))
			json_array_append_new(list, json_string(*base));
	}
	json_object_foreach ((json_t *)(uintptr_t)env, name, value)
		json_array_append_new(
			list,
			json_sprintf("%s=%s", name, json_string_value(value)));
	return list;
}

static json_t *exec_args(const struct qga *q, const json_t *params)
{
	const json_t *argv = json_object_get(params, "argv");
	json_t *words = json_array();

	for (size_t i = 1; i < json_array_size(argv); i++)
		json_array_append(words, json_array_get(argv, i));
	return json_pack("{s:O, s:o, s:o, s:b}", "path",
			 json_array_get(argv, 0), "arg", words, "env",
			 env_list(params, qga_is_windows(q)), "capture-output",
			 1);
}

/* -- its end --------------------------------------------------------------- */

static void lost(struct qga_exec *x, const char *why)
{
	static const struct qga_output none[2];

	loop_timer_set(x->timer, -1);
	x->pid = 0;
	x->ops.ended(NULL, none, why, x->arg);
}

static int take_output(const json_t *status, const char *data, const char *cut,
		       struct qga_output *ret)
{
	const json_t *b64 = json_object_get(status, data);

	if (!b64)
		return 0;
	ret->cut = json_is_true(json_object_get(status, cut)) ||
		   json_string_length(b64) >= QGA_STRING_MAX;
	return param_decode_b64(b64, data, &ret->data, &ret->len, NULL);
}

static json_t *how_it_ended(const json_t *status)
{
	const json_t *code = json_object_get(status, "exitcode");
	const json_t *sig = json_object_get(status, "signal");

	if (json_is_integer(code))
		return json_pack("{s:I}", "exit",
				 json_integer_value(code) & 0xffffffff);
	if (json_is_integer(sig))
		return json_pack("{s:I}", "signal", json_integer_value(sig));
	return NULL;
}

static void on_exited(struct qga_exec *x, const json_t *status)
{
	json_t *how = how_it_ended(status);
	struct qga_output out[2] = { 0 };
	int r = take_output(status, "out-data", "out-truncated", &out[0]);

	if (r == 0)
		r = take_output(status, "err-data", "err-truncated", &out[1]);
	if (r < 0 || !how) {
		lost(x, "QEMU's guest agent tells nonsense of how it ended");
	} else {
		x->pid = 0;
		x->ops.ended(how, out, NULL, x->arg);
	}
	json_decref(how);
	free(out[0].data);
	free(out[1].data);
}

static void on_status(const struct rpc_reply *reply, void *arg)
{
	struct qga_exec *x = arg;
	int64_t wait_ms = (loop_now_ms() - x->begun_ms) / 8;

	if (wait_ms < POLL_FIRST_MS)
		wait_ms = POLL_FIRST_MS;
	if (wait_ms > POLL_LAST_MS)
		wait_ms = POLL_LAST_MS;
	if (json_is_true(json_object_get(reply->result, "exited")))
		on_exited(x, reply->result);
	else if (reply->result)
		loop_timer_set(x->timer, wait_ms);
	else if (reply->code == RPC_E_TIMEOUT && qga_is_open(x->qga))
		loop_timer_set(x->timer, AGAIN_MS); /* it, or the VM, stands */
	else if (reply->code == RPC_E_UNREACHABLE)
		lost(x, reply->message);
	else
		lost(x,
		     "QEMU's guest agent does not know the process any more");
}

static void poll_status(void *arg)
{
	struct qga_exec *x = arg;
	const struct qga_ask ask = {
		.command = "guest-exec-status",
		.args = json_pack("{s:I}", "pid", x->pid),
		.answer_max = QGA_ENDED_MAX,
		.fn = on_status,
		.arg = x,
	};
	int r = qga_ask(x->qga, &ask);

	if (r == -ENOTCONN && !qga_is_open(x->qga))
		lost(x, "QEMU's guest agent is gone");
	else if (r < 0)
		loop_timer_set(x->timer, AGAIN_MS);
}

/* -- its start ------------------------------------------------------------- */

static void on_started(const struct rpc_reply *reply, void *arg)
{
	struct qga_exec *x = arg;
	struct rpc_reply r = *reply;

	x->pid = json_integer_value(json_object_get(reply->result, "pid"));
	if (reply->result && x->pid <= 0)
		r = (struct rpc_reply){
			.code = RPC_E_PROTO,
			.message = "QEMU's guest agent tells no process",
		};
	if (r.code == RPC_E_NOENT || r.code == RPC_E_PERM)
		r.what = "command";
	else if (!r.result)
		r.what = "setup";
	if (r.result)
		loop_timer_set(x->timer, POLL_FIRST_MS);
	x->ops.started(&r, x->arg);
}

static void never_started(struct qga_exec *x, enum rpc_error code,
			  const char *words)
{
	const struct rpc_reply reply = { .code = (int)code,
					 .message = words,
					 .what = "setup" };

	x->ops.started(&reply, x->arg);
}

static int begin(struct qga_exec *x)
{
	struct qga_ask ask = { .command = "guest-exec",
			       .args = TAKE_PTR(x->args),
			       .fn = on_started,
			       .arg = x };

	if (x->len)
		json_object_set_new(ask.args, "input-data",
				    param_encode_b64(x->input, x->len));
	free(TAKE_PTR(x->input));
	x->begun_ms = loop_now_ms();
	return qga_ask(x->qga, &ask);
}

static void stop_reading(struct qga_exec *x)
{
	loop_io_free(TAKE_PTR(x->io));
	if (x->in >= 0)
		close(TAKE_FD(x->in));
}

static bool make_room(struct qga_exec *x)
{
	char *more;

	if (!x->input)
		more = malloc(4096);
	else if (x->len < 4096 || (x->len & (x->len - 1)))
		return true;
	else
		more = realloc(x->input, 2 * x->len);
	if (more)
		x->input = more;
	return more;
}

/* The room is the next power of two, 4096 at least. */
static size_t room(const struct qga_exec *x)
{
	size_t size = 4096;

	while (size <= x->len)
		size *= 2;
	return size - x->len;
}

static void on_input(uint32_t events, void *arg)
{
	struct qga_exec *x = arg;
	ssize_t n = -1;

	if (make_room(x))
		n = read(x->in, x->input + x->len, room(x));
	else
		errno = ENOMEM;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	x->len += n > 0 ? (size_t)n : 0;
	if (n > 0 && x->len <= QGA_INPUT_MAX)
		return;
	stop_reading(x);
	if (x->len > QGA_INPUT_MAX)
		never_started(
			x, RPC_E_TOOBIG,
			"standard input: more than 1 MiB, which is the most that goes by QEMU's guest agent");
	else if (begin(x) < 0)
		never_started(x, RPC_E_NOAGENT, "QEMU's guest agent is gone");
}

bool qga_exec_reads(const struct qga_exec *x)
{
	return x->in >= 0;
}

int qga_exec_new(struct loop *l, struct qga *q, const json_t *params, int in,
		 const struct qga_exec_ops *ops, void *arg,
		 struct qga_exec **ret)
{
	struct qga_exec *x = calloc(1, sizeof(*x));
	int r;

	if (!x) {
		if (in >= 0)
			close(in);
		return -ENOMEM;
	}
	*x = (struct qga_exec){ .loop = l,
				.qga = q,
				.ops = *ops,
				.arg = arg,
				.in = in,
				.args = exec_args(q, params) };
	r = x->args ? loop_timer_add(l, -1, poll_status, x, &x->timer)
		    : -ENOMEM;
	if (r == 0 && in >= 0)
		r = loop_io_add(l, in, EPOLLIN, on_input, x, &x->io);
	else if (r == 0)
		r = begin(x);
	if (r < 0)
		qga_exec_free(x);
	else
		*ret = x;
	return r;
}

void qga_exec_free(struct qga_exec *x)
{
	if (!x)
		return;
	qga_forget(x->qga, x);
	while (!LIST_EMPTY(&x->kills))
		kill_failed(LIST_FIRST(&x->kills), RPC_E_NOENT,
			    "the process has ended");
	stop_reading(x);
	loop_timer_free(x->timer);
	json_decref(x->args);
	free(x->input);
	free(x);
}

/* -- signals --------------------------------------------------------------- */

static void kill_done(struct kill_call *k, const struct rpc_reply *reply)
{
	LIST_REMOVE(k, next);
	qga_forget(k->qga, k);
	if (k->fn)
		k->fn(reply, k->arg);
	loop_timer_free(k->timer);
	free(k);
}

static void kill_failed(struct kill_call *k, enum rpc_error code,
			const char *words)
{
	const struct rpc_reply reply = { .code = (int)code, .message = words };

	kill_done(k, &reply);
}

static void on_kill_status(const struct rpc_reply *reply, void *arg)
{
	const json_t *code = json_object_get(reply->result, "exitcode");
	const struct rpc_reply done = { .result = json_true() };
	struct kill_call *k = arg;

	if (!reply->result)
		kill_done(k, reply);
	else if (!json_is_true(json_object_get(reply->result, "exited")))
		loop_timer_set(k->timer, KILL_MS);
	else if (json_is_integer(code) && json_integer_value(code) == 0)
		kill_done(k, &done);
	else
		kill_failed(
			k, RPC_E_NOENT,
			"the guest's program kill did not find the process");
}

static void poll_kill(void *arg)
{
	struct kill_call *k = arg;
	const struct qga_ask ask = {
		.command = "guest-exec-status",
		.args = json_pack("{s:I}", "pid", k->pid),
		.fn = on_kill_status,
		.arg = k,
	};

	if (qga_ask(k->qga, &ask) < 0)
		kill_failed(k, RPC_E_NOAGENT, "QEMU's guest agent is gone");
}

static void on_kill_started(const struct rpc_reply *reply, void *arg)
{
	struct kill_call *k = arg;

	k->pid = json_integer_value(json_object_get(reply->result, "pid"));
	if (reply->code == RPC_E_NOENT)
		kill_failed(
			k, RPC_E_NOTSUP,
			"QEMU's guest agent sends no signals, and the guest has no program kill");
	else if (!reply->result)
		kill_done(k, reply);
	else
		loop_timer_set(k->timer, KILL_MS);
}

/* "-9", "-TERM"; "SIGTERM" is known to fewer programs. */
static json_t *signal_word(const json_t *signal)
{
	const char *name = json_string_value(signal);

	if (json_is_integer(signal))
		return json_sprintf("-%d", (int)json_integer_value(signal));
	if (!name)
		return NULL;
	return json_sprintf("-%s",
			    strncmp(name, "SIG", 3) == 0 ? name + 3 : name);
}

int qga_exec_signal(struct qga_exec *x, const json_t *signal, rpc_reply_fn fn,
		    void *arg)
{
	struct kill_call *k = x->pid ? calloc(1, sizeof(*k)) : NULL;
	json_t *word = signal_word(signal);
	struct qga_ask ask = { .command = "guest-exec",
			       .fn = on_kill_started,
			       .arg = k };
	int r = x->pid ? -ENOMEM : -ESRCH;

	if (k && word) {
		*k = (struct kill_call){ .qga = x->qga, .fn = fn, .arg = arg };
		ask.args = json_pack("{s:s, s:[O, o]}", "path", "kill", "arg",
				     word,
				     json_sprintf("%lld", (long long)x->pid));
		r = loop_timer_add(x->loop, -1, poll_kill, k, &k->timer);
		if (r == 0)
			r = qga_ask(x->qga, &ask);
		else
			json_decref(ask.args);
	}
	json_decref(word);
	if (r < 0 && k) {
		loop_timer_free(k->timer);
		free(k);
	} else if (r == 0) {
		LIST_INSERT_HEAD(&x->kills, k, next);
	}
	return r;
}
