/* test_qga_guest.c - which of its agents a guest is asked by, and ops by QEMU's
 */
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
#include "data_item.h"
#include "op_agent.h"
#include "op_file.h"
#include "op_proc.h"
#include "op_qga.h"
#include "op_vm.h"

/* A machine that is none, its two ports the test's. */

struct machine {
	struct guest *guest;
	bool paused;
};

struct guest *machine_guest(const struct machine *m)
{
	return m->guest;
}

const struct publish *machine_ports(const struct machine *m, size_t *ret_n)
{
	*ret_n = 0;
	return NULL;
}

struct data_items *machine_data(struct machine *m)
{
	static struct data_items none;

	return &none;
}

bool machine_runs(const struct machine *m)
{
	return m->guest;
}

bool machine_is_saving(const struct machine *m)
{
	return false;
}

bool machine_is_paused(const struct machine *m)
{
	return m->paused;
}

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
				  .ranks = 1,
				  .step = "1.0",
				  .node = "here",
				  .beacon_interval_s = 10 };

static struct fixture {
	struct loop *loop;
	struct loop_timer *tick;
	struct spec spec;
	struct machine machine;
	struct ops *ops;
	struct op_agent *op_agent;
	struct op_file *op_file;
	struct op_proc *op_proc;
	struct op_qga *op_qga;
	struct op_vm *op_vm;
	struct ops_origin origin;
	struct rpc *rpc;
	json_t *answer; /* to the user, the last */
	unsigned int n_answers;
	int agent[2], qga[2]; /* the helper's ends, and the guest's */
	struct mux *mux;      /* our agent */
	json_int_t id;	      /* of what QEMU's was asked last */
	unsigned int hellos, losses;
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

static void on_hello(void *arg)
{
	f.hellos++;
}

static void on_lost(const char *why, void *arg)
{
	f.losses++;
}

static int to_user(const char *text, size_t len, void *arg)
{
	json_decref(f.answer);
	f.answer = json_loadb(text, len, 0, NULL);
	f.n_answers++;
	return 0;
}

static int setup(void **state)
{
	const struct service_conf conf = { .task = &task,
					   .spec = &f.spec,
					   .machine = &f.machine };
	struct service_conf c = conf;

	memset(&f, 0, sizeof(f));
	signal(SIGPIPE, SIG_IGN);
	f.spec = (struct spec){ .hostname = name,
				.hostname_pattern = pattern,
				.domain = domain,
				.guest_user = user,
				.net = NET_NONE,
				.boot_timeout_s = 300 };
	f.ops = ops_new();
	if (loop_new(&f.loop, NULL) < 0 ||
	    loop_timer_add(f.loop, -1, on_tick, NULL, &f.tick) < 0)
		return -1;
	c.loop = f.loop;
	if (op_agent_new(&f.machine, f.ops, &f.op_agent) < 0 ||
	    op_file_new(&c, f.ops, &f.op_file) < 0 ||
	    op_proc_new(&c, f.ops, &f.op_proc) < 0 ||
	    op_qga_new(&c, f.ops, &f.op_qga) < 0 ||
	    op_vm_new(&c, f.ops, &f.op_vm) < 0)
		return -1;
	f.origin = (struct ops_origin){ f.ops, OPS_USER, NULL, 0 };
	f.rpc = rpc_new(none, NULL, to_user, NULL);
	rpc_set_handler(f.rpc, ops_handle, &f.origin);
	return 0;
}

static int teardown(void **state)
{
	guest_forget_all(f.machine.guest, "the end");
	rpc_free(f.rpc);
	op_vm_free(f.op_vm);
	op_qga_free(f.op_qga);
	op_proc_free(f.op_proc);
	op_file_free(f.op_file);
	op_agent_free(f.op_agent);
	ops_free(f.ops);
	mux_free(f.mux);
	guest_free(f.machine.guest);
	close(f.agent[1]);
	close(f.qga[1]);
	loop_timer_free(f.tick);
	loop_free(f.loop);
	json_decref(f.answer);
	return 0;
}

static void power_on(enum spec_exec exec)
{
	static const struct guest_ops ops = { on_hello, on_lost };

	f.spec.exec = exec;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, f.agent) < 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, f.qga) < 0 ||
	    guest_new(f.loop, f.agent[0], &task, &f.spec, &ops, NULL,
		      &f.machine.guest, NULL) < 0 ||
	    guest_add_qga(f.machine.guest, f.qga[0], NULL) < 0)
		fail();
	spin();
}

/* -- QEMU's agent ---------------------------------------------------------- */

static const char *qga_hears(void)
{
	static char line[4096];
	const char *p = line;
	size_t n = 0;
	json_t *o;

	spin();
	while (n < sizeof(line) - 1 &&
	       recv(f.qga[1], line + n, 1, MSG_DONTWAIT) == 1 &&
	       line[n] != '\n')
		n++;
	line[n] = '\0';
	p += strspn(p, "\xff");
	o = json_loads(p, 0, NULL);
	if (o)
		f.id = json_integer_value(json_object_get(o, "id"));
	json_decref(o);
	return p;
}

static void qga_says(const char *text)
{
	char line[4096];

	snprintf(line, sizeof(line), "{\"return\": %s, \"id\": %lld}\n", text,
		 (long long)f.id);
	assert_int_equal(write(f.qga[1], line, strlen(line)), strlen(line));
	spin();
}

/* It is asked for @command, and says @text. */
static void qga_answers(const char *command, const char *text)
{
	const char *line = qga_hears();
	char want[128];

	snprintf(want, sizeof(want), "\"execute\":\"%s\"", command);
	if (!strstr(line, want))
		fail_msg("asked for %s, not %s", line, command);
	qga_says(text);
}

static void boot_qga(void)
{
	char line[64];
	long long id;

	guest_qga_port(f.machine.guest, true);
	assert_int_equal(
		sscanf(strstr(qga_hears(), "\"id\":"), "\"id\":%lld", &id), 1);
	snprintf(line, sizeof(line), "\xff{\"return\": %lld}\n", id);
	assert_int_equal(write(f.qga[1], line, strlen(line)), strlen(line));
	qga_answers("guest-info", "{\"version\": \"7.2\"}");
	qga_answers("guest-get-osinfo",
		    "{\"id\": \"debian\", \"pretty-name\": \"Debian 12\"}");
}

/* -- ours ------------------------------------------------------------------ */

static void nothing(const struct mux_peer *peer, void *arg)
{
}

static void no_word(const char *why, void *arg)
{
}

static void no_text(const char *text, size_t len, void *arg)
{
}

static void boot_ours(void)
{
	static const struct mux_ops ops = { nothing, no_word, no_text, NULL };
	static const char hello[] =
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"agent.hello\",\"params\":{}}";

	assert_int_equal(mux_new(f.loop, f.agent[1], &ops, NULL, &f.mux, NULL),
			 0);
	for (int i = 0; i < 100 && !mux_is_up(f.mux); i++) {
		loop_skip(20);
		spin();
	}
	assert_int_equal(mux_ctrl(f.mux, hello, strlen(hello)), 0);
	spin();
	assert_true(guest_is_there(f.machine.guest));
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
	rpc_receive(f.rpc, text, strlen(text));
	spin();
}

static void assert_result(const char *want)
{
	_cleanup_free_ char *text = NULL;

	assert_int_equal(f.n_answers, 1);
	text = json_dumps(json_object_get(f.answer, "result"),
			  JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
	assert_non_null(text);
	assert_string_equal(text, want);
}

static void assert_code(int code)
{
	assert_int_equal(f.n_answers, 1);
	assert_int_equal(json_integer_value(json_object_get(
				 json_object_get(f.answer, "error"), "code")),
			 code);
}

/* -- which ----------------------------------------------------------------- */

static void test_qga_at_once(void **state)
{
	power_on(EXEC_QGA);
	assert_false(guest_uses_qga(f.machine.guest));
	boot_qga();
	assert_true(guest_uses_qga(f.machine.guest));
	assert_int_equal(f.hellos, 1);
	user_asks("task.echo", "{}");
	assert_code(RPC_E_NOTSUP);
	assert_string_equal(op_vm_agent_state(&f.machine), "qga");
}

static void test_auto_waits_for_ours(void **state)
{
	power_on(EXEC_AUTO);
	loop_skip(20000);
	boot_qga();
	user_asks("task.echo", "{}");
	assert_code(RPC_E_NOAGENT);
	loop_skip(19000); /* as long again as it took: less a little */
	spin();
	assert_false(guest_uses_qga(f.machine.guest));
	loop_skip(2000);
	spin();
	assert_true(guest_uses_qga(f.machine.guest));
	assert_int_equal(f.hellos, 1);
}

static void test_auto_has_ours(void **state)
{
	power_on(EXEC_AUTO);
	boot_qga();
	boot_ours();
	assert_int_equal(f.hellos, 1);
	loop_skip(400000);
	spin();
	assert_false(guest_uses_qga(f.machine.guest));
	assert_int_equal(f.hellos, 1);
	assert_non_null(guest_qga(f.machine.guest)); /* to freeze by */
}

static void test_auto_before_the_time_is_up(void **state)
{
	power_on(EXEC_AUTO);
	loop_skip(280000); /* of 300000 */
	boot_qga();
	loop_skip(10500);
	spin();
	assert_true(guest_uses_qga(f.machine.guest));
}

static void test_late_one_of_ours(void **state)
{
	power_on(EXEC_QGA);
	boot_qga();
	boot_ours();
	assert_false(guest_uses_qga(f.machine.guest));
	mux_free(TAKE_PTR(f.mux));
	guest_port(f.machine.guest, false);
	loop_skip(GUEST_CLOSED_MS);
	spin();
	assert_int_equal(f.losses, 0); /* there is the other */
	assert_true(guest_uses_qga(f.machine.guest));
	guest_qga_port(f.machine.guest, false);
	assert_int_equal(f.losses, 1);
}

/* -- ops ------------------------------------------------------------------- */

static void test_system(void **state)
{
	power_on(EXEC_QGA);
	boot_qga();
	user_asks("sys.info", "{}");
	qga_answers("guest-get-host-name", "{\"host-name\": \"vm0\"}");
	qga_answers("guest-get-vcpus", "[{\"online\": true}, {}]");
	qga_answers(
		"guest-network-get-interfaces",
		"[{\"name\": \"lo\", \"ip-addresses\": [{\"ip-address\": \"127.0.0.1\"}]}, 3]");
	assert_result(
		"{\"cpus\":1,\"degraded\":true,\"hostname\":\"vm0\",\"interfaces\":[{\"ip\":[\"127.0.0.1\"],\"mac\":null,\"name\":\"lo\"},{\"ip\":[],\"mac\":null,\"name\":null}],\"os\":\"Debian 12\",\"version\":\"7.2\"}");
	user_asks("sys.time.set", "{\"ns\":5}");
	qga_answers("guest-set-time", "{}");
	assert_result("{}");
	user_asks("sys.time.set", "{}");
	assert_code(RPC_INVALID_PARAMS);
}

static void test_file_systems(void **state)
{
	power_on(EXEC_AUTO);
	boot_ours();
	user_asks("sys.fsfreeze", "{}");
	assert_code(RPC_E_NOTSUP); /* there is no such agent yet */
	boot_qga();
	user_asks("sys.fsfreeze", "{}");
	qga_answers("guest-fsfreeze-freeze", "2");
	assert_result("{\"filesystems\":2}");
	user_asks("sys.fsfreeze", "{\"mounts\":[\"/x\"]}");
	qga_answers("guest-fsfreeze-freeze-list", "0");
	assert_result("{\"filesystems\":0}");
	user_asks("sys.thaw", "{}");
	qga_answers("guest-fsfreeze-thaw", "2");
	assert_result("{\"filesystems\":2}");
	user_asks("sys.fstrim", "{}");
	qga_answers("guest-fstrim",
		    "{\"paths\": [{\"path\": \"/\", \"trimmed\": 5}, {}]}");
	assert_result("{\"trimmed\":[{\"bytes\":5,\"path\":\"/\"}]}");
	f.machine.paused = true;
	user_asks("sys.thaw", "{}");
	assert_code(RPC_E_STATE);
}

static void test_files(void **state)
{
	power_on(EXEC_QGA);
	boot_qga();
	user_asks("file.read", "{\"path\":\"/x\",\"offset\":2}");
	qga_answers("guest-file-open", "1000");
	qga_answers("guest-file-seek", "{}");
	qga_answers("guest-file-read",
		    "{\"count\": 2, \"buf-b64\": \"aGk=\", \"eof\": true}");
	qga_answers("guest-file-close", "{}");
	assert_result(
		"{\"bytes\":2,\"data\":\"hi\",\"degraded\":true,\"eof\":true}");
	user_asks("file.write",
		  "{\"path\":\"/x\",\"data\":\"hey\",\"create\":true}");
	qga_answers("guest-file-open", "1001");
	qga_answers("guest-file-write", "{\"count\": 1}"); /* in two pieces */
	qga_answers("guest-file-write", "{\"count\": 2}");
	qga_answers("guest-file-close", "{}");
	assert_result("{\"bytes\":3,\"degraded\":true}");
	user_asks("file.read", "{\"path\":\"/x\",\"size\":1}");
	qga_answers("guest-file-open", "1002");
	qga_answers("guest-file-read",
		    "{\"count\": 2, \"buf-b64\": \"aGk=\"}"); /* too much */
	qga_answers("guest-file-close", "{}");
	assert_code(RPC_E_PROTO);
	user_asks("file.write",
		  "{\"path\":\"/x\",\"data\":\"hey\",\"mode\":420}");
	assert_code(RPC_E_NOTSUP);
}

static void test_process(void **state)
{
	power_on(EXEC_QGA);
	boot_qga();
	user_asks("proc.run", "{\"argv\":[\"x\"],\"input\":\"in\"}");
	qga_answers("guest-exec", "{\"pid\": 9}");
	loop_skip(50);
	qga_answers(
		"guest-exec-status",
		"{\"exited\": true, \"exitcode\": 4, \"out-data\": \"aGk=\"}");
	assert_int_equal(f.n_answers, 1);
	assert_string_equal(
		json_string_value(json_object_get(
			json_object_get(f.answer, "result"), "out")),
		"hi");
	user_asks("proc.start", "{\"argv\":[\"x\"]}");
	qga_answers("guest-exec", "{\"pid\": 10}");
	assert_int_equal(f.n_answers, 1);
	guest_qga_port(f.machine.guest, false); /* the guest restarts */
	loop_skip(2000);
	user_asks("proc.wait", "{\"proc\":2}");
	assert_code(RPC_E_LOST);
	user_asks("proc.run", "{\"argv\":[\"x\"]}");
	assert_code(RPC_E_NOAGENT);
}

static void test_power_off(void **state)
{
	power_on(EXEC_QGA);
	boot_qga();
	user_asks("vm.shutdown", "{\"mode\":\"agent\"}");
	assert_non_null(strstr(qga_hears(), "\"guest-shutdown\""));
	assert_int_equal(f.n_answers, 0); /* until it has ended */
}

#define TEST(text, fn)                          \
	{                                       \
		text, fn, setup, teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST("by qga: QEMU's, at once", test_qga_at_once),
		TEST("by auto: as long again for ours to come",
		     test_auto_waits_for_ours),
		TEST("ours, where it comes", test_auto_has_ours),
		TEST("and no longer than half of what is left",
		     test_auto_before_the_time_is_up),
		TEST("one of ours that comes late, and goes",
		     test_late_one_of_ours),
		TEST("system and clock", test_system),
		TEST("file systems, by it wherever it is", test_file_systems),
		TEST("files", test_files),
		TEST("a process", test_process),
		TEST("power-off", test_power_off),
	};

	return cmocka_run_group_tests_name("qga_guest", tests, NULL, NULL);
}
