#include <config.h>

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "cleanup.h"
#include "ophead.h"
#include "rpc.h"
#include "test_host.h"

static char added[80], shipped[80];

/* -- what an op says of itself --------------------------------------------- */

static void parse(const char *text, struct ophead *ret)
{
	struct errmsg err;

	if (ophead_parse(text, strlen(text), ret, &err) < 0)
		fail_msg("%s", err.text);
}

static void a_header_is_understood(void **state)
{
	struct ophead h;

	parse("#!/bin/sh\n# op: add(a, b, [round]): the sum: of two\n#\n"
	      "# user:  nobody \n#timeout: 1.5\n\necho\n# op: no(x): other\n",
	      &h);
	assert_string_equal(h.params, "a, b, [round]");
	assert_string_equal(h.help, "the sum: of two");
	assert_string_equal(h.user, "nobody");
	assert_int_equal(h.timeout_ms, 1500);
	parse("#!/usr/bin/lua\n-- op: f: without parameters", &h);
	assert_string_equal(h.params, "");
	assert_string_equal(h.help, "without parameters");
	parse("#!/usr/bin/node\r\n// op: f(): dos\r\n", &h);
	assert_string_equal(h.help, "dos");
}

static void a_program_without_one_has_none(void **state)
{
	struct ophead h;
	struct errmsg err;

	parse("", &h);
	parse("\x7f"
	      "ELF\n# op: f(x): no",
	      &h);
	assert_string_equal(h.help, "");
	assert_int_equal(ophead_parse("#\0\n# op: f(x): no", 17, &h, &err), 0);
	assert_string_equal(h.help, "");
}

static void what_it_cannot_mean_is_refused(void **state)
{
	static const char *const wrong[] = {
		"# op: f(x: y",	    "# op: f)x(: y",  "# op: f(x)",
		"# timeout: later", "# timeout: 0",   "# timeout: -1",
		"# timeout: nan",   "# timeout: 5 m", "# timeout: 1e300",
	};
	struct ophead h;
	struct errmsg err;

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		if (ophead_parse(wrong[i], strlen(wrong[i]), &h, &err) == 0)
			fail_msg("taken: %s", wrong[i]);
}

static void names_lead_nowhere_else(void **state)
{
	static const char *const wrong[] = { "",  ".",	"..", "a/b",
					     "-", "a ", "a~", "\xc3\xa4" };
	struct errmsg err;

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		if (opname_check("op", wrong[i], &err) == 0)
			fail_msg("taken: '%s'", wrong[i]);
	assert_int_equal(opname_check("op", "3rd-op_v1.2", &err), 0);
}

/* -- the agent, with directories of its own -------------------------------- */

static int begin(void **state)
{
	struct fixture *f;
	char option[256];

	if (setup(state) < 0)
		return -1;
	f = *state;
	snprintf(added, sizeof(added), "%s/added", f->dir);
	snprintf(shipped, sizeof(shipped), "%s/shipped", f->dir);
	snprintf(option, sizeof(option), "--kernels=%s:%s", added, shipped);
	kill(f->agent, SIGTERM);
	waitpid(f->agent, NULL, 0);
	hang_up(f);
	f->agent =
		run_agent(f, option, open("/dev/null", O_WRONLY | O_CLOEXEC));
	accept_agent(f);
	return 0;
}

static int end(void **state)
{
	char command[256];

	snprintf(command, sizeof(command), "rm -rf %s %s", added, shipped);
	assert_int_equal(system(command), 0);
	return teardown(state);
}

/* What @format makes is the image's; shell. */
static void in_image(const char *command)
{
	char text[1024];

	snprintf(text, sizeof(text),
		 "umask 022; mkdir -p %s/math && cd %s && %s", shipped, shipped,
		 command);
	assert_int_equal(system(text), 0);
}

#define ADD_OP                                                        \
	"printf '#!/bin/sh\\n# op: add(a, b): the sum\\necho {}\\n' " \
	">math/add && chmod 755 math/add"

static json_t *find(struct fixture *f, const char *kernel, const char *op)
{
	return ask(f, "op.find",
		   json_pack("{s:s, s:s}", "kernel", kernel, "op", op));
}

static const char *text_in(json_t *o, const char *name)
{
	const char *text = json_string_value(json_object_get(o, name));

	return text ? text : "";
}

static void an_images_op_is_found(void **state)
{
	struct fixture *f = *state;
	json_t *o;

	in_image(ADD_OP);
	o = result_of(find(f, "math", "add"));
	assert_string_equal(text_in(o, "params"), "a, b");
	assert_string_equal(text_in(o, "help"), "the sum");
	assert_int_equal(access(text_in(o, "path"), X_OK), 0);
	check_error(find(f, "maths", "add"), RPC_E_NOENT, "op");
	check_error(find(f, "math", "sub"), RPC_E_NOENT, "op");
	check_error(find(f, "..", "math"), RPC_INVALID_PARAMS, NULL);
	check_error(find(f, "math", "../math/add"), RPC_INVALID_PARAMS, NULL);
}

static void kernels_are_listed(void **state)
{
	struct fixture *f = *state;
	json_t *list, *o;

	list = json_object_get(result_of(ask(f, "kernel.list", json_object())),
			       "kernels");
	assert_int_equal(json_array_size(list), 0);
	in_image(ADD_OP " && touch README math/.add.swp math/add~");
	list = json_object_get(result_of(ask(f, "kernel.list", json_object())),
			       "kernels");
	assert_int_equal(json_array_size(list), 1);
	o = json_array_get(list, 0);
	assert_string_equal(text_in(o, "kernel"), "math");
	assert_string_equal(text_in(o, "where"), "image");
	assert_int_equal(json_integer_value(json_object_get(o, "ops")), 1);
	o = result_of(
		ask(f, "kernel.get", json_pack("{s:s}", "kernel", "math")));
	o = json_array_get(json_object_get(o, "ops"), 0);
	assert_string_equal(text_in(o, "op"), "add");
	assert_string_equal(text_in(o, "refused"), "");
}

static void what_others_could_have_written_is_refused(void **state)
{
	static const char *const commands[] = {
		"chmod 775 math/add",
		"chmod 757 math/add",
		"chmod 644 math/add",
		"rm math/add; mkdir math/add",
		"rm math/add; mkfifo -m 755 math/add",
		"chmod 777 math",
		"chmod 777 .",
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		in_image("chmod 755 . math; rm -rf math/add; " ADD_OP);
		result_of(find(f, "math", "add"));
		in_image(commands[i]);
		check_error(find(f, "math", "add"), RPC_E_PERM, "op");
	}
}

static json_t *change(struct fixture *f, const char *method, const char *params)
{
	return ask(f, method, json_loads(params, 0, NULL));
}

static void a_kernel_is_made_and_goes(void **state)
{
	struct fixture *f = *state;
	char text[512], *at;
	struct stat st;
	FILE *file;
	json_t *o;

	result_of(change(f, "kernel.add", "{\"kernel\":\"k\"}"));
	check_error(change(f, "kernel.add", "{\"kernel\":\"k\"}"), RPC_E_EXIST,
		    "kernel");
	result_of(
		change(f, "op.register",
		       "{\"kernel\":\"k\",\"op\":\"f\",\"code\":\"echo 1\","
		       "\"interp\":\"sh\",\"params\":\"x\",\"help\":\"do it\","
		       "\"run_as\":\"nobody\",\"timeout_ms\":2500}"));
	o = result_of(find(f, "k", "f"));
	assert_string_equal(text_in(o, "params"), "x");
	assert_string_equal(text_in(o, "help"), "do it");
	assert_string_equal(text_in(o, "user"), "nobody");
	assert_int_equal(json_integer_value(json_object_get(o, "timeout_ms")),
			 2500);
	assert_int_equal(stat(text_in(o, "path"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	file = fopen(text_in(o, "path"), "r");
	at = text + fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	*at = '\0';
	assert_non_null(strstr(text, "/sh\n# op: f(x): do it\n"));
	assert_string_equal(at - 7, "echo 1\n");
	result_of(
		change(f, "op.unregister", "{\"kernel\":\"k\",\"op\":\"f\"}"));
	check_error(
		change(f, "op.unregister", "{\"kernel\":\"k\",\"op\":\"f\"}"),
		RPC_E_NOENT, "op");
	result_of(change(f, "kernel.drop", "{\"kernel\":\"k\"}"));
	check_error(change(f, "kernel.drop", "{\"kernel\":\"k\"}"), RPC_E_NOENT,
		    "kernel");
}

static void an_op_is_not_replaced_by_chance(void **state)
{
	struct fixture *f = *state;

	result_of(change(f, "kernel.add",
			 "{\"kernel\":\"k\",\"ops\":{\"f\":{\"code\":"
			 "\"#!/bin/sh\\necho 1\"}}}"));
	check_error(
		change(f, "op.register",
		       "{\"kernel\":\"k\",\"op\":\"f\",\"path\":\"/bin/true\"}"),
		RPC_E_EXIST, "op");
	result_of(
		change(f, "op.register",
		       "{\"kernel\":\"k\",\"op\":\"f\",\"path\":\"/bin/true\","
		       "\"replace\":true}"));
	result_of(
		change(f, "op.register",
		       "{\"kernel\":\"k\",\"op\":\"f\",\"code\":\"#!/bin/sh\","
		       "\"replace\":true}"));
	result_of(find(f, "k", "f"));
}

static void what_is_no_op_is_refused(void **state)
{
	static const struct {
		const char *params;
		int code;
	} wrong[] = {
		{ "{}", RPC_INVALID_PARAMS },
		{ "{\"path\":\"/bin/true\",\"code\":\"x\"}",
		  RPC_INVALID_PARAMS },
		{ "{\"path\":\"true\"}", RPC_INVALID_PARAMS },
		{ "{\"path\":\"/no/such\"}", RPC_E_NOENT },
		{ "{\"code\":null}", RPC_INVALID_PARAMS },
		{ "{\"code\":\"echo\"}", RPC_INVALID_PARAMS },
		{ "{\"code\":\"echo\",\"interp\":\"no-such\"}", RPC_E_NOENT },
		{ "{\"code\":\"echo\",\"interp\":\"sh\",\"help\":\"a\\nb\"}",
		  RPC_INVALID_PARAMS },
	};
	struct fixture *f = *state;
	json_t *params;

	result_of(change(f, "kernel.add", "{\"kernel\":\"k\"}"));
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		params = json_loads(wrong[i].params, 0, NULL);
		json_object_set_new(params, "kernel", json_string("k"));
		json_object_set_new(params, "op", json_string("f"));
		check_error(ask(f, "op.register", params), wrong[i].code,
			    wrong[i].code > 0 ? "op" : NULL);
		check_error(find(f, "k", "f"), RPC_E_NOENT, "op");
	}
	check_error(change(f, "kernel.add",
			   "{\"kernel\":\"l\",\"ops\":{\"a\":{\"path\":"
			   "\"/bin/true\"},\"b\":{}}}"),
		    RPC_INVALID_PARAMS, NULL);
	check_error(change(f, "kernel.get", "{\"kernel\":\"l\"}"), RPC_E_NOENT,
		    "kernel"); /* nothing of it is left */
}

static void the_images_stays_as_it_is(void **state)
{
	struct fixture *f = *state;
	json_t *o;

	in_image(ADD_OP);
	check_error(change(f, "kernel.drop", "{\"kernel\":\"math\"}"),
		    RPC_E_PERM, "kernel");
	check_error(change(f, "op.unregister",
			   "{\"kernel\":\"math\",\"op\":\"add\"}"),
		    RPC_E_PERM, "op");
	result_of(change(f, "kernel.copy",
			 "{\"kernel\":\"math\",\"name\":\"mine\"}"));
	assert_string_equal(text_in(result_of(find(f, "mine", "add")), "help"),
			    "the sum");
	result_of(change(f, "op.register",
			 "{\"kernel\":\"math\",\"op\":\"add\",\"code\":"
			 "\"#!/bin/sh\",\"help\":\"another\"}"));
	assert_string_equal(text_in(result_of(find(f, "math", "add")), "help"),
			    "another");
	o = result_of(change(f, "kernel.get", "{\"kernel\":\"math\"}"));
	assert_string_equal(text_in(o, "where"), "both");
	assert_int_equal(json_array_size(json_object_get(o, "ops")), 1);
	result_of(change(f, "kernel.drop", "{\"kernel\":\"math\"}"));
	assert_string_equal(text_in(result_of(find(f, "math", "add")), "help"),
			    "the sum");
}

/* -- processes that are bound to the agent --------------------------------- */

static bool is_there(pid_t pid)
{
	return kill(pid, 0) == 0;
}

/* It is init's, or a test's that reaps, to reap; a zombie is none. */
static bool runs(pid_t pid)
{
	char path[64], line[512] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = is_there(pid) ? fopen(path, "r") : NULL;
	if (!f)
		return false;
	if (!fgets(line, sizeof(line), f))
		line[0] = '\0';
	fclose(f);
	return line[0] && !strstr(line, ") Z ");
}

static pid_t start_sleep(struct fixture *f, bool bound)
{
	json_t *o = result_of(ask(f, "proc.start",
				  json_pack("{s:[s, s], s:b}", "argv", "sleep",
					    "1000", "bound", (int)bound)));

	return (pid_t)json_integer_value(json_object_get(o, "pid"));
}

static void restart_agent(struct fixture *f, int sig)
{
	kill(f->agent, sig);
	waitpid(f->agent, NULL, 0);
	hang_up(f);
	f->agent = run_agent(f, NULL, open("/dev/null", O_WRONLY | O_CLOEXEC));
	accept_agent(f);
}

static void what_is_bound_ends_with_the_agent(void **state)
{
	static const int signals[] = { SIGTERM, SIGKILL };
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		pid_t bound = start_sleep(f, true),
		      other = start_sleep(f, false);

		restart_agent(f, signals[i]);
		WAIT_FOR(f, !runs(bound));
		assert_true(runs(other));
		kill(other, SIGKILL);
	}
}

int main(void)
{
#define KERNEL_TEST(t) cmocka_unit_test_setup_teardown(t, begin, end)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_header_is_understood),
		cmocka_unit_test(a_program_without_one_has_none),
		cmocka_unit_test(what_it_cannot_mean_is_refused),
		cmocka_unit_test(names_lead_nowhere_else),
		KERNEL_TEST(an_images_op_is_found),
		KERNEL_TEST(kernels_are_listed),
		KERNEL_TEST(what_others_could_have_written_is_refused),
		KERNEL_TEST(a_kernel_is_made_and_goes),
		KERNEL_TEST(an_op_is_not_replaced_by_chance),
		KERNEL_TEST(what_is_no_op_is_refused),
		KERNEL_TEST(the_images_stays_as_it_is),
		KERNEL_TEST(what_is_bound_ends_with_the_agent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
