#include <config.h>

#include "between.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "call.h"
#include "cleanup.h"
#include "log.h"
#include "ops.h"
#include "plain.h"
#include "value.h"

#define DATA_MAX (1024 * 1024)

enum { SEND_QUEUE, SEND_REF, SEND_PARSE };
const struct cmd_option send_options[] = {
	[SEND_QUEUE] = { "--queue", "NAME", "into this one (default)" },
	[SEND_REF] = { "--ref", "TEXT", "goes along" },
	[SEND_PARSE] = { "--parse", NULL, "DATA is JSON" },
	{ 0 },
};
enum { RECV_QUEUE, RECV_COUNT, RECV_TIMEOUT };
const struct cmd_option recv_options[] = {
	[RECV_QUEUE] = { "--queue", "NAME", "from this one (default)" },
	[RECV_COUNT] = { "--count", "N", "up to so many (1)" },
	[RECV_TIMEOUT] = { "--timeout", "SEC", "wait for one (0)" },
	{ 0 },
};
const struct cmd_option barrier_options[] = {
	{ "--timeout", "SEC", "for all to come (300)" },
	{ 0 },
};
const struct cmd_option store_options[] = {
	{ "--parse", NULL, "VALUE is JSON" },
	{ 0 },
};

static void set_text(json_t *params, const char *name, const char *text)
{
	if (text)
		json_object_set_new(params, name, json_string(text));
}

static int parse_number(const char *option, const char *text, unsigned long max,
			unsigned long *ret)
{
	struct errmsg err;

	if (!text || value_uint(text, 0, max, ret, &err) == 0)
		return 0;
	log_err("%s: %s", option, err.text);
	return -EINVAL;
}

/* Less a newline at its end. NULL: words have been logged. */
static char *read_stdin(void)
{
	char *text = malloc(DATA_MAX + 2);
	size_t n = text ? fread(text, 1, DATA_MAX + 2, stdin) : 0;

	if (!text || n > DATA_MAX + 1) {
		log_err("standard input: %s",
			text ? "more than 1 MiB" : strerror(ENOMEM));
		free(text);
		return NULL;
	}
	if (n && text[n - 1] == '\n')
		n--;
	text[n] = '\0';
	return text;
}

/* @text, or what stdin has where it is "-". NULL: words have been logged. */
static json_t *value_of(const char *text, bool parse)
{
	_cleanup_free_ char *in = NULL;
	json_error_t where;
	json_t *value = NULL;

	if (strcmp(text, "-") == 0)
		text = in = read_stdin();
	if (!text)
		return NULL;
	value = parse ? json_loads(text, JSON_DECODE_ANY, &where)
		      : json_string(text);
	if (!value)
		log_err("'%.80s' is no %s", text,
			parse ? "JSON" : "text in UTF-8");
	return value;
}

/* -- messages -------------------------------------------------------------- */

int send_run(const struct invocation *inv)
{
	json_t *data = value_of(inv->args[0], inv->options[SEND_PARSE] != NULL);
	json_t *params;

	if (!data)
		return EXIT_USAGE;
	params = json_pack("{s:o}", "data", data);
	set_text(params, "queue", inv->options[SEND_QUEUE]);
	set_text(params, "ref", inv->options[SEND_REF]);
	return ops_ask(inv, "msg.send", params, CALL_S, NULL);
}

/* A text as it is, but for a terminal, which would obey it. */
static void print_value(const json_t *v)
{
	const char *text = json_string_value(v);
	size_t len = json_string_length(v);

	if (text && isatty(STDOUT_FILENO))
		plain_write(stdout, text, len, true);
	else if (text)
		fwrite(text, 1, len, stdout);
	else
		json_dumpf(v, stdout,
			   JSON_COMPACT | JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
	putchar('\n');
}

void recv_show(const char *rank, const json_t *result)
{
	json_t *m;
	size_t i;

	json_array_foreach (result, i, m)
		print_value(json_object_get(m, "data"));
}

int recv_run(const struct invocation *inv)
{
	unsigned long count = 1, s = 0;
	json_t *params;

	if (parse_number("--count", inv->options[RECV_COUNT], 65536, &count) <
		    0 ||
	    parse_number("--timeout", inv->options[RECV_TIMEOUT], 86400, &s) <
		    0)
		return EXIT_USAGE;
	params = json_pack("{s:I, s:I}", "count", (json_int_t)count, "wait_ms",
			   (json_int_t)s * 1000);
	set_text(params, "queue", inv->options[RECV_QUEUE]);
	return ops_ask(inv, "msg.recv", params, (unsigned int)s + CALL_S,
		       recv_show);
}

/* -- barrier --------------------------------------------------------------- */

/* Each of the tasks comes; who else is to come comes by itself. */
int barrier_run(const struct invocation *inv)
{
	unsigned long s = 300;
	json_t *params;

	if (parse_number("--timeout", inv->options[0], 86400, &s) < 0)
		return EXIT_USAGE;
	params = json_pack("{s:I}", "timeout_ms", (json_int_t)s * 1000);
	set_text(params, "name", inv->n_args ? inv->args[0] : NULL);
	return ops_ask(inv, "sync.barrier", params, (unsigned int)s + CALL_S,
		       NULL);
}

/* -- what one task knows for all ------------------------------------------- */

static void show_value(const char *rank, const json_t *result)
{
	const json_t *value = json_object_get(result, "value");

	if (value)
		print_value(value);
}

void store_show_keys(const char *rank, const json_t *result)
{
	const char *key;
	json_t *version;

	json_object_foreach (json_object_get(result, "keys"), key, version) {
		plain_write(stdout, key, strlen(key), false);
		putchar('\n');
	}
}

static void show_state(const char *rank, const json_t *result)
{
	json_dumpf(result, stdout, JSON_COMPACT);
	putchar('\n');
}

static const struct store_verb {
	const char *name, *method, *usage;
	int min_args, max_args; /* with itself */
	const char *params[2];
	ops_show_fn show;
} store_verbs[] = {
	{ "put", "store.put", "KEY VALUE", 3, 3, { "key", "value" }, NULL },
	{ "get", "store.get", "KEY", 2, 2, { "key" }, show_value },
	{ "pop", "store.pop", "KEY", 2, 2, { "key" }, show_value },
	{ "drop", "store.drop", "KEY", 2, 2, { "key" }, NULL },
	{ "list",
	  "store.list",
	  "[PATTERN]",
	  1,
	  2,
	  { "pattern" },
	  store_show_keys },
	{ "state", "store.state", "", 1, 1, { NULL }, show_state },
	{ 0 },
};

static int run_verb(const struct invocation *inv, const struct store_verb *v)
{
	json_t *params = json_object();

	for (int i = 1; i < inv->n_args; i++) {
		bool parse = i == 2 && inv->options[0];
		json_t *value = i == 2 ? value_of(inv->args[i], parse)
				       : json_string(inv->args[i]);

		if (!value) {
			json_decref(params);
			return EXIT_USAGE;
		}
		json_object_set_new(params, v->params[i - 1], value);
	}
	return ops_ask_one(inv, v->method, params, v->show);
}

int store_run(const struct invocation *inv)
{
	const struct store_verb *v = store_verbs;

	while (v->name && strcmp(v->name, inv->args[0]) != 0)
		v++;
	if (!v->name) {
		log_err("store: '%.40s' is none of put, get, pop, drop, list, state",
			inv->args[0]);
		return EXIT_USAGE;
	}
	if (inv->n_args < v->min_args || inv->n_args > v->max_args) {
		log_err("it is: store %s %s", v->name, v->usage);
		return EXIT_USAGE;
	}
	return run_verb(inv, v);
}
