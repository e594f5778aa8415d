/* fuzz_qga.c - the JSON of QEMU's monitor and of its guest agent
 *
 * The first byte of the input says whose the rest is:
 *   0  the monitor's, from its greeting on
 *   1  the agent's, before it was met
 *   2  the agent's, when it was: a process with its signal, the guest's
 *      addresses and a plain request are under way. A byte 1 stands for the
 *      number of the request, 2 for a second that passes, 3 for the port's
 *      being closed and opened, 4 for more requests
 */
#include <config.h>

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "qga_exec.h"
#include "qga_net.h"
#include "qmp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
	struct loop *loop;
	struct loop_timer *tick;
	int port[2];
	struct qmp *qmp;
	struct qga *qga;
	struct qga_exec *exec;
	struct qga_net *net;
	unsigned int asked, answered;
	char id[24], seen[4096];
} fuzz;

static void on_tick(void *arg)
{
	loop_stop(fuzz.loop, 0);
}

/* The number at the end of what was asked last. */
static void note_id(void)
{
	const char *id;
	char *mark = fuzz.seen;
	ssize_t n;

	n = recv(fuzz.port[1], fuzz.seen, sizeof(fuzz.seen) - 1, MSG_DONTWAIT);
	if (n <= 0)
		return;
	fuzz.seen[n] = '\0';
	while ((mark = strstr(mark, "\"id\":"))) {
		id = mark += 5;
		snprintf(fuzz.id, sizeof(fuzz.id), "%.*s",
			 (int)strspn(id, "0123456789"), id);
	}
}

/* A round, which does not sleep. */
static void turn(void)
{
	loop_timer_set(fuzz.tick, 0);
	loop_run(fuzz.loop);
	note_id();
}

static void feed(const void *p, size_t len)
{
	while (len) {
		ssize_t n =
			send(fuzz.port[1], p, len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n > 0) {
			p = (const uint8_t *)p + n;
			len -= (size_t)n;
		}
		turn();
		if (n < 0 && (!fuzz.qga || !qga_is_open(fuzz.qga)))
			return; /* it is not heard any more, or not now */
		if (n < 0)
			return;
	}
}

/* -- the monitor ----------------------------------------------------------- */

static void on_qmp_reply(json_t *result, const char *error, void *arg)
{
	if (!result == !error)
		abort();
	fuzz.answered++;
}

static void qmp_ask(void)
{
	if (qmp_send(fuzz.qmp, "query-status", NULL, on_qmp_reply, NULL) == 0)
		fuzz.asked++;
}

static void on_ready(void *arg)
{
	qmp_ask();
	qmp_ask();
}

static void on_event(const char *name, json_t *data, void *arg)
{
	if (!name)
		abort();
	qmp_ask();
}

static void on_gone(const char *why, void *arg)
{
	if (fuzz.asked != fuzz.answered)
		abort(); /* each is answered */
}

static void fuzz_monitor(const uint8_t *data, size_t size)
{
	static const struct qmp_ops ops = { on_ready, on_event, on_gone };

	if (qmp_new(fuzz.loop, fuzz.port[0], &ops, NULL, &fuzz.qmp, NULL) < 0)
		abort();
	feed(data, size);
	close(TAKE_FD(fuzz.port[1]));
	turn();
	qmp_free(TAKE_PTR(fuzz.qmp));
}

/* -- the agent ------------------------------------------------------------- */

static void on_answer(const struct rpc_reply *reply, void *arg)
{
	if (!reply->result && (!reply->code || !reply->message))
		abort();
	fuzz.answered++;
}

static void on_started(const struct rpc_reply *reply, void *arg)
{
	const json_t *sig = json_integer(9);

	on_answer(reply, arg);
	fuzz.answered--;
	if (!reply->result)
		qga_exec_free(TAKE_PTR(fuzz.exec));
	else if (qga_exec_signal(fuzz.exec, sig, on_answer, NULL) == 0)
		fuzz.asked++;
	json_decref((json_t *)(uintptr_t)sig);
}

static void on_ended(const json_t *how, const struct qga_output out[2],
		     const char *why, void *arg)
{
	if (!how == !why)
		abort();
	for (int i = 0; i < 2; i++)
		if (out[i].len && !out[i].data)
			abort();
	qga_exec_free(TAKE_PTR(fuzz.exec));
}

static void on_net(const char *error, void *arg)
{
	qga_net_free(TAKE_PTR(fuzz.net));
}

static void ask_more(void)
{
	static const struct qga_exec_ops ops = { on_started, on_ended };
	const struct qga_ask ask = { .command = "guest-fstrim",
				     .fn = on_answer };
	json_t *params = json_pack("{s:[s], s:{}}", "argv", "x", "env");

	if (!fuzz.exec)
		qga_exec_new(fuzz.loop, fuzz.qga, params, -1, &ops, NULL,
			     &fuzz.exec);
	json_decref(params);
	if (!fuzz.net)
		qga_net_new(fuzz.loop, fuzz.qga, "52:54:00:00:00:00",
			    "10.0.0.1", 5000, on_net, NULL, &fuzz.net);
	if (qga_ask(fuzz.qga, &ask) == 0)
		fuzz.asked++;
	turn();
}

static void reopen(void)
{
	qga_port(fuzz.qga, false);
	qga_port(fuzz.qga, true);
	turn();
}

static void act(uint8_t what)
{
	if (what == 1)
		feed(fuzz.id, strlen(fuzz.id));
	else if (what == 2)
		loop_skip(1000);
	else if (what == 3)
		reopen();
	else
		ask_more();
	turn();
}

/* A line at a time: an answer is one only after it was asked for. */
static void feed_agent(const uint8_t *p, size_t len)
{
	while (len) {
		size_t n = 0;

		while (n < len && (p[n] == 0 || p[n] > 4) && p[n] != '\n')
			n++;
		if (n < len && p[n] == '\n')
			feed(p, ++n);
		else if (n)
			feed(p, n);
		else
			act(p[n++]);
		p += n;
		len -= n;
	}
}

static void say(const char *text)
{
	feed_agent((const uint8_t *)text, strlen(text));
}

static void on_up(void *arg)
{
}

static void on_down(const char *why, void *arg)
{
	if (!*why)
		abort();
}

static void fuzz_agent(const uint8_t *data, size_t size, bool met)
{
	static const struct qga_ops ops = { on_up, on_down };

	if (qga_new(fuzz.loop, fuzz.port[0], &ops, NULL, &fuzz.qga, NULL) < 0)
		abort();
	qga_port(fuzz.qga, true);
	turn();
	if (met) {
		say("\xff{\"return\":\1}\n");
		say("{\"return\":{},\"id\":\1}\n");
		say("{\"return\":{},\"id\":\1}\n");
		if (!qga_is_up(fuzz.qga))
			abort();
		ask_more();
	}
	feed_agent(data, size);
	qga_port(fuzz.qga, false);
	for (int i = 0; i < 2; i++) {
		loop_skip(5000);
		turn();
	}
	qga_exec_free(TAKE_PTR(fuzz.exec));
	qga_net_free(TAKE_PTR(fuzz.net));
	if (fuzz.asked != fuzz.answered)
		abort(); /* each is answered */
	qga_free(TAKE_PTR(fuzz.qga));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	signal(SIGPIPE, SIG_IGN);
	fuzz.asked = fuzz.answered = 0;
	snprintf(fuzz.id, sizeof(fuzz.id), "0");
	loop_clock_stop(); /* only act() lets time go by */
	if (loop_new(&fuzz.loop, NULL) < 0 ||
	    loop_timer_add(fuzz.loop, -1, on_tick, NULL, &fuzz.tick) < 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fuzz.port) < 0)
		abort();
	if (data[0] == 0)
		fuzz_monitor(data + 1, size - 1);
	else
		fuzz_agent(data + 1, size - 1, data[0] != 1);
	loop_timer_free(fuzz.tick);
	loop_free(fuzz.loop);
	if (fuzz.port[1] >= 0)
		close(fuzz.port[1]);
	return 0;
}
