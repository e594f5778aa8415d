/* test_ops.c - the catalogue of ops, who may ask, and output that is kept */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "api_net.h"
#include "keep.h"
#include "op_agent.h"
#include "op_capture.h"
#include "op_console.h"
#include "op_event.h"
#include "op_code.h"
#include "op_file.h"
#include "memhome.h"
#include "memname.h"
#include "op_kernel.h"
#include "op_mem.h"
#include "op_msg.h"
#include "op_plain.h"
#include "op_proc.h"
#include "op_qga.h"
#include "op_save.h"
#include "op_session.h"
#include "op_snapshot.h"
#include "op_ssh.h"
#include "op_store.h"
#include "op_sync.h"
#include "op_vm.h"
#include "op_world.h"
#include "opcat.h"
#include "ops.h"

/* -- the catalogue --------------------------------------------------------- */

static const struct rpc_method *const tables[] = {
	api_net_methods,    op_agent_methods,	 op_code_methods,
	op_console_methods, op_event_methods,	 op_file_methods,
	op_kernel_methods,  op_msg_methods,	 op_plain_methods,
	op_proc_methods,    op_qga_methods,	 op_save_methods,
	op_session_methods, op_store_methods,	 op_sync_methods,
	op_vm_methods,	    op_ssh_methods,	 op_world_methods,
	op_mem_methods,	    op_mem_data_methods, memhome_methods,
	memname_methods,    op_snapshot_methods, op_capture_methods,
};

static bool has_method(const char *name)
{
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		for (const struct rpc_method *m = tables[i]; m->name; m++)
			if (strcmp(m->name, name) == 0)
				return true;
	return false;
}

static void each_op_has_its_method_and_row(void **state)
{
	for (const struct op *o = ops_table; o->name; o++) {
		if (!has_method(o->name))
			fail_msg("%s has no method", o->name);
		if (o != ops_table)
			assert_true(strcmp(o[-1].name, o->name) < 0);
		assert_true(strlen(o->help) > 0);
	}
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		for (const struct rpc_method *m = tables[i]; m->name; m++)
			if (!opcat_find(m->name))
				fail_msg("%s has no row", m->name);
	for (const struct rpc_method *m = op_qga_others; m->name; m++)
		if (!has_method(m->name))
			fail_msg("%s is no method", m->name);
}

/* -- who may ask ----------------------------------------------------------- */

static json_t *answered;

static int take(const char *text, size_t len, void *arg)
{
	json_decref(answered);
	answered = json_loadb(text, len, 0, NULL);
	assert_non_null(answered);
	return 0;
}

static void say_yes(struct rpc_call *call, const json_t *params, void *arg)
{
	rpc_result(call, NULL);
}

static const struct rpc_method yes[] = { { "vm.pause", say_yes },
					 { "vm.wait", say_yes },
					 { "not.listed", say_yes },
					 { 0 } };

/* The error's code; 0: a result. */
static int ask(enum ops_who who, const char *request)
{
	static const struct rpc_method none[] = { { 0 } };
	struct ops *ops = ops_new();
	struct ops_origin from = { ops, who, NULL };
	struct rpc *r = rpc_new(none, NULL, take, NULL);
	int code;

	assert_int_equal(ops_add(ops, yes, NULL), 0);
	assert_int_equal(ops_add(ops, yes, NULL), -EEXIST);
	rpc_set_handler(r, ops_handle, &from);
	rpc_receive(r, request, strlen(request));
	code = (int)json_integer_value(
		json_object_get(json_object_get(answered, "error"), "code"));
	json_decref(answered);
	answered = NULL;
	rpc_free(r);
	ops_free(ops);
	return code;
}

#define REQUEST(method, params)                              \
	"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"" method \
	"\",\"params\":" params "}"

static void a_guest_may_ask_for_what_is_listed_only(void **state)
{
	assert_int_equal(ask(OPS_USER, REQUEST("vm.pause", "{}")), 0);
	assert_int_equal(ask(OPS_GUEST, REQUEST("vm.pause", "{}")), RPC_E_PERM);
	assert_int_equal(ask(OPS_GUEST, REQUEST("not.listed", "{}")),
			 RPC_E_PERM);
}

static void what_is_not_known_is_refused(void **state)
{
	assert_int_equal(ask(OPS_USER, REQUEST("vm.fly", "{}")), RPC_NO_METHOD);
	assert_int_equal(ask(OPS_USER, REQUEST("vm.wait", "{\"phase\":1}")), 0);
	assert_int_equal(ask(OPS_USER, REQUEST("vm.wait", "{\"phas\":1}")),
			 RPC_INVALID_PARAMS);
	assert_int_equal(ask(OPS_USER, REQUEST("vm.wait", "{\"\":1}")),
			 RPC_INVALID_PARAMS);
	assert_int_equal(ask(OPS_USER, REQUEST("vm.pause", "{\"phase\":1}")),
			 RPC_INVALID_PARAMS);
	assert_int_equal(ask(OPS_USER, REQUEST("vm.pause", "[]")),
			 RPC_INVALID_PARAMS);
}

static bool route_nothing(struct rpc_call *call, const char *method,
			  const json_t *params, void *arg)
{
	*(int *)arg += 1;
	return false;
}

/* It is no rank there. */
static void an_ops_own_to_is_left_to_it(void **state)
{
	static const struct rpc_method own[] = { { "file.rename", say_yes },
						 { "task.echo", say_yes },
						 { 0 } };
	static const struct rpc_method none[] = { { 0 } };
	const char *const requests[] = {
		REQUEST("file.rename", "{\"path\":\"a\",\"to\":\"b\"}"),
		REQUEST("task.echo", "{\"to\":1}"),
	};
	struct ops *ops = ops_new();
	struct ops_origin from = { ops, OPS_USER, NULL };
	struct rpc *r = rpc_new(none, NULL, take, NULL);
	int routed = 0;

	assert_int_equal(ops_add(ops, own, NULL), 0);
	ops_set_router(ops, route_nothing, &routed);
	rpc_set_handler(r, ops_handle, &from);
	for (int i = 0; i < 2; i++) {
		rpc_receive(r, requests[i], strlen(requests[i]));
		assert_non_null(json_object_get(answered, "result"));
		assert_int_equal(routed, i);
	}
	json_decref(answered);
	answered = NULL;
	rpc_free(r);
	ops_free(ops);
}

/* -- output that is kept --------------------------------------------------- */

static struct {
	struct loop *loop;
	struct loop_timer *stop;
	struct keep *keep;
	int in, n_over;
} k;

static void on_over(void *arg)
{
	k.n_over++;
}

static void on_stop(void *arg)
{
	loop_stop(k.loop, 0);
}

static void run(void)
{
	loop_timer_set(k.stop, 20);
	assert_int_equal(loop_run(k.loop), 0);
}

static int keep_set_up(void **state)
{
	memset(&k, 0, sizeof(k));
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(loop_new(&k.loop, NULL), 0);
	assert_int_equal(loop_timer_add(k.loop, -1, on_stop, NULL, &k.stop), 0);
	assert_int_equal(keep_new(k.loop, 8, on_over, NULL, &k.keep, &k.in), 0);
	return 0;
}

static int keep_tear_down(void **state)
{
	keep_free(k.keep);
	if (k.in >= 0)
		close(k.in);
	loop_timer_free(k.stop);
	loop_free(k.loop);
	return 0;
}

static void say(const char *text)
{
	assert_int_equal(write(k.in, text, strlen(text)), strlen(text));
	run();
}

static void assert_kept(const char *text)
{
	size_t len;
	const char *data = keep_data(k.keep, &len);

	assert_int_equal(len, strlen(text));
	assert_memory_equal(data, text, len);
}

static void output_is_kept_up_to_its_limit(void **state)
{
	say("12345");
	assert_kept("12345");
	say("67890");
	assert_kept("12345678");
	assert_int_equal(keep_dropped(k.keep), 2);
	close(k.in);
	k.in = -1;
	run();
	assert_int_equal(k.n_over, 1);
	assert_true(keep_is_over(k.keep));
	assert_kept("12345678");
}

static void who_attaches_gets_what_was_kept_and_what_follows(void **state)
{
	char got[32] = "";
	int fd[2], other[2];

	assert_int_equal(pipe2(fd, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(pipe2(other, O_CLOEXEC), 0);
	say("12345");
	assert_int_equal(keep_attach(k.keep, fd[1]), 0);
	assert_int_equal(keep_attach(k.keep, other[1]), -EBUSY);
	say("67890");
	assert_int_equal(read(fd[0], got, sizeof(got)), 10);
	assert_string_equal(got, "1234567890");
	assert_int_equal(keep_dropped(k.keep), 0);
	close(fd[0]); /* nobody reads: kept again */
	say("ab");
	assert_false(keep_is_attached(k.keep));
	say("cd");
	assert_kept("abcd");
	close(other[0]);
}

static void a_slow_reader_makes_the_writer_wait(void **state)
{
	static char much[1 << 20];
	size_t sent = 0, got = 0;
	int fd[2];

	assert_int_equal(pipe2(fd, O_CLOEXEC | O_NONBLOCK), 0);
	fcntl(k.in, F_SETFL, O_NONBLOCK);
	assert_int_equal(keep_attach(k.keep, fd[1]), 0);
	for (int i = 0; i < 20; i++) {
		ssize_t n = write(k.in, much, sizeof(much));

		sent += n > 0 ? (size_t)n : 0;
		run();
	}
	assert_true(sent < sizeof(much)); /* it waits */
	close(k.in);
	k.in = -1;
	for (int i = 0; i < 100 && got < sent; i++) {
		ssize_t n;

		while ((n = read(fd[0], much, sizeof(much))) > 0)
			got += (size_t)n;
		run();
	}
	assert_int_equal(got, sent);
	assert_int_equal(k.n_over, 1);
	assert_int_equal(read(fd[0], much, 1), 0);
	close(fd[0]);
}

#define TEST(t) cmocka_unit_test(t)
#define KEEP_TEST(t) \
	cmocka_unit_test_setup_teardown(t, keep_set_up, keep_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(each_op_has_its_method_and_row),
		TEST(a_guest_may_ask_for_what_is_listed_only),
		TEST(what_is_not_known_is_refused),
		TEST(an_ops_own_to_is_left_to_it),
		KEEP_TEST(output_is_kept_up_to_its_limit),
		KEEP_TEST(who_attaches_gets_what_was_kept_and_what_follows),
		KEEP_TEST(a_slow_reader_makes_the_writer_wait),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
