/* test_kernel.c - kernels and code.run: the helper's ops, over the agent's
 * port, to the real agent (VMSTEP_AGENT, or the one built here), which has this
 * machine for a guest
 */
#include <config.h>

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "cleanup.h"
#include "guest.h"
#include "log.h"
#include "machine.h"
#include "op_agent.h"
#include "op_code.h"
#include "op_kernel.h"
#include "op_plain.h"
#include "op_proc.h"
#include "opcall.h"
#include "ops.h"

#define WAIT_MS 60000

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

bool machine_runs(const struct machine *m)
{
	return true;
}

bool machine_is_saving(const struct machine *m)
{
	return false;
}

bool machine_is_paused(const struct machine *m)
{
	return m->paused;
}

static char user[16], host[] = "vm", dir[64];
static struct task task = { .ranks = 1, .step = "1.0", .node = "n" };
static struct spec spec = { .hostname = host, .guest_user = user };
static struct machine machine;
static struct service_conf conf = { .task = &task,
				    .spec = &spec,
				    .machine = &machine };
static struct ops *ops;
static struct op_agent *op_agent;
static struct op_code *op_code;
static struct op_kernel *op_kernel;
static struct op_plain *op_plain;
static struct op_proc *op_proc;
static struct loop_timer *tick;
static pid_t agent;

/* -- who asks -------------------------------------------------------------- */

static struct asker {
	struct ops_origin from;
	struct rpc *rpc;
	json_t *answers; /* by id */
	int last_id;
} user_asks, guest_asks;

static int take(const char *text, size_t len, void *arg)
{
	struct asker *a = arg;
	json_t *msg = json_loadb(text, len, 0, NULL);
	char id[16];

	assert_non_null(msg);
	snprintf(id, sizeof(id), "%d",
		 (int)json_integer_value(json_object_get(msg, "id")));
	assert_null(json_object_get(a->answers, id)); /* once */
	json_object_set_new(a->answers, id, msg);
	return 0;
}

static void asker_init(struct asker *a, enum ops_who who)
{
	static const struct rpc_method none[] = { { 0 } };

	*a = (struct asker){ .from = { ops, who, NULL, 0 } };
	a->answers = json_object();
	a->rpc = rpc_new(none, NULL, take, a);
	rpc_set_handler(a->rpc, ops_handle, &a->from);
}

static void asker_done(struct asker *a)
{
	rpc_free(a->rpc);
	json_decref(a->answers);
	a->rpc = NULL;
}

static void on_tick(void *arg)
{
	loop_stop(conf.loop, 0);
}

static void spin(void)
{
	loop_timer_set(tick, 2);
	assert_int_equal(loop_run(conf.loop), 0);
}

#define WAIT_FOR(condition)                                \
	do {                                               \
		int64_t end_ = loop_now_ms() + WAIT_MS;    \
		while (!(condition)) {                     \
			assert_true(loop_now_ms() < end_); \
			spin();                            \
		}                                          \
	} while (0)

static void receive(struct asker *a, json_t *msg)
{
	_cleanup_free_ char *text = json_dumps(msg, 0);

	json_decref(msg);
	rpc_receive(a->rpc, text, strlen(text));
}

/* @params: JSON, in which ' stands for ". Returns its id. */
static int ask_only(struct asker *a, const char *method, const char *params)
{
	_cleanup_free_ char *text = strdup(params);
	json_t *p;

	for (char *at = text; (at = strchr(at, '\''));)
		*at = '"';
	p = json_loads(text, 0, NULL);
	if (!p)
		fail_msg("%s", text);
	receive(a, json_pack("{s:s, s:i, s:s, s:o}", "jsonrpc", "2.0", "id",
			     ++a->last_id, "method", method, "params", p));
	return a->last_id;
}

static json_t *answer_to(struct asker *a, int id)
{
	char key[16];

	snprintf(key, sizeof(key), "%d", id);
	return json_object_get(a->answers, key);
}

static json_t *ask_as(struct asker *a, const char *method, const char *params)
{
	int id = ask_only(a, method, params);

	WAIT_FOR(answer_to(a, id));
	return answer_to(a, id);
}

static json_t *ask(const char *method, const char *params)
{
	return ask_as(&user_asks, method, params);
}

/* The answer's result, or where there is none its error's code, is that JSON.
 * Again ' stands for ". */
static void check(json_t *answer, const char *want)
{
	json_t *result = json_object_get(answer, "result");
	_cleanup_free_ char *text = strdup(want), *got = NULL;
	json_t *wanted;

	for (char *at = text; (at = strchr(at, '\''));)
		*at = '"';
	wanted = json_loads(text, JSON_DECODE_ANY, NULL);
	assert_non_null(wanted);
	if (!result)
		result = json_object_get(json_object_get(answer, "error"),
					 "code");
	if (!json_equal(result, wanted)) {
		got = json_dumps(answer, 0);
		fail_msg("want %s, got %s", text, got);
	}
	json_decref(wanted);
}

static void check_error(json_t *answer, int code, const char *words)
{
	const json_t *error = json_object_get(answer, "error");
	const char *text = json_string_value(json_object_get(error, "message"));

	if (json_integer_value(json_object_get(error, "code")) != code ||
	    !strstr(text, words))
		fail_msg("got %s", json_dumps(answer, 0));
}

/* -- begin and end --------------------------------------------------------- */

static int n_hello, n_lost;

static void on_hello(void *arg)
{
	n_hello++;
}

static void on_lost(const char *why, void *arg)
{
	n_lost++;
}

static void start_agent(const char *path, int err)
{
	const char *program = getenv("VMSTEP_AGENT");
	char option[256];

	snprintf(option, sizeof(option), "--kernels=%s/added:%s/shipped", dir,
		 dir);
	agent = fork();
	if (agent)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(err, 2);
	execl(program ? program : "guest-agent/vmstep-agent", "vmstep-agent",
	      "--port", path, option, NULL);
	_exit(99);
}

static int make_ops(void)
{
	ops = ops_new();
	return op_agent_new(&machine, ops, &op_agent) == 0 &&
			       op_code_new(&conf, ops, &op_code) == 0 &&
			       op_kernel_new(&conf, ops, &op_kernel) == 0 &&
			       op_plain_new(conf.loop, ops, &op_plain) == 0 &&
			       op_proc_new(&conf, ops, &op_proc) == 0
		       ? 0
		       : -1;
}

static int begin(void **state)
{
	static const struct guest_ops guest_ops = { on_hello, on_lost };
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	_cleanup_close_ int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	_cleanup_close_ int listener =
		socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int fd;

	n_hello = n_lost = 0;
	machine.paused = false;
	snprintf(user, sizeof(user), "%u", geteuid());
	strcpy(dir, "/tmp/vmstep-kernel-XXXXXX");
	if (!mkdtemp(dir) || chmod(dir, 0755) < 0)
		return -1;
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/port", dir);
	if (bind(listener, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    listen(listener, 1) < 0)
		return -1;
	start_agent(sa.sun_path, null);
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (loop_new(&conf.loop, NULL) < 0 ||
	    loop_timer_add(conf.loop, -1, on_tick, NULL, &tick) < 0 ||
	    guest_new(conf.loop, fd, &task, &spec, &guest_ops, NULL,
		      &machine.guest, NULL) < 0 ||
	    make_ops() < 0)
		return -1;
	asker_init(&user_asks, OPS_USER);
	asker_init(&guest_asks, OPS_GUEST);
	WAIT_FOR(n_hello);
	return 0;
}

static void free_ops(void)
{
	guest_forget_all(machine.guest, "the end");
	op_proc_free(op_proc);
	op_plain_free(op_plain);
	op_kernel_free(op_kernel);
	op_code_free(op_code);
	op_agent_free(op_agent);
	op_kernel = NULL;
}

static int end(void **state)
{
	char command[128];
	int wstatus;

	if (op_kernel)
		free_ops();
	asker_done(&user_asks);
	asker_done(&guest_asks);
	ops_free(ops);
	guest_free(machine.guest);
	loop_free(conf.loop);
	kill(agent, SIGTERM);
	waitpid(agent, &wstatus, 0);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static void shell(const char *script)
{
	char command[2048];

	snprintf(command, sizeof(command), "umask 022; cd %s && { %s\n}", dir,
		 script);
	assert_int_equal(system(command), 0);
}

static bool is_there(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return access(path, F_OK) == 0;
}

/* An op t:NAME that is a shell script. */
static void make_op(const char *name, const char *script)
{
	char command[1024];

	snprintf(command, sizeof(command),
		 "mkdir -p shipped/t; cat >shipped/t/%s <<'END'\n"
		 "#!/bin/sh\n%s\nEND\nchmod 755 shipped/t/%s",
		 name, script, name);
	shell(command);
}

/* -- ops of kernels -------------------------------------------------------- */

static void an_op_reads_params_and_writes_its_result(void **state)
{
	make_op("same", "cat");
	check(ask("t:same", "{'a':[1,null,'\\u00e4\\n'],'b':{}}"),
	      "{'a':[1,null,'\\u00e4\\n'],'b':{}}");
	check(ask("op.call", "{'kernel':'t','op':'same','params':{'to':3}}"),
	      "{'to':3}");
	check(ask("op.call", "{'kernel':'t','op':'same'}"), "{}");
	make_op("lines", "wc -l");
	check(ask("t:lines", "{'text':'a\\nb'}"), "1"); /* it is one line */
	make_op("nothing", "exit 0");
	check(ask("t:nothing", "{}"), "{}");
	make_op("null", "echo null");
	check(ask("t:null", "{}"), "null");
	make_op("where", "printf '[\"%s\",\"%s\"]' \"$PWD\" \"$VMSTEP_OP\"");
	check(ask("t:where", "{}"), "['/','t:where']");
}

static void what_fails_says_how(void **state)
{
	json_t *data;

	make_op("no", "echo one >&2; echo 'not today' >&2; exit 3");
	check_error(ask("t:no", "{}"), RPC_E_OP,
		    "t:no: exit status 3: not today");
	data = json_object_get(json_object_get(ask("t:no", "{}"), "error"),
			       "data");
	assert_int_equal(json_integer_value(json_object_get(data, "exit")), 3);
	assert_string_equal(json_string_value(json_object_get(data, "err")),
			    "one\nnot today\n");
	assert_string_equal(json_string_value(json_object_get(data, "name")),
			    "E_OP");
	make_op("die", "kill -9 $$");
	check_error(ask("t:die", "{}"), RPC_E_OP, "ended by signal 9");
	make_op("words", "echo hello");
	check_error(ask("t:words", "{}"), RPC_E_PROTO, "has not written JSON");
	make_op("two", "echo 1; echo 2");
	check_error(ask("t:two", "{}"), RPC_E_PROTO, "has not written JSON");
	make_op("much", "head -c 1048577 /dev/zero");
	check_error(ask("t:much", "{}"), RPC_E_TOOBIG, "1048576");
	make_op("loud", "i=0; while [ $i -lt 2000 ]; do echo line $i >&2; "
			"i=$((i + 1)); done; exit 1");
	check_error(ask("t:loud", "{}"), RPC_E_OP, "line 1999");
	make_op("interp", "");
	shell("sed -i 's,/bin/sh,/no/such,' shipped/t/interp");
	check_error(ask("t:interp", "{}"), RPC_E_PERM, "interpreter");
}

static void what_is_not_there_is_told_at_once(void **state)
{
	make_op("f", "");
	check(ask("t:g", "{}"), "10");
	check(ask("u:f", "{}"), "10");
	check(ask("core:f", "{}"), "10");
	check(ask("default:f", "{}"), "10");
	check(ask(":", "{}"), "-32602");
	check(ask("t:../t/f", "{}"), "-32602");
	check(ask("op.call", "{'kernel':'t'}"), "-32602");
	check(ask("op.call", "{'kernel':'t','op':'f','params':[]}"), "-32602");
	machine.paused = true;
	check(ask("t:f", "{}"), "8");
}

static void an_op_ends_in_time(void **state)
{
	make_op("long", "# timeout: 0.1\necho $$ >$0.pid; sleep 1000");
	check_error(ask("t:long", "{}"), RPC_E_TIMEOUT, "within 100 ms");
	make_op("wait", "echo >$0.begun; sleep 1000");
	check_error(
		ask("op.call", "{'kernel':'t','op':'wait','timeout_ms':200}"),
		RPC_E_TIMEOUT, "within 200 ms");
}

static json_t *procs(void)
{
	return json_object_get(
		json_object_get(ask("proc.list", "{}"), "result"), "procs");
}

/* As far as the helper has heard: its program may be quicker. */
static bool one_runs(void)
{
	json_t *p = json_array_get(procs(), 0);
	const char *state = json_string_value(json_object_get(p, "state"));

	return state && strcmp(state, "running") == 0;
}

static void who_takes_it_back_ends_it(void **state)
{
	int id;

	make_op("wait", "echo >$0.begun; sleep 1000");
	id = ask_only(&user_asks, "t:wait", "{}");
	WAIT_FOR(is_there("shipped/t/wait.begun"));
	assert_int_equal(json_array_size(procs()), 1);
	receive(&user_asks,
		json_pack("{s:s, s:s, s:{s:i}}", "jsonrpc", "2.0", "method",
			  "rpc.cancel", "params", "id", id));
	WAIT_FOR(json_array_size(procs()) == 0); /* and it is not kept */
	assert_null(answer_to(&user_asks, id));
	/* before the agent has found it, and while it starts */
	shell("rm shipped/t/wait.begun");
	for (int i = 0; i < 20; i++) {
		id = ask_only(&user_asks, "t:wait", "{}");
		if (i % 2)
			spin();
		receive(&user_asks,
			json_pack("{s:s, s:s, s:{s:i}}", "jsonrpc", "2.0",
				  "method", "rpc.cancel", "params", "id", id));
	}
	WAIT_FOR(json_array_size(procs()) == 0);
}

static void the_end_of_the_task_is_the_calls_end(void **state)
{
	int id[3];

	make_op("wait", "echo >$0.begun; sleep 1000");
	id[0] = ask_only(&user_asks, "t:wait", "{}");
	WAIT_FOR(is_there("shipped/t/wait.begun"));
	id[1] = ask_only(&user_asks, "t:wait", "{}"); /* is looked for */
	id[2] = ask_only(&user_asks, "sleep", "{'seconds':1000}");
	free_ops();
	for (int i = 0; i < 3; i++)
		assert_non_null(
			json_object_get(answer_to(&user_asks, id[i]), "error"));
}

static void a_lost_agent_is_told(void **state)
{
	int id;

	make_op("wait", "echo >$0.begun; exec sleep 1000");
	id = ask_only(&user_asks, "t:wait", "{}");
	WAIT_FOR(one_runs());
	kill(agent, SIGKILL);
	WAIT_FOR(answer_to(&user_asks, id));
	check_error(answer_to(&user_asks, id), RPC_E_LOST, "t:wait");
	check(ask("t:wait", "{}"), "3");
}

static void an_op_says_who_runs_it(void **state)
{
	if (geteuid() != 0) {
		print_message("only root can be others\n");
		skip();
	}
	make_op("root", "id -u");
	check(ask("t:root", "{}"), "0");
	make_op("nobody", "# user: 65534\nid -u");
	check(ask("t:nobody", "{}"), "65534");
	check(ask("op.call", "{'kernel':'t','op':'root','user':'12345'}"),
	      "12345");
}

static void a_guest_calls_its_own_only(void **state)
{
	int id[OPCALL_GUESTS + 1];

	make_op("one", "echo 1");
	check(ask_as(&guest_asks, "t:one", "{}"), "1");
	check(ask_as(&guest_asks, "op.call", "{'kernel':'t','op':'one'}"), "1");
	check(ask_as(&guest_asks, "core:echo", "{'a':1}"), "{'a':1}");
	check(ask_as(&guest_asks, "t:one", "{'to':1}"), "6");
	check(ask_as(&guest_asks, "op.call",
		     "{'kernel':'t','op':'one','to':'others'}"),
	      "6");
	check(ask_as(&guest_asks, "kernel.list", "{}"), "6");
	check(ask_as(&guest_asks, "op.register", "{}"), "6");
	check(ask_as(&guest_asks, "code.run", "{'code':'id'}"), "6");
	make_op("wait", "echo >$0.begun; sleep 1000");
	for (int i = 0; i < OPCALL_GUESTS; i++)
		id[i] = ask_only(&guest_asks, "t:wait", "{}");
	WAIT_FOR(json_array_size(procs()) == OPCALL_GUESTS);
	check(ask_as(&guest_asks, "t:one", "{}"), "9");
	check(ask("t:one", "{}"), "1");
	assert_null(answer_to(&guest_asks, id[0]));
}

/* -- kernels --------------------------------------------------------------- */

static void kernels_are_found(void **state)
{
	make_op("f", "# op: f(x): does it");
	check(ask("kernel.list", "{}"),
	      "{'kernels':[{'kernel':'core','where':'built-in','ops':5},"
	      "{'kernel':'t','where':'image','ops':1}]}");
	check(ask("kernel.ops", "{'kernel':'t'}"), "{'ops':['f']}");
	check(ask("kernel.ops", "{'kernel':'core'}"),
	      "{'ops':['echo','info','log','ping','sleep']}");
	check(ask("kernel.get", "{'kernel':'u'}"), "10");
	check(ask("kernel.ops", "{'kernel':'u'}"), "10");
}

static void on_checked(const struct rpc_reply *reply, void *arg)
{
	*(int *)arg = reply->result ? 0 : reply->code;
}

static void a_kernels_name_can_be_checked(void **state)
{
	int code = -1;

	make_op("f", "");
	op_kernel_check(op_kernel, "core", on_checked, &code);
	assert_int_equal(code, 0);
	code = -1;
	op_kernel_check(op_kernel, "t", on_checked, &code);
	WAIT_FOR(code >= 0);
	assert_int_equal(code, 0);
	op_kernel_check(op_kernel, "u", on_checked, &code);
	WAIT_FOR(code);
	assert_int_equal(code, RPC_E_NOENT);
}

static void kernels_are_made_and_called(void **state)
{
	check(ask("kernel.add", "{'kernel':'k'}"), "{}");
	check(ask("op.register",
		  "{'kernel':'k','op':'f','interp':'sh','code':'echo 17'}"),
	      "{}");
	check(ask("k:f", "{}"), "17");
	check(ask("kernel.copy", "{'kernel':'k','name':'l'}"), "{}");
	check(ask("kernel.drop", "{'kernel':'k'}"), "{}");
	check(ask("k:f", "{}"), "10");
	check(ask("l:f", "{}"), "17");
	check(ask("op.unregister", "{'kernel':'l','op':'f'}"), "{}");
	check(ask("l:f", "{}"), "10");
	check(ask("kernel.drop", "{'kernel':'core'}"), "6");
	check(ask("kernel.add", "{'kernel':'default'}"), "6");
	check(ask("kernel.copy", "{'kernel':'l','name':'core'}"), "6");
	check(ask("op.register", "{'kernel':'core','op':'f','code':'x'}"), "6");
}

static void the_core_is_ops_by_other_names(void **state)
{
	check(ask("core:echo", "{'x':[1]}"), "{'x':[1]}");
	check(ask("core:sleep", "{'seconds':0}"), "{}");
	check(ask("core:sleep", "{'second':0}"), "-32602");
	check(ask("sleep", "{'seconds':-1}"), "-32602");
	check(ask("core:log", "{'text':'a line'}"), "{}");
	check(ask("log.write", "{'text':'a line','level':'loud'}"), "-32602");
	check(ask("log.write", "{}"), "-32602");
}

/* -- code ------------------------------------------------------------------ */

static void shell_code_has_a_value(void **state)
{
	check(ask("code.run", "{'code':'echo \\'$1\\' $2 $n; echo no >&2; "
			      "returnvalue=[1,2]','args':['a  b',{'c':1}],"
			      "'kwargs':{'n':5}}"),
	      "{'return':[1,2],'out':'a  b {\\'c\\':1} 5\\n','err':'no\\n'}");
	check(ask("code.run", "{'code':'returnvalue=words; exit 0'}"),
	      "{'return':'words','out':'','err':''}");
	check(ask("code.run", "{'code':'true','interp':'/bin/sh'}"),
	      "{'return':null,'out':'','err':''}");
	check(ask("code.run", "{'code':'add() { returnvalue=$(($1 + $2)); }',"
			      "'fn':'add','args':[3,4]}"),
	      "{'return':7,'out':'','err':''}");
	check_error(ask("code.run", "{'code':'echo oh >&2; exit 4'}"), RPC_E_OP,
		    "exit status 4: oh");
	check(ask("code.run", "{'code':'x','interp':'no-such'}"), "10");
	check(ask("code.run", "{'code':'sleep 1000','timeout_ms':100}"), "4");
	check(ask("code.run", "{'code':'id -u','user':'no-such'}"), "10");
	check(ask("code.run", "{'args':[]}"), "-32602");
	check(ask("code.run", "{'code':'x','args':{}}"), "-32602");
	check(ask("code.run", "{'code':'x','kwargs':[]}"), "-32602");
	check(ask("code.run", "{'code':'x','fn':'f','interp':'perl'}"),
	      "-32602");
}

static void python_code_has_a_value(void **state)
{
	if (system("python3 -c '' 2>/dev/null") != 0) {
		print_message("there is no python3\n");
		skip();
	}
	check(ask("code.run",
		  "{'interp':'python3','code':'print(args[0] + kwargs[\\'k\\'])\\n"
		  "import os; os.write(1, b\\'raw\\')\\n"
		  "returnvalue = {\\'sum\\': sum(args)}',"
		  "'args':[1,2],'kwargs':{'k':5}}"),
	      "{'return':{'sum':3},'out':'raw6\\n','err':''}");
	check(ask("code.run",
		  "{'interp':'python3','code':'def f(a, b=1): return [a, b]',"
		  "'fn':'f','args':[7],'kwargs':{'b':null}}"),
	      "{'return':[7,null],'out':'','err':''}");
	check_error(ask("code.run", "{'interp':'python3','code':'1/0'}"),
		    RPC_E_OP, "ZeroDivisionError");
	check_error(ask("code.run", "{'interp':'python3',"
				    "'code':'returnvalue = {1}'}"),
		    RPC_E_OP, "TypeError");
	check(ask("code.run", "{'interp':'python3','code':'exit(0)'}"),
	      "{'return':null,'out':'','err':''}");
}

static void other_code_has_its_output(void **state)
{
	if (system("perl -e '' 2>/dev/null") != 0) {
		print_message("there is no perl\n");
		skip();
	}
	check(ask("code.run", "{'interp':'perl','code':'print \\'@ARGV\\'',"
			      "'args':['a',1]}"),
	      "{'return':null,'out':'a 1','err':''}");
}

static void a_value_is_told_from_output(void **state)
{
	struct errmsg err;
	size_t len = 0;
	json_t *v;

	assert_null(op_code_value("outs1 x", 7, "s1", false, &len, &err));
	assert_int_equal(len, 3);
	v = op_code_value("outs1s1[2]", 10, "s1", false, &len, &err);
	assert_int_equal(len, 5);
	assert_int_equal(json_array_size(v), 1);
	json_decref(v);
	v = op_code_value("s", 1, "s1", true, &len, &err);
	assert_true(json_is_null(v));
	assert_int_equal(len, 1);
}

/* -- procs.h --------------------------------------------------------------- */

/* proc.run forgets its process from within the word that it has ended. */
static void a_process_may_be_released_as_it_ends(void **state)
{
	int id[3];

	for (int i = 0; i < 3; i++)
		id[i] = ask_only(&user_asks, "proc.run",
				 "{'argv':['sleep','0.05']}");
	for (int i = 0; i < 3; i++)
		WAIT_FOR(answer_to(&user_asks, id[i]));
	assert_int_equal(json_array_size(procs()), 0);
	for (int i = 0; i < 3; i++)
		id[i] = ask_only(&user_asks, "proc.run",
				 "{'argv':['sleep','1000']}");
	WAIT_FOR(json_array_size(procs()) == 3);
	kill(agent, SIGKILL);
	for (int i = 0; i < 3; i++)
		WAIT_FOR(answer_to(&user_asks, id[i]));
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(an_op_reads_params_and_writes_its_result),
		TEST(what_fails_says_how),
		TEST(what_is_not_there_is_told_at_once),
		TEST(an_op_ends_in_time),
		TEST(who_takes_it_back_ends_it),
		TEST(the_end_of_the_task_is_the_calls_end),
		TEST(a_lost_agent_is_told),
		TEST(an_op_says_who_runs_it),
		TEST(a_guest_calls_its_own_only),
		TEST(kernels_are_found),
		TEST(a_kernels_name_can_be_checked),
		TEST(kernels_are_made_and_called),
		TEST(the_core_is_ops_by_other_names),
		TEST(shell_code_has_a_value),
		TEST(python_code_has_a_value),
		TEST(other_code_has_its_output),
		cmocka_unit_test(a_value_is_told_from_output),
		TEST(a_process_may_be_released_as_it_ends),
	};

	signal(SIGPIPE, SIG_IGN);
	log_setup("", open("/dev/null", O_WRONLY | O_CLOEXEC), LOG_LEVEL_WARN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
