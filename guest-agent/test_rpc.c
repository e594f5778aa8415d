#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "cleanup.h"
#include "netconf.h"
#include "param.h"
#include "power.h"
#include "proc.h"
#include "rpc.h"
#include "start.h"

struct fixture {
	struct rpc *rpc;
	json_t *sent; /* the last text */
	int n_sent, n_replies, reply_code;
	int fail;	       /* what sending returns */
	struct rpc_call *call; /* that waits */
};

static int send_text(const char *text, size_t len, void *arg)
{
	struct fixture *f = arg;

	json_decref(f->sent);
	f->sent = json_loadb(text, len, 0, NULL);
	assert_non_null(f->sent);
	f->n_sent++;
	return f->fail;
}

static void echo(struct rpc_call *call, const json_t *params, void *arg)
{
	rpc_result(call, json_deep_copy(params));
}

static void wait_here(struct rpc_call *call, const json_t *params, void *arg)
{
	struct fixture *f = arg;

	f->call = call;
}

static void refuse(struct rpc_call *call, const json_t *params, void *arg)
{
	rpc_fail_os(call, RPC_E_NOENT, ENOENT, "user", "no user eve");
}

static void on_reply(const struct rpc_reply *reply, void *arg)
{
	struct fixture *f = arg;

	f->n_replies++;
	f->reply_code = reply->result ? 0 : reply->code;
	if (!reply->result)
		assert_non_null(reply->message);
}

static const struct rpc_method methods[] = {
	{ "echo", echo },
	{ "wait", wait_here },
	{ "fail", refuse },
	{ 0 },
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	*state = f;
	f->rpc = rpc_new(methods, f, send_text, f);
	return !f->rpc;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	rpc_free(f->rpc);
	json_decref(f->sent);
	free(f);
	return 0;
}

static void receive(struct fixture *f, const char *text)
{
	rpc_receive(f->rpc, text, strlen(text));
}

static int error_code(struct fixture *f)
{
	return (int)json_integer_value(
		json_object_get(json_object_get(f->sent, "error"), "code"));
}

/* -- requests -------------------------------------------------------------- */

static void test_bad_requests(void **state)
{
	static const struct {
		const char *text;
		int code;
	} bad[] = {
		{ "", RPC_PARSE },
		{ "{", RPC_PARSE },
		{ "{\"a\":1,\"a\":2}", RPC_PARSE },
		{ "\xff", RPC_PARSE },
		{ "[]", RPC_INVALID_REQUEST },
		{ "{}", RPC_INVALID_REQUEST },
		{ "{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"echo\"}",
		  RPC_INVALID_REQUEST },
		{ "{\"jsonrpc\":\"2.0\",\"id\":[],\"method\":\"echo\"}",
		  RPC_INVALID_REQUEST },
		{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":7}",
		  RPC_INVALID_REQUEST },
		{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"nope\"}",
		  RPC_NO_METHOD },
		{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"echo\",\"params\":[1]}",
		  RPC_INVALID_PARAMS },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		receive(f, bad[i].text);
		assert_int_equal(f->n_sent, (int)i + 1); /* one answer each */
		assert_int_equal(error_code(f), bad[i].code);
	}
}

static void test_result(void **state)
{
	struct fixture *f = *state;
	json_t *result;

	receive(f,
		"{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"method\":\"echo\",\"params\":{\"a\":1}}");
	result = json_object_get(f->sent, "result");
	assert_int_equal(json_integer_value(json_object_get(result, "a")), 1);
	assert_string_equal(json_string_value(json_object_get(f->sent, "id")),
			    "x");
	assert_int_equal(f->n_sent, 1);
}

static void test_error_data(void **state)
{
	struct fixture *f = *state;
	json_t *data;

	receive(f, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"fail\"}");
	data = json_object_get(json_object_get(f->sent, "error"), "data");
	assert_int_equal(error_code(f), RPC_E_NOENT);
	assert_string_equal(json_string_value(json_object_get(data, "name")),
			    "E_NOENT");
	assert_string_equal(json_string_value(json_object_get(data, "what")),
			    "user");
	assert_int_equal(json_integer_value(json_object_get(data, "errno")),
			 ENOENT);
}

static void test_notification(void **state)
{
	struct fixture *f = *state;

	receive(f, "{\"jsonrpc\":\"2.0\",\"method\":\"echo\"}");
	receive(f, "{\"jsonrpc\":\"2.0\",\"method\":\"fail\"}");
	receive(f, "{\"jsonrpc\":\"2.0\",\"method\":\"nope\"}");
	assert_int_equal(f->n_sent, 0);
}

static void test_late_answer(void **state)
{
	struct fixture *f = *state;

	receive(f, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"wait\"}");
	assert_int_equal(f->n_sent, 0);
	rpc_result(TAKE_PTR(f->call), NULL);
	assert_int_equal(f->n_sent, 1);
	receive(f, "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"wait\"}");
	rpc_forget(f->rpc, "gone");
	rpc_result(TAKE_PTR(f->call), NULL); /* who asked is gone */
	assert_int_equal(f->n_sent, 1);
}

static void test_too_many(void **state)
{
	struct fixture *f = *state;
	struct rpc_call *calls[RPC_CALLS];

	for (int i = 0; i < RPC_CALLS; i++) {
		receive(f,
			"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"wait\"}");
		calls[i] = f->call;
	}
	assert_int_equal(f->n_sent, 0);
	receive(f, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"wait\"}");
	assert_int_equal(error_code(f), RPC_E_FULL);
	for (int i = 0; i < RPC_CALLS; i++)
		rpc_result(calls[i], NULL);
	assert_int_equal(f->n_sent, RPC_CALLS + 1);
}

static void test_too_long(void **state)
{
	struct fixture *f = *state;

	f->fail = -EMSGSIZE;
	receive(f, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"echo\"}");
	assert_int_equal(error_code(f), RPC_INTERNAL);
}

static void test_own_requests(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(rpc_request(f->rpc, "m", json_object(), on_reply, f),
			 0);
	receive(f, "{\"jsonrpc\":\"2.0\",\"id\":99,\"result\":1}");
	assert_int_equal(f->n_replies, 0);
	receive(f, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":1}");
	receive(f, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":1}");
	assert_int_equal(f->n_replies, 1);
	assert_int_equal(f->reply_code, 0);
	assert_int_equal(f->n_sent, 1); /* a reply is not answered */
	assert_int_equal(rpc_request(f->rpc, "m", json_object(), on_reply, f),
			 0);
	receive(f,
		"{\"jsonrpc\":\"2.0\",\"id\":2,\"error\":{\"code\":10,\"message\":\"x\"}}");
	assert_int_equal(f->n_replies, 2);
	assert_int_equal(f->reply_code, RPC_E_NOENT);
	f->fail = -ENOTCONN;
	assert_int_equal(rpc_request(f->rpc, "m", json_object(), on_reply, f),
			 -ENOTCONN);
	assert_int_equal(rpc_notify(f->rpc, "m", json_object()), -ENOTCONN);
	assert_int_equal(rpc_notify(f->rpc, "m", NULL), -ENOMEM);
}

/* A peer that goes answers what was asked of it. */
static void test_requests_of_a_peer_that_is_gone(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 3; i++)
		rpc_request(f->rpc, "m", json_object(), on_reply, f);
	rpc_forget(f->rpc, "gone");
	assert_int_equal(f->n_replies, 3);
	assert_int_equal(f->reply_code, RPC_E_UNREACHABLE);
	rpc_request(f->rpc, "m", json_object(), on_reply, f);
	rpc_forget_request(f->rpc, f);
	rpc_forget(f->rpc, "gone");
	assert_int_equal(f->n_replies, 3);
}

static void handle(struct rpc_call *call, const char *method,
		   const json_t *params, void *arg)
{
	assert_ptr_equal(rpc_call_origin(call), arg);
	rpc_failf(call, RPC_E_EXIST, "%s is known", method);
}

static void test_what_the_table_does_not_have(void **state)
{
	struct fixture *f = *state;

	receive(f, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"other\"}");
	assert_int_equal(error_code(f), RPC_NO_METHOD);
	rpc_set_handler(f->rpc, handle, f);
	receive(f, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"other\"}");
	assert_int_equal(error_code(f), RPC_E_EXIST);
	receive(f, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"fail\"}");
	assert_int_not_equal(error_code(f), RPC_E_EXIST);
}

/* -- parameters ------------------------------------------------------------ */

static json_t *json(const char *text)
{
	json_t *v = json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);

	assert_non_null(v);
	return v;
}

static int parse_text(const char *text, char **ret)
{
	json_t *params = json(text);
	struct errmsg err = { "" };
	int r = param_text(params, "t", ret, &err);

	if (r < 0)
		assert_true(strncmp(err.text, "t: ", 3) == 0);
	json_decref(params);
	return r;
}

static void test_texts(void **state)
{
	static const char *const bad[] = {
		"{\"t\":1}",
		"{\"t\":[]}",
		"{\"t\":\"a\\u0000b\"}",
		"{\"t\":{}}",
		"{\"t\":{\"b64\":1}}",
		"{\"t\":{\"b64\":\"YQ==\",\"x\":1}}",
		"{\"t\":{\"b64\":\"YQ=\"}}",
		"{\"t\":{\"b64\":\"Y===\"}}",
		"{\"t\":{\"b64\":\"YQ*=\"}}",
		"{\"t\":{\"b64\":\"=YQ=\"}}",
		"{\"t\":{\"b64\":\"YQBi\"}}", /* a NUL in it */
	};
	_cleanup_free_ char *text = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(parse_text(bad[i], &text), -EINVAL);
		assert_null(text);
	}
	assert_int_equal(parse_text("{}", &text), 0);
	assert_null(text);
	assert_int_equal(parse_text("{\"t\":\"a b\"}", &text), 0);
	assert_string_equal(text, "a b");
	assert_int_equal(parse_text("{\"t\":{\"b64\":\"//4=\"}}", &text), 0);
	assert_string_equal(text, "\xff\xfe");
	assert_int_equal(parse_text("{\"t\":{\"b64\":\"\"}}", &text), 0);
	assert_string_equal(text, "");
}

static void test_bytes_back(void **state)
{
	for (size_t len = 1; len < 20; len++) {
		_cleanup_free_ char *back = NULL;
		char bytes[21] = { 0 };
		json_t *v;

		memset(bytes, 0xfe, len);
		bytes[len / 2] = 'x';
		v = param_from_text(bytes);
		assert_int_equal(param_value_text(v, "t", &back, NULL), 0);
		assert_string_equal(back, bytes);
		json_decref(v);
	}
}

static int parse_start(const char *text, struct start *s)
{
	json_t *params = json(text);
	struct errmsg err = { "" };
	int r = start_parse(params, s, &err);

	assert_int_equal(r < 0, err.text[0] != '\0');
	json_decref(params);
	return r;
}

static void test_start(void **state)
{
	static const char *const bad[] = {
		"{}",
		"{\"argv\":[]}",
		"{\"argv\":\"ls\"}",
		"{\"argv\":[1]}",
		"{\"argv\":[\"\"]}",
		"{\"argv\":[\"a\"],\"env\":[]}",
		"{\"argv\":[\"a\"],\"env\":{\"\":\"x\"}}",
		"{\"argv\":[\"a\"],\"env\":{\"A=B\":\"x\"}}",
		"{\"argv\":[\"a\"],\"env\":{\"A\":1}}",
		"{\"argv\":[\"a\"],\"stdout\":0}",
		"{\"argv\":[\"a\"],\"stdin\":\"1\"}",
		"{\"argv\":[\"a\"],\"stdin\":4294967296}",
		"{\"argv\":[\"a\"],\"pty\":1}",
		"{\"argv\":[\"a\"],\"pty\":{\"rows\":-1}}",
		"{\"argv\":[\"a\"],\"env_clear\":\"yes\"}",
		"{\"argv\":[\"a\"],\"cwd\":1}",
	};
	_cleanup_(start_done) struct start s = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(parse_start(bad[i], &s), -EINVAL);
	assert_int_equal(
		parse_start("{\"argv\":[\"a\",{\"b64\":\"/w==\"}],\"stdout\":2,"
			    "\"stderr\":3,\"pty\":{\"rows\":3,\"cols\":4}}",
			    &s),
		0);
	assert_string_equal(s.argv[1], "\xff");
	assert_null(s.argv[2]);
	assert_int_equal(s.io.out, 2);
	assert_int_equal(s.io.err, 0); /* a pty has none */
	assert_int_equal(s.io.cols, 4);
}

static const char *env_get(char **env, const char *name)
{
	const char *found = NULL;

	for (; *env; env++)
		if (strncmp(*env, name, strlen(name)) == 0 &&
		    (*env)[strlen(name)] == '=') {
			assert_null(found); /* once */
			found = *env + strlen(name) + 1;
		}
	return found;
}

static void test_env(void **state)
{
	char name[] = "ada", home[] = "/home/ada", shell[] = "/bin/sh";
	struct account a = { .name = name, .home = home, .shell = shell };
	_cleanup_(start_done) struct start s = { 0 }, clear = { 0 };
	char **env;

	parse_start(
		"{\"argv\":[\"a\"],\"env\":{\"HOME\":\"/x\",\"A\":\"1=2\"}}",
		&s);
	env = start_env(&s, &a);
	assert_string_equal(env_get(env, "HOME"), "/x");
	assert_string_equal(env_get(env, "A"), "1=2");
	assert_string_equal(env_get(env, "LOGNAME"), "ada");
	assert_non_null(env_get(env, "PATH"));
	assert_null(env_get(env, "TERM"));
	start_free_env(env);
	parse_start(
		"{\"argv\":[\"a\"],\"env_clear\":true,\"env\":{\"A\":\"\"}}",
		&clear);
	env = start_env(&clear, &a);
	assert_string_equal(env[0], "A=");
	assert_null(env[1]);
	start_free_env(env);
}

static int parse_netconf(const char *text, struct netconf *c)
{
	json_t *params = json(text);
	struct errmsg err = { "" };
	int r = netconf_parse(params, c, &err);

	json_decref(params);
	return r;
}

#define MAC "\"mac\":\"52:54:00:00:00:03\""

static void test_netconf(void **state)
{
	static const char *const bad[] = {
		"{\"mac\":\"52:54:00:00:00\",\"ip\":\"10.0.0.1\",\"prefix\":8}",
		"{\"mac\":\"52:54:00:00:00:03x\",\"ip\":\"10.0.0.1\",\"prefix\":8}",
		"{\"mac\":\"52:54:00:00:00:0g\",\"ip\":\"10.0.0.1\",\"prefix\":8}",
		"{" MAC "}",
		"{" MAC ",\"ip\":\"10.0.0\",\"prefix\":8}",
		"{" MAC ",\"ip\":\"10.0.0.1\"}",
		"{" MAC ",\"ip\":\"10.0.0.1\",\"prefix\":33}",
		"{" MAC ",\"ip\":\"10.0.0.1\",\"prefix\":8,\"mtu\":67}",
		"{\"mode\":\"maybe\"}",
		"{\"hostname\":\"a b\"}",
		"{\"hostname\":\"a\\n10.0.0.1 evil\"}",
		"{\"timeout_ms\":-1}",
		"{\"nameserver\":\"10.0.0.1 evil\"}",
		"{\"nameserver\":[\"10.0.0.1\",\"evil\"]}",
		"{\"nameserver\":[\"1.1.1.1\",\"1.1.1.2\",\"1.1.1.3\",\"1.1.1.4\"]}",
		"{\"nameserver\":[1]}",
		"{\"gateway\":\"vmhost\"}",
	};
	struct netconf c = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(parse_netconf(bad[i], &c), -EINVAL);
	assert_int_equal(
		parse_netconf(
			"{" MAC
			",\"ip\":\"10.0.0.4\",\"prefix\":8,\"mtu\":9000,\"mode\":\"check\"}",
			&c),
		0);
	assert_int_equal(c.mac[5], 3);
	assert_int_equal(c.ip.s_addr, htonl(0x0a000004));
	assert_true(c.has_mac && c.check);
	netconf_done(&c);
	assert_int_equal(
		parse_netconf(
			"{\"hostname\":\"vm3\",\"nameserver\":\"10.0.0.9\"}",
			&c),
		0);
	assert_false(c.has_mac);
	assert_string_equal(c.nameserver, "10.0.0.9");
	assert_false(c.has_gateway);
	netconf_done(&c);
	assert_int_equal(
		parse_netconf(
			"{\"gateway\":\"10.0.0.2\",\"nameserver\":[\"10.0.0.9\",\"10.0.0.8\"]}",
			&c),
		0);
	assert_true(c.has_gateway);
	assert_int_equal(c.gateway.s_addr, htonl(0x0a000002));
	assert_string_equal(c.nameserver, "10.0.0.9 10.0.0.8");
	netconf_done(&c);
}

static void test_words(void **state)
{
	json_t *params =
		json("{\"how\":\"reboot\",\"a\":\"SIGTERM\",\"b\":\"HUP\","
		     "\"c\":9,\"d\":65,\"e\":\"SIG\",\"f\":null}");
	int v = -1;

	assert_int_equal(power_parse(params, &v, NULL), 0);
	assert_int_equal(v, 1);
	assert_int_equal(
		proc_parse_signal(json_object_get(params, "a"), &v, NULL), 0);
	assert_int_equal(v, SIGTERM);
	proc_parse_signal(json_object_get(params, "b"), &v, NULL);
	assert_int_equal(v, SIGHUP);
	proc_parse_signal(json_object_get(params, "c"), &v, NULL);
	assert_int_equal(v, SIGKILL);
	for (const char *bad = "def"; *bad; bad++) {
		char name[2] = { *bad };

		assert_int_equal(
			proc_parse_signal(json_object_get(params, name), &v,
					  NULL),
			-EINVAL);
	}
	json_object_set_new(params, "how", json_string("explode"));
	assert_int_equal(power_parse(params, &v, NULL), -EINVAL);
	json_decref(params);
}

#define TEST(text, fn)                          \
	{                                       \
		text, fn, setup, teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST("what is no proper request gets its error",
		     test_bad_requests),
		TEST("an error says what, why and errno", test_error_data),
		TEST("too many requests at once are refused", test_too_many),
		TEST("a result that is too long becomes an error",
		     test_too_long),
		TEST("a request gets its result, under its id", test_result),
		TEST("a notification gets no answer", test_notification),
		TEST("an answer may come later, or to nobody",
		     test_late_answer),
		TEST("our own requests are answered once", test_own_requests),
		TEST("our requests of a peer that is gone are answered",
		     test_requests_of_a_peer_that_is_gone),
		TEST("what the table does not have goes to the handler",
		     test_what_the_table_does_not_have),
		TEST("texts are texts or base64", test_texts),
		TEST("bytes that are no text come back the same",
		     test_bytes_back),
		TEST("proc.start's parameters", test_start),
		TEST("the environment is a login's, and what is given",
		     test_env),
		TEST("net.configure's parameters", test_netconf),
		TEST("signals and ways to end by name", test_words),
	};

	return cmocka_run_group_tests_name("rpc", tests, NULL, NULL);
}
