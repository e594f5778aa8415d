#include <config.h>

#include "ops.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "begin.h"
#include "call.h"
#include "cleanup.h"
#include "log.h"
#include "opcat.h"
#include "plain.h"
#include "value.h"

#define TIMEOUT_MAX_S 86400u

enum { HERE, TIMEOUT };
const struct cmd_option op_options[] = {
	[HERE] = { "--here", NULL, "this node, for another vmstep" },
	[TIMEOUT] = { "--timeout", "SEC",
		      "for the tasks' answers (10; 0: none)" },
	{ 0 },
};
const struct cmd_option wait_options[] = {
	{ "--timeout", "SEC", "how long (300)" },
	{ 0 },
};
enum { SHUTDOWN_MODE, SHUTDOWN_TIMEOUT };
const struct cmd_option shutdown_options[] = {
	[SHUTDOWN_MODE] = { "--mode", "MODE",
			    "agent, acpi, or both and then by force (auto)" },
	[SHUTDOWN_TIMEOUT] = { "--timeout", "SEC",
			       "for the guest to shut down (60)" },
	{ 0 },
};

/* -- what is shown --------------------------------------------------------- */

static int by_rank(const void *a, const void *b)
{
	return atoi(*(const char *const *)a) - atoi(*(const char *const *)b);
}

/* The keys of @results, in the order of ranks; to be freed. */
static const char **sorted(json_t *results)
{
	size_t n = json_object_size(results), i = 0;
	const char **keys = calloc(n + 1, sizeof(*keys));
	const char *key;
	json_t *value;

	if (!keys)
		return NULL;
	json_object_foreach (results, key, value)
		keys[i++] = key;
	qsort(keys, n, sizeof(*keys), by_rank);
	return keys;
}

static void show_error(const char *rank, const json_t *error)
{
	const char *text = json_string_value(json_object_get(error, "message"));
	char harmless[ERRMSG_MAX];

	plain_line(text ? text : "an error without words", harmless,
		   sizeof(harmless));
	log_err("vm[%s]: %s", rank, harmless);
}

int ops_show(json_t *answer, ops_show_fn show)
{
	json_t *results = json_object_get(answer, "results");
	_cleanup_free_ const char **keys = sorted(results);
	int status = EXIT_DONE;

	for (size_t i = 0; keys && keys[i]; i++) {
		const json_t *one = json_object_get(results, keys[i]);
		const json_t *result = json_object_get(one, "result");

		if (result && show)
			show(keys[i], result);
		if (result)
			continue;
		show_error(keys[i], json_object_get(one, "error"));
		status = EXIT_FAILED;
	}
	return keys ? status : EXIT_FAILED;
}

static int show_json(const json_t *answer)
{
	const char *key;
	json_t *one;

	if (json_dumpf(answer, stdout, JSON_COMPACT | JSON_ENSURE_ASCII) < 0 ||
	    putchar('\n') == EOF)
		return EXIT_FAILED;
	json_object_foreach (json_object_get(answer, "results"), key, one)
		if (!json_object_get(one, "result"))
			return EXIT_FAILED;
	return EXIT_DONE;
}

int ops_ask(const struct invocation *inv, const char *method, json_t *params,
	    unsigned int timeout_s, ops_show_fn show)
{
	const struct call_conf conf = { inv, method, params, timeout_s };
	json_t *answer;
	int status = call_tasks(&conf, &answer);

	json_decref(params);
	if (status != EXIT_DONE)
		return status;
	status = inv->json ? show_json(answer) : ops_show(answer, show);
	json_decref(answer);
	if (fflush(stdout) != 0) {
		log_err("standard output: %m");
		status = EXIT_FAILED;
	}
	return status;
}

int ops_ask_one(const struct invocation *inv, const char *method,
		json_t *params, ops_show_fn show)
{
	struct invocation one = *inv;

	if (!one.ranks)
		one.ranks = "0";
	return ops_ask(&one, method, params, CALL_S, show);
}

static int parse_seconds(const char *text, unsigned int fallback,
			 unsigned int *ret)
{
	unsigned long n = fallback;
	struct errmsg err;

	if (text && value_uint(text, 0, TIMEOUT_MAX_S, &n, &err) < 0) {
		log_err("--timeout: %s", err.text);
		return -EINVAL;
	}
	*ret = (unsigned int)n;
	return 0;
}

/* -- op and ops ------------------------------------------------------------ */

/* A terminal may obey U+009B, too, which JSON can have as it is. */
void op_show(const char *rank, const json_t *result)
{
	printf("%s: ", rank);
	json_dumpf(result, stdout,
		   JSON_COMPACT | JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
	putchar('\n');
}

/* Of @text, or of what standard input has where that is "-". NULL: words have
 * been logged. */
static json_t *parse_params(const char *text)
{
	bool in = strcmp(text, "-") == 0;
	json_error_t where;
	json_t *params = in ? json_loadf(stdin, JSON_REJECT_DUPLICATES, &where)
			    : json_loads(text, JSON_REJECT_DUPLICATES, &where);

	if (json_is_object(params))
		return params;
	log_err("'%.80s' is no JSON object: %s", in ? "standard input" : text,
		params ? "it is another value" : where.text);
	json_decref(params);
	return NULL;
}

int op_run(const struct invocation *inv)
{
	struct call_conf conf = { .inv = inv, .method = inv->args[0] };
	json_t *params = NULL;
	int status;

	if (parse_seconds(inv->options[TIMEOUT], CALL_S, &conf.timeout_s) < 0)
		return EXIT_USAGE;
	if (inv->n_args > 1) {
		params = parse_params(inv->args[1]);
		if (!params)
			return EXIT_USAGE;
	}
	if (!inv->options[HERE])
		return ops_ask(inv, conf.method, params, conf.timeout_s,
			       op_show);
	conf.params = params;
	status = call_here(&conf);
	json_decref(params);
	return status;
}

static json_t *op_json(const struct op *o)
{
	return json_pack("{s:s, s:s, s:s, s:b}", "op", o->name, "params",
			 o->params, "help", o->help, "guest", (int)o->guest);
}

int ops_run(const struct invocation *inv)
{
	json_t *list = json_array();

	for (const struct op *o = ops_table; o->name; o++) {
		if (inv->json)
			json_array_append_new(list, op_json(o));
		else
			printf("%-14s %s\n%-14s   {%s}\n", o->name, o->help, "",
			       o->params);
	}
	if (inv->json) {
		json_dumpf(list, stdout, JSON_COMPACT);
		putchar('\n');
	}
	json_decref(list);
	return fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
}

/* -- ps -------------------------------------------------------------------- */

static const char *text_of(const json_t *o, const char *name)
{
	const char *text = json_string_value(json_object_get(o, name));

	return text ? text : "-";
}

static void show_ports(const json_t *result)
{
	json_t *port;
	size_t i;

	json_array_foreach (json_object_get(result, "publish"), i, port)
		printf("       %lld/%s is 127.0.0.1:%lld on %s\n",
		       (long long)json_integer_value(
			       json_object_get(port, "port")),
		       text_of(port, "proto"),
		       (long long)json_integer_value(
			       json_object_get(port, "host_port")),
		       text_of(result, "node"));
}

/* What the guest has of the node's, a line each. */
static void show_data(const json_t *data)
{
	const json_t *one;
	size_t i;

	json_array_foreach ((json_t *)(uintptr_t)data, i, one)
		printf("       %s%s %s %s by %s\n", text_of(one, "path"),
		       json_is_true(json_object_get(one, "ro")) ? " (ro)" : "",
		       json_is_true(json_object_get(one, "there")) ? "is"
								   : "is to be",
		       text_of(one, "from"), text_of(one, "by"));
}

void ps_show(const char *rank, const json_t *result)
{
	const json_t *ifs =
		json_object_get(json_object_get(result, "guest"), "interfaces");
	size_t running = 0, i;
	json_t *proc, *nic;
	const char *ip = NULL;
	char os[128];

	json_array_foreach (json_object_get(result, "procs"), i, proc)
		running += strcmp(text_of(proc, "state"), "running") == 0;
	json_array_foreach (ifs, i, nic)
		if (!ip)
			ip = json_string_value(
				json_array_get(json_object_get(nic, "ip"), 0));
	plain_line(text_of(json_object_get(result, "guest"), "os"), os,
		   sizeof(os)); /* the guest's own words */
	printf("%-6s %-10s %-10s %-8s %-6s %4lld %7lldM %5zu  %s\n", rank,
	       text_of(result, "name"), text_of(result, "node"),
	       text_of(result, "state"), text_of(result, "agent"),
	       (long long)json_integer_value(json_object_get(result, "cpus")),
	       (long long)json_integer_value(
		       json_object_get(result, "mem_bytes")) >>
		       20,
	       running, os);
	show_ports(result);
	show_data(json_object_get(result, "data"));
}

int ps_run(const struct invocation *inv)
{
	if (!inv->json)
		printf("%-6s %-10s %-10s %-8s %-6s %4s %8s %5s  %s\n", "RANK",
		       "NAME", "NODE", "VM", "AGENT", "CPUS", "MEM", "PROCS",
		       "SYSTEM");
	return ops_ask(inv, "task.state", NULL, CALL_S, ps_show);
}

/* -- the VM ---------------------------------------------------------------- */

int wait_run(const struct invocation *inv)
{
	const char *phase = inv->n_args ? inv->args[0] : "init";
	_cleanup_free_ char *step = NULL;
	struct invocation known = *inv;
	unsigned int s;
	int status;

	if (parse_seconds(inv->options[0], 300, &s) < 0)
		return EXIT_USAGE;
	if (strcmp(phase, "qemu") != 0 && strcmp(phase, "agent") != 0 &&
	    strcmp(phase, "init") != 0 && strcmp(phase, "exit") != 0) {
		log_err("'%s' is no phase: it is qemu, agent, init or exit",
			phase);
		return EXIT_USAGE;
	}
	status = begin_wait(inv, strcmp(phase, "exit") != 0, &s, &step);
	if (status != EXIT_DONE)
		return status;
	known.job = step;
	return ops_ask(&known, "vm.wait",
		       json_pack("{s:s, s:I}", "phase", phase, "timeout_ms",
				 (json_int_t)s * 1000),
		       s + CALL_S, NULL);
}

int pause_run(const struct invocation *inv)
{
	return ops_ask(inv, "vm.pause", NULL, CALL_S, NULL);
}

int resume_run(const struct invocation *inv)
{
	return ops_ask(inv, "vm.resume", NULL, CALL_S, NULL);
}

int reset_run(const struct invocation *inv)
{
	return ops_ask(inv, "vm.reset", NULL, CALL_S, NULL);
}

int poweroff_run(const struct invocation *inv)
{
	return ops_ask(inv, "vm.poweroff", NULL, CALL_S, NULL);
}

int shutdown_run(const struct invocation *inv)
{
	const char *mode = inv->options[SHUTDOWN_MODE];
	unsigned int s;

	if (parse_seconds(inv->options[SHUTDOWN_TIMEOUT], 60, &s) < 0)
		return EXIT_USAGE;
	return ops_ask(inv, "vm.shutdown",
		       json_pack("{s:s, s:I}", "mode", mode ? mode : "auto",
				 "timeout_ms", (json_int_t)s * 1000),
		       s + CALL_S, NULL);
}
