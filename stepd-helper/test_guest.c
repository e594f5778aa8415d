/* test_guest.c - a guest's agent: its life in time, and when it is hostile */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
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
#include "data_item.h"
#include "op_agent.h"
#include "op_file.h"
#include "op_msg.h"
#include "op_proc.h"
#include "op_qga.h"
#include "op_store.h"
#include "op_sync.h"
#include "op_vm.h"
#include "op_world.h"
#include "opcat.h"

/* The helper's end with all ops of a task, on a machine that is none; the
 * agent's end is a mux of the test's, which says what it likes. */

#define BEACON_S 10

struct machine {
	struct guest *guest;
	bool ended, paused;
};

struct guest *machine_guest(const struct machine *m)
{
	return m->guest;
}

struct data_items *machine_data(struct machine *m)
{
	static struct data_items none;

	return &none;
}

bool machine_runs(const struct machine *m)
{
	return m->guest && !m->ended;
}

const struct publish *machine_ports(const struct machine *m, size_t *ret_n)
{
	*ret_n = 0;
	return NULL;
}

bool machine_is_saving(const struct machine *m)
{
	return false;
}

bool machine_is_paused(const struct machine *m)
{
	return m->paused;
}

/* QEMU answers no more. */
int machine_qmp_fd(struct machine *m, const char *command, json_t *args, int fd,
		   qmp_reply_fn fn, void *arg)
{
	json_decref(args);
	return 0;
}

int machine_qmp(struct machine *m, const char *command, json_t *args,
		qmp_reply_fn fn, void *arg)
{
	return machine_qmp_fd(m, command, args, -1, fn, arg);
}

pid_t machine_pid(const struct machine *m)
{
	return 0;
}

void machine_powerdown(struct machine *m)
{
}

bool machine_quit(struct machine *m)
{
	return true;
}

void machine_kill(struct machine *m)
{
}

static char name[] = "vm0", user[] = "root", domain[] = "", pattern[] = "vm%t";
static const struct task task = { .rank = 0,
				  .ranks = 2,
				  .step = "1.0",
				  .node = "here",
				  .beacon_interval_s = BEACON_S };
static const struct spec spec = { .hostname = name,
				  .hostname_pattern = pattern,
				  .domain = domain,
				  .guest_user = user,
				  .boot_timeout_s = 300,
				  .cidr = { 0x0a000000, 8 } };

static struct fixture {
	struct loop *loop;
	struct loop_timer *tick;
	struct machine machine;
	struct ops *ops;
	struct peers *peers;
	struct op_agent *op_agent;
	struct op_file *op_file;
	struct op_msg *op_msg;
	struct op_proc *op_proc;
	struct op_qga *op_qga;
	struct op_store *op_store;
	struct op_sync *op_sync;
	struct op_vm *op_vm;
	struct op_world *op_world;
	struct ops_origin user, guest;
	struct rpc *user_rpc;
	json_t *answer; /* to the user, the last */
	unsigned int n_answers;
	struct mux *mux; /* the agent's */
	int port[2];
	unsigned int hellos, losses, heard;
	int last_code; /* of what the agent was answered; 0: a result */
	json_t *welcome;
	char lost_why[128];
} f;

static const struct rpc_method none[] = { { 0 } };

static void on_tick(void *arg)
{
	loop_stop(f.loop, 0);
}

static void spin(void)
{
	for (int i = 0; i < 4; i++) {
		loop_timer_set(f.tick, i ? 0 : 1);
		assert_int_equal(loop_run(f.loop), 0);
	}
}

/* -- the helper ------------------------------------------------------------ */

static void on_hello(void *arg)
{
	f.hellos++;
	if (f.op_vm)
		op_vm_changed(f.op_vm);
}

static void on_lost(const char *why, void *arg)
{
	f.losses++;
	snprintf(f.lost_why, sizeof(f.lost_why), "%s", why);
}

static int to_user(const char *text, size_t len, void *arg)
{
	json_decref(f.answer);
	f.answer = json_loadb(text, len, 0, NULL);
	assert_non_null(f.answer);
	f.n_answers++;
	return 0;
}

static void make_ops(void)
{
	const struct service_conf conf = { f.loop, &task, &spec, NULL,
					   &f.machine };

	f.ops = ops_new();
	if (peers_new(f.loop, &task, &spec, f.ops, &f.peers, NULL) < 0 ||
	    op_agent_new(&f.machine, f.ops, &f.op_agent) < 0 ||
	    op_file_new(&conf, f.ops, &f.op_file) < 0 ||
	    op_msg_new(f.loop, &task, NULL, f.ops, &f.op_msg) < 0 ||
	    op_proc_new(&conf, f.ops, &f.op_proc) < 0 ||
	    op_qga_new(&conf, f.ops, &f.op_qga) < 0 ||
	    op_store_new(&task, f.peers, f.ops, &f.op_store) < 0 ||
	    op_sync_new(f.loop, &task, f.peers, f.ops, &f.op_sync) < 0 ||
	    op_vm_new(&conf, f.ops, &f.op_vm) < 0 ||
	    op_world_new(&conf, f.peers, f.ops, &f.op_world) < 0)
		fail();
	ops_set_router(f.ops, peers_route, f.peers);
	f.user = (struct ops_origin){ f.ops, OPS_USER, NULL, 0 };
	f.guest = (struct ops_origin){ f.ops, OPS_GUEST, NULL, 0 };
	f.user_rpc = rpc_new(none, NULL, to_user, NULL);
	rpc_set_handler(f.user_rpc, ops_handle, &f.user);
}

static int setup(void **state)
{
	memset(&f, 0, sizeof(f));
	signal(SIGPIPE, SIG_IGN);
	if (loop_new(&f.loop, NULL) < 0 ||
	    loop_timer_add(f.loop, -1, on_tick, NULL, &f.tick) < 0)
		return -1;
	f.port[1] = -1;
	make_ops();
	return 0;
}

static int teardown(void **state)
{
	if (f.machine.guest) {
		guest_set_handler(f.machine.guest, NULL, NULL);
		guest_forget_all(f.machine.guest, "the end");
	}
	rpc_free(f.user_rpc);
	peers_end(f.peers, "the end");
	op_world_free(f.op_world);
	op_sync_free(f.op_sync);
	op_store_free(f.op_store);
	op_msg_free(f.op_msg);
	op_vm_free(f.op_vm);
	op_qga_free(f.op_qga);
	op_proc_free(f.op_proc);
	op_file_free(f.op_file);
	op_agent_free(f.op_agent);
	peers_free(f.peers);
	ops_free(f.ops);
	mux_free(f.mux);
	guest_free(f.machine.guest);
	if (f.port[1] >= 0)
		close(f.port[1]);
	loop_timer_free(f.tick);
	loop_free(f.loop);
	json_decref(f.answer);
	json_decref(f.welcome);
	return 0;
}

/* QEMU is started. */
static void power_on(void)
{
	static const struct guest_ops ops = { on_hello, on_lost };

	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, f.port), 0);
	assert_int_equal(guest_new(f.loop, f.port[0], &task, &spec, &ops, NULL,
				   &f.machine.guest, NULL),
			 0);
	guest_set_handler(f.machine.guest, ops_handle, &f.guest);
	spin();
}

/* -- the agent ------------------------------------------------------------- */

static void agent_up(const struct mux_peer *peer, void *arg)
{
}

static void agent_down(const char *why, void *arg)
{
}

static void agent_ctrl(const char *text, size_t len, void *arg)
{
	json_t *msg = json_loadb(text, len, 0, NULL);
	const json_t *error = json_object_get(msg, "error");
	const json_t *rank =
		json_object_get(json_object_get(msg, "result"), "rank");

	f.heard++;
	f.last_code = (int)json_integer_value(json_object_get(error, "code"));
	if (rank) {
		json_decref(f.welcome);
		f.welcome = json_incref(json_object_get(msg, "result"));
	}
	json_decref(msg);
}

static const struct mux_ops agent_ops = { agent_up, agent_down, agent_ctrl,
					  NULL };

static void say(const char *text)
{
	assert_int_equal(mux_ctrl(f.mux, text, strlen(text)), 0);
	spin();
}

static void boot_agent(void)
{
	mux_free(f.mux);
	assert_int_equal(
		mux_new(f.loop, f.port[1], &agent_ops, NULL, &f.mux, NULL), 0);
	for (int i = 0; i < 100 && !mux_is_up(f.mux); i++) {
		loop_skip(100); /* conversations begin so often, and no more */
		spin();
	}
	assert_true(mux_is_up(f.mux));
	spin();
}

static void say_hello(const char *boot_id)
{
	char text[256];

	snprintf(
		text, sizeof(text),
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"agent.hello\",\"params\":{\"boot_id\":\"%s\",\"rank\":1,\"mac\":[]}}",
		boot_id);
	say(text);
}

static void say_alive(unsigned int seq)
{
	char text[128];

	snprintf(
		text, sizeof(text),
		"{\"jsonrpc\":\"2.0\",\"method\":\"agent.alive\",\"params\":{\"seq\":%u}}",
		seq);
	assert_int_equal(mux_ctrl(f.mux, text, strlen(text)), 0);
	loop_timer_set(f.tick, 0);
	loop_run(f.loop);
	loop_timer_set(f.tick, 0);
	loop_run(f.loop);
}

static void begin(void)
{
	power_on();
	boot_agent();
	say_hello("first");
	assert_int_equal(f.hellos, 1);
}

static const char *agent_state(void)
{
	return op_vm_agent_state(&f.machine);
}

/* -- the user -------------------------------------------------------------- */

static void user_asks(const char *method, const char *params)
{
	char text[1024];

	json_decref(TAKE_PTR(f.answer));
	f.n_answers = 0;
	snprintf(
		text, sizeof(text),
		"{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"%s\",\"params\":%s}",
		method, params);
	rpc_receive(f.user_rpc, text, strlen(text));
	spin();
}

static int user_code(void)
{
	return (int)json_integer_value(
		json_object_get(json_object_get(f.answer, "error"), "code"));
}

/* What needs the guest's agent, and parameters that are right. */
static const struct {
	const char *method, *params;
} agent_asks[] = {
	{ "file.hash", "{\"path\":\"/x\"}" },
	{ "file.list", "{\"path\":\"/x\"}" },
	{ "file.mkdir", "{\"path\":\"/x\"}" },
	{ "file.read", "{\"path\":\"/x\"}" },
	{ "file.readlink", "{\"path\":\"/x\"}" },
	{ "file.remove", "{\"path\":\"/x\"}" },
	{ "file.rename", "{\"path\":\"/x\",\"to\":\"/y\"}" },
	{ "file.set", "{\"path\":\"/x\"}" },
	{ "file.stat", "{\"path\":\"/x\"}" },
	{ "file.symlink", "{\"path\":\"/x\",\"target\":\"y\"}" },
	{ "file.truncate", "{\"path\":\"/x\",\"size\":0}" },
	{ "file.write", "{\"path\":\"/x\",\"data\":\"\"}" },
	{ "proc.run", "{\"argv\":[\"true\"]}" },
	{ "proc.start", "{\"argv\":[\"true\"]}" },
	{ "sys.info", "{}" },
	{ "sys.time.set", "{\"ns\":0}" },
	{ "task.echo", "{}" },
	{ "task.ping", "{\"path\":\"agent\"}" },
	{ "vm.shutdown", "{\"mode\":\"agent\"}" },
};

static void all_answer(int code)
{
	for (size_t i = 0; i < ARRAY_SIZE(agent_asks); i++) {
		user_asks(agent_asks[i].method, agent_asks[i].params);
		if (f.n_answers != 1 || user_code() != code)
			fail_msg("%s: %u answers, code %d",
				 agent_asks[i].method, f.n_answers,
				 user_code());
	}
}

/* -- its life -------------------------------------------------------------- */

static void test_no_agent_answers_at_once(void **state)
{
	all_answer(RPC_E_STATE); /* no VM yet */
	power_on();
	all_answer(RPC_E_NOAGENT); /* it boots */
	f.machine.paused = true;
	all_answer(RPC_E_STATE);
	f.machine.paused = false;
	boot_agent();
	all_answer(RPC_E_NOAGENT); /* no hello yet */
	say_hello("first");
	f.machine.paused = true;
	all_answer(RPC_E_STATE);
	f.machine.paused = false;
	f.machine.ended = true;
	all_answer(RPC_E_STATE);
	f.machine.ended = false;
	loop_skip(100 * BEACON_S * 1000);
	all_answer(RPC_E_UNREACHABLE); /* silent */
	say_alive(1);
	mux_free(TAKE_PTR(f.mux));
	guest_port(f.machine.guest, false);
	loop_skip(GUEST_CLOSED_MS);
	spin();
	all_answer(RPC_E_NOAGENT); /* gone */
}

static void test_states(void **state)
{
	assert_string_equal(agent_state(), "none");
	begin();
	assert_string_equal(agent_state(), "alive");
	loop_skip(3 * BEACON_S * 1000 - 500);
	assert_string_equal(agent_state(), "alive");
	loop_skip(1000);
	assert_string_equal(agent_state(), "late");
	loop_skip(3 * BEACON_S * 500 - 1000);
	assert_string_equal(agent_state(), "late");
	loop_skip(1000);
	assert_string_equal(agent_state(), "lost");
	assert_int_equal(f.losses, 0); /* it may be silent, and it is there */
	say_alive(1);
	assert_string_equal(agent_state(), "alive");
}

static void test_paused_is_not_dead(void **state)
{
	begin();
	f.machine.paused = true;
	loop_skip(24LL * 3600 * 1000);
	assert_string_equal(agent_state(), "alive");
	f.machine.paused = false;
	guest_seen_now(f.machine.guest);
	assert_string_equal(agent_state(), "alive");
	loop_skip(5LL * BEACON_S * 1000);
	assert_string_equal(agent_state(), "lost");
}

/* 24 hours: never late, and nothing grows. */
static void test_a_day(void **state)
{
	size_t before = 0;

	begin();
	for (unsigned int seq = 1; seq <= 24 * 3600 / BEACON_S; seq++) {
		loop_skip(BEACON_S * 1000);
		say_alive(seq);
		if (strcmp(agent_state(), "alive") != 0)
			fail_msg("%s after %u beacons", agent_state(), seq);
		if (seq == 100)
			before = mallinfo2().uordblks;
	}
	assert_in_range(mallinfo2().uordblks, 0, before + 4096);
	assert_int_equal(json_integer_value(json_object_get(
				 guest_beacon(f.machine.guest), "seq")),
			 24 * 3600 / BEACON_S);
	assert_int_equal(f.losses, 0);
}

static void test_reboot(void **state)
{
	begin();
	boot_agent();
	assert_int_equal(f.losses, 1);
	assert_string_equal(agent_state(), "gone");
	say_hello("second");
	assert_int_equal(f.hellos, 2);
	assert_string_equal(agent_state(), "alive");
	assert_string_equal(json_string_value(json_object_get(
				    guest_hello(f.machine.guest), "boot_id")),
			    "second");
}

static void test_closed_port(void **state)
{
	begin();
	guest_port(f.machine.guest, false);
	guest_port(f.machine.guest, true); /* another one is there at once */
	loop_skip(GUEST_CLOSED_MS);
	spin();
	assert_int_equal(f.losses, 0);
	guest_port(f.machine.guest, false);
	loop_skip(GUEST_CLOSED_MS);
	spin();
	assert_int_equal(f.losses, 1);
	assert_string_equal(f.lost_why, "it has closed its port");
}

static void test_ends_what_it_was_asked(void **state)
{
	begin();
	user_asks("sys.info", "{}");
	assert_int_equal(f.n_answers, 0);
	boot_agent();
	assert_int_equal(f.n_answers, 1);
	assert_int_equal(user_code(), RPC_E_UNREACHABLE);
}

/* -- it is hostile --------------------------------------------------------- */

/* What this process has in use, beside what was there. */
static size_t used(void)
{
	struct mallinfo2 i = mallinfo2();

	return i.uordblks + i.hblkhd;
}

/* @fill repeated in brackets, to @len bytes. */
static char *big(const char *head, const char *fill, const char *tail,
		 size_t len)
{
	char *text = malloc(len + 256), *p = text;

	p += sprintf(p, "%s", head);
	while ((size_t)(p - text) < len)
		p += sprintf(p, "%s", fill);
	sprintf(p - 1, "%s", tail); /* without the last comma */
	return text;
}

static void test_claims(void **state)
{
	begin(); /* it says that it is rank 1 */
	assert_int_equal(json_integer_value(json_object_get(f.welcome, "rank")),
			 0);
	user_asks("task.state", "{}");
	say("{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"agent.hello\",\"params\":{\"rank\":1}}");
	assert_int_equal(f.hellos, 1); /* one a conversation */
}

static void test_big_hello(void **state)
{
	size_t before;

	begin();
	before = used();
	for (int i = 0; i < 3; i++) {
		static const char *const methods[] = { "agent.hello",
						       "agent.alive",
						       "proc.exit" };
		unsigned int heard = f.heard;
		char head[128];
		char *text;

		snprintf(
			head, sizeof(head),
			"{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"%s\",\"params\":{\"x\":[",
			methods[i]);
		text = big(head, "0,", "]}}", 250 * 1024);
		say(text);
		free(text);
		for (int n = 0; n < 1000 && f.heard == heard; n++)
			spin();
		assert_int_equal(f.heard, heard + 1);
		assert_int_equal(f.last_code, i < 2 ? RPC_E_TOOBIG : 0);
	}
	assert_in_range(used(), 0, before + 65536);
	assert_int_equal(f.losses, 0);
}

static void start_proc(int i)
{
	char text[256];

	user_asks("proc.start",
		  "{\"argv\":[\"x\"],\"stdout\":\"null\",\"stderr\":\"null\"}");
	snprintf(
		text, sizeof(text),
		"{\"jsonrpc\":\"2.0\",\"id\":%d,\"result\":{\"proc\":%d,\"pid\":1}}",
		i, i);
	say(text);
	assert_int_equal(user_code(), 0);
}

/* Who waits for it has it forgotten, while it tells that it has ended. */
static void test_run(void **state)
{
	begin();
	user_asks("proc.run", "{\"argv\":[\"x\"]}");
	say("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"proc\":1,\"pid\":1}}");
	say("{\"jsonrpc\":\"2.0\",\"method\":\"proc.exit\",\"params\":{\"proc\":1,\"exit\":3,\"out_open\":true}}");
	assert_int_equal(f.n_answers, 1);
	assert_int_equal(json_integer_value(json_object_get(
				 json_object_get(f.answer, "result"), "exit")),
			 3);
	user_asks("proc.list", "{}");
	assert_int_equal(json_array_size(json_object_get(
				 json_object_get(f.answer, "result"), "procs")),
			 0);
}

/* What is kept of a process that has ended is no more than it should say. */
static void test_big_exit(void **state)
{
	size_t before;
	char *text;

	begin();
	start_proc(1);
	before = used();
	text = big(
		"{\"jsonrpc\":\"2.0\",\"method\":\"proc.exit\",\"params\":{\"proc\":1,\"exit\":0,\"rusage\":{\"utime_us\":[0]},\"signal\":[",
		"0,", "]}}", 250 * 1024);
	say(text);
	free(text);
	user_asks("proc.wait", "{\"proc\":1}");
	assert_int_equal(f.n_answers, 1);
	assert_in_range(used(), 0, before + 65536);
}

static void test_answers_twice(void **state)
{
	begin();
	user_asks("sys.info", "{}");
	say("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"a\":1}}");
	say("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"a\":2}}");
	say("{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":3,\"message\":\"x\"}}");
	assert_int_equal(f.n_answers, 1);
	assert_int_equal(json_integer_value(json_object_get(
				 json_object_get(f.answer, "result"), "a")),
			 1);
}

static void test_answers_what_nobody_asked(void **state)
{
	begin();
	say("{\"jsonrpc\":\"2.0\",\"id\":99,\"result\":{}}");
	say("{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"result\":{}}");
	say("{\"jsonrpc\":\"2.0\",\"result\":{}}");
	say("{\"jsonrpc\":\"2.0\",\"method\":\"proc.exit\",\"params\":{\"proc\":5}}");
	say("{\"jsonrpc\":\"2.0\",\"method\":\"rpc.cancel\",\"params\":{\"id\":5}}");
	user_asks("sys.info", "{}");
	assert_int_equal(f.n_answers, 0);
	say("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}");
	assert_int_equal(f.n_answers, 1);
}

/* Everything that is not for guests. */
static void test_asks_what_it_may_not(void **state)
{
	char text[256];

	begin();
	for (const struct op *o = ops_table; o->name; o++) {
		if (o->guest || strncmp(o->name, "net.", 4) == 0)
			continue;
		snprintf(
			text, sizeof(text),
			"{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"%s\",\"params\":{\"to\":\"all\"}}",
			o->name);
		f.last_code = 0;
		say(text);
		if (f.last_code != RPC_E_PERM && f.last_code != RPC_NO_METHOD)
			fail_msg("%s: %d", o->name, f.last_code);
	}
}

static void test_asks_without_end(void **state)
{
	char text[256];

	begin();
	for (int i = 0; i < 1000; i++) {
		snprintf(
			text, sizeof(text),
			"{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"msg.recv\",\"params\":{\"wait_ms\":60000}}",
			i);
		f.last_code = 0;
		assert_int_equal(mux_ctrl(f.mux, text, strlen(text)), 0);
		if (i % 50 == 0)
			spin();
	}
	spin();
	assert_int_equal(f.last_code, RPC_E_FULL);
	user_asks("task.ping", "{}"); /* others go on */
	assert_int_equal(f.n_answers, 1);
}

/* Messages and values as many as it can: up to what queues and store hold. */
static void test_fills_queues(void **state)
{
	const size_t most = OP_MSG_BYTES + OP_STORE_BYTES;
	size_t before;
	char *data = big("", "xxxxxxxx,", "x", 48 * 1024);
	char *text = malloc(65536);
	unsigned int refused = 0;

	begin();
	before = used();
	for (int i = 0; i < 800; i++) {
		snprintf(
			text, 65536,
			i % 2 ? "{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"msg.send\",\"params\":{\"queue\":\"q%d\",\"data\":\"%s\"}}"
			      : "{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"store.put\",\"params\":{\"scope\":\"task\",\"key\":\"k%d\",\"value\":\"%s\"}}",
			i, data);
		f.last_code = 0;
		say(text);
		refused += f.last_code == RPC_E_FULL;
	}
	assert_true(refused > 0);
	assert_in_range(used(), 0, before + most + most / 4);
	user_asks("task.ping", "{}");
	assert_int_equal(f.n_answers, 1);
	free(text);
	free(data);
}

/* Channels that nobody here has opened hold nothing. */
static void test_opens_channels(void **state)
{
	size_t before;
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	begin();
	before = used();
	for (unsigned int i = 1; i <= MUX_CHANNELS; i++)
		mux_recv_fd(f.mux, 1000 + i, dup(null), NULL, NULL);
	spin();
	close(null);
	assert_in_range(used(), 0, before + (1 << 20));
	user_asks("task.ping", "{}");
	assert_int_equal(f.n_answers, 1);
}

static void test_floods(void **state)
{
	static const char text[] =
		"{\"jsonrpc\":\"2.0\",\"method\":\"agent.bye\",\"params\":{}}";
	size_t before = 0;

	begin();
	for (int i = 0; i < 20000; i++) {
		assert_int_equal(mux_ctrl(f.mux, text, strlen(text)), 0);
		if (i % 200 == 0)
			spin();
		if (i == 2000)
			before = used();
	}
	assert_in_range(used(), 0, before + 65536);
	user_asks("task.ping", "{}");
	assert_int_equal(f.n_answers, 1);
}

/* It is up, and takes nothing: what is for it is bounded, and refused. */
static void test_never_reads(void **state)
{
	size_t before;
	int code = 0;
	char *text, *data;

	begin();
	mux_free(TAKE_PTR(f.mux)); /* the port stays, and is not read */
	data = big("", "xxxxxxxx,", "x", 60 * 1024);
	text = malloc(65536);
	snprintf(
		text, 65536,
		"{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"file.write\",\"params\":{\"path\":\"/x\",\"data\":\"%s\"}}",
		data);
	before = used();
	json_decref(TAKE_PTR(f.answer));
	f.n_answers = 0;
	for (int i = 0; i < 200; i++) {
		rpc_receive(f.user_rpc, text, strlen(text));
		loop_timer_set(f.tick, 0);
		loop_run(f.loop);
	}
	spin();
	code = user_code();
	assert_int_equal(code, RPC_E_FULL);
	assert_in_range(used(), 0, before + MUX_CTRL_QUEUE + (1 << 20));
	user_asks("task.ping", "{}");
	assert_true(f.n_answers >= 1 ||
		    rpc_open_calls(f.user_rpc) >= RPC_CALLS);
	free(text);
	free(data);
}

#define TEST(text, fn)                          \
	{                                       \
		text, fn, setup, teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST("without an agent, every op that needs one says so at once",
		     test_no_agent_answers_at_once),
		TEST("alive, late, lost by its beacons", test_states),
		TEST("one that is paused is not dead", test_paused_is_not_dead),
		TEST("a day of beacons: no drift, no leak", test_a_day),
		TEST("a guest that reboots is another one", test_reboot),
		TEST("a port that is closed for good means it is gone",
		     test_closed_port),
		TEST("what it was asked ends when it does",
		     test_ends_what_it_was_asked),
		TEST("it is not who it claims to be", test_claims),
		TEST("what has ended is forgotten when all know", test_run),
		TEST("a hello, a beacon, an exit of 250 KiB", test_big_hello),
		TEST("of an exit is kept what it should be", test_big_exit),
		TEST("it answers twice", test_answers_twice),
		TEST("it answers what nobody asked",
		     test_answers_what_nobody_asked),
		TEST("it asks for what it may not", test_asks_what_it_may_not),
		TEST("it asks without end", test_asks_without_end),
		TEST("it fills queues and store", test_fills_queues),
		TEST("it opens 1024 channels", test_opens_channels),
		TEST("it floods", test_floods),
		TEST("it never reads", test_never_reads),
	};

	return cmocka_run_group_tests_name("guest", tests, NULL, NULL);
}
