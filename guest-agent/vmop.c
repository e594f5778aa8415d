#include <config.h>

#include "vmop.h"

#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cleanup.h"
#include "opsock.h"
#include "rankset.h"
#include "rpc.h"
#include "value.h"
#include "vmop_impl.h"

#define STDIN_MAX (OPSOCK_LINE_MAX + 1) /* more is refused by the agent */

/* -- asking ---------------------------------------------------------------- */

int vmop_fail(int status, const char *fmt, ...)
{
	va_list ap;

	fputs("vmop: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return status;
}

static int connect_host(struct vmop *v)
{
	const char *path = getenv(OPSOCK_ENV);
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	path = path && *path ? path : OPSOCK_PATH;
	snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&un, sizeof(un)) < 0) {
		int e = errno;

		if (fd >= 0)
			close(fd);
		return vmop_fail(
			EXIT_REFUSED,
			"%s: %s; is vmstep-agent running in this guest?", path,
			strerror(e));
	}
	v->host = fdopen(fd, "r+");
	return v->host ? 0 : vmop_fail(EXIT_REFUSED, "out of memory");
}

int vmop_refused(const json_t *error)
{
	const char *words =
		json_string_value(json_object_get(error, "message"));
	json_int_t code = json_integer_value(json_object_get(error, "code"));

	return vmop_fail(code == RPC_E_TIMEOUT ? EXIT_TIMED_OUT : EXIT_REFUSED,
			 "%s", words ? words : "refused without a reason");
}

static int closed(void)
{
	return vmop_fail(
		EXIT_REFUSED,
		"the agent closed the connection: vmop is for root and the step's user");
}

static int take_answer(struct vmop *v, json_t **ret)
{
	_cleanup_free_ char *line = NULL;
	_cleanup_json_ json_t *answer = NULL;
	size_t size = 0;
	ssize_t n = getline(&line, &size, v->host);

	answer = n > 0 ? json_loadb(line, (size_t)n, 0, NULL) : NULL;
	if (!answer)
		return closed();
	if (!json_object_get(answer, "result"))
		return vmop_refused(json_object_get(answer, "error"));
	*ret = json_incref(json_object_get(answer, "result"));
	return 0;
}

int vmop_ask(struct vmop *v, const char *method, json_t *params, json_t **ret)
{
	_cleanup_json_ json_t *msg =
		params ? json_pack("{s:s, s:i, s:s, s:o}", "jsonrpc", "2.0",
				   "id", 1, "method", method, "params", params)
		       : NULL;
	_cleanup_free_ char *text = msg ? json_dumps(msg, JSON_COMPACT) : NULL;
	int r;

	if (!text)
		return vmop_fail(
			EXIT_REFUSED,
			"this cannot be said in JSON: texts are UTF-8");
	r = v->host ? 0 : connect_host(v);
	if (r)
		return r;
	if (fprintf(v->host, "%s\n", text) < 0 || fflush(v->host) != 0)
		return closed();
	return take_answer(v, ret);
}

void vmop_print_json(const json_t *j, size_t flags)
{
	_cleanup_free_ char *text = json_dumps(j, JSON_ENCODE_ANY | flags);

	puts(text ? text : "null");
}

void vmop_print(const json_t *j)
{
	if (json_is_string(j)) {
		fwrite(json_string_value(j), 1, json_string_length(j), stdout);
		putchar('\n');
	} else {
		vmop_print_json(j, JSON_COMPACT);
	}
}

static int ask_and_print(struct vmop *v, const char *method, json_t *params)
{
	_cleanup_json_ json_t *result = NULL;
	int r = vmop_ask(v, method, params, &result);

	if (r == 0)
		vmop_print_json(result,
				v->o.json ? JSON_COMPACT : JSON_INDENT(2));
	return r;
}

/* -- values ---------------------------------------------------------------- */

void vmop_set_text(json_t *params, const char *name, const char *text)
{
	if (text)
		json_object_set_new(params, name, json_string(text));
}

static char *read_stdin(void)
{
	char *text = malloc(STDIN_MAX + 1);
	size_t n = text ? fread(text, 1, STDIN_MAX, stdin) : 0;

	if (!text)
		return NULL;
	if (n && text[n - 1] == '\n')
		n--;
	text[n] = '\0';
	return text;
}

json_t *vmop_value(const struct vmop *v, const char *text)
{
	_cleanup_free_ char *in = NULL;

	if (!text || strcmp(text, "-") == 0)
		text = in = read_stdin();
	if (!text)
		return NULL;
	return v->o.json ? json_loads(text, JSON_DECODE_ANY, NULL)
			 : json_string(text);
}

int vmop_set_ms(const struct vmop *v, json_t *params, const char *name)
{
	char *end;
	double s;

	if (!v->o.timeout)
		return 0;
	s = strtod(v->o.timeout, &end);
	if (end == v->o.timeout || *end || !(s >= 0 && s < 2e6))
		return vmop_fail(EXIT_USAGE, "--timeout=%s: give seconds",
				 v->o.timeout);
	json_object_set_new(params, name, json_integer((json_int_t)(s * 1000)));
	return 0;
}

/* -- commands -------------------------------------------------------------- */

static int cmd_barrier(struct vmop *v)
{
	_cleanup_json_ json_t *result = NULL;
	json_t *params = json_object();
	int r;

	if (v->argc > 1)
		return vmop_fail(EXIT_USAGE, "barrier [NAME]; see vmop --help");
	vmop_set_text(params, "name", v->argc ? v->argv[0] : NULL);
	vmop_set_text(params, "ranks", v->o.ranks);
	r = vmop_set_ms(v, params, "timeout_ms");
	if (r) {
		json_decref(params);
		return r;
	}
	return vmop_ask(v, "sync.barrier", params, &result);
}

static int store_put(struct vmop *v)
{
	_cleanup_json_ json_t *result = NULL;
	json_t *value, *params;

	if (v->argc < 2 || v->argc > 3)
		return vmop_fail(EXIT_USAGE, "store put KEY [VALUE]");
	value = vmop_value(v, v->argc > 2 ? v->argv[2] : NULL);
	if (!value)
		return vmop_fail(EXIT_USAGE, "store put: this is no %s",
				 v->o.json ? "JSON" : "UTF-8");
	params = json_pack("{s:s, s:o}", "key", v->argv[1], "value", value);
	if (v->o.has_version)
		json_object_set_new(params, "if", json_integer(v->o.version));
	else
		vmop_set_text(params, "if", v->o.absent ? "absent" : NULL);
	return vmop_ask(v, "store.put", params, &result);
}

static int store_list(struct vmop *v)
{
	_cleanup_json_ json_t *result = NULL;
	json_t *params = json_object(), *version;
	const char *key;
	int r;

	vmop_set_text(params, "pattern", v->argc > 1 ? v->argv[1] : NULL);
	r = vmop_ask(v, "store.list", params, &result);
	if (r)
		return r;
	json_object_foreach (json_object_get(result, "keys"), key, version)
		puts(key);
	return 0;
}

static int store_one(struct vmop *v, const char *method)
{
	_cleanup_json_ json_t *result = NULL;
	int r;

	if (v->argc != 2)
		return vmop_fail(EXIT_USAGE, "store %s KEY", v->argv[0]);
	r = vmop_ask(v, method, json_pack("{s:s}", "key", v->argv[1]), &result);
	if (r == 0 && v->o.json)
		vmop_print_json(result, JSON_COMPACT);
	else if (r == 0 && json_object_get(result, "value"))
		vmop_print(json_object_get(result, "value"));
	return r;
}

static int cmd_store(struct vmop *v)
{
	const char *what = v->argc ? v->argv[0] : "";

	if (strcmp(what, "put") == 0)
		return store_put(v);
	if (strcmp(what, "list") == 0)
		return store_list(v);
	if (strcmp(what, "state") == 0)
		return ask_and_print(v, "store.state", json_object());
	if (strcmp(what, "get") == 0)
		return store_one(v, "store.get");
	if (strcmp(what, "pop") == 0)
		return store_one(v, "store.pop");
	if (strcmp(what, "drop") == 0)
		return store_one(v, "store.drop");
	return vmop_fail(EXIT_USAGE, "store put|get|pop|drop|list|state");
}

static int cmd_call(struct vmop *v)
{
	json_error_t e;
	json_t *params;

	if (v->argc < 1 || v->argc > 2)
		return vmop_fail(EXIT_USAGE, "call METHOD [PARAMS]");
	params = v->argc > 1 ? json_loads(v->argv[1], 0, &e) : json_object();
	if (!json_is_object(params)) {
		json_decref(params);
		return vmop_fail(EXIT_USAGE, "call: PARAMS is a JSON object");
	}
	return ask_and_print(v, v->argv[0], params);
}

static int cmd_hosts(struct vmop *v)
{
	_cleanup_json_ json_t *result = NULL;
	int r = vmop_ask(v, "world.hosts", json_object(), &result);
	const char *text = json_string_value(json_object_get(result, "text"));

	if (r == 0 && text)
		fputs(text, stdout);
	return r;
}

static int cmd_info(struct vmop *v)
{
	return ask_and_print(v, "world.get", json_object());
}

/* -- the program ----------------------------------------------------------- */

static const struct command {
	const char *name;
	int (*fn)(struct vmop *v);
} commands[] = {
	{ "barrier", cmd_barrier }, { "call", cmd_call },
	{ "hosts", cmd_hosts },	    { "info", cmd_info },
	{ "recv", vmop_recv },	    { "send", vmop_send },
	{ "store", cmd_store },	    { 0 },
};

static const char usage[] =
	"usage: vmop [options] COMMAND ...\n"
	"\n"
	"Speaks with the other guests of this step, from inside one of them.\n"
	"\n"
	"  send TO [DATA]            a message to ranks (3, 0-2, all, others, vm*);\n"
	"                            without DATA what stdin has\n"
	"  -l send TO                each line that stdin has is a message\n"
	"  recv                      take a message, or wait for one\n"
	"  -l recv                   one after the other, each a line\n"
	"  barrier [NAME]            wait until all guests are here\n"
	"  store put KEY [VALUE]     values of the step, by name\n"
	"  store get|pop|drop KEY\n"
	"  store list [PATTERN]\n"
	"  store state\n"
	"  call METHOD [PARAMS]      any op that guests may ask for\n"
	"  hosts                     the step's guests, as a hosts file\n"
	"  info                      the step and its guests\n"
	"\n"
	"  -q, --queue=NAME     of send, recv (default)\n"
	"  -r, --ref=TEXT       of send: goes along; of recv: only those\n"
	"      --reply-to=TEXT  of send: goes along\n"
	"  -w, --wait=none|queued|taken   of send (queued)\n"
	"  -f, --from=RANK      of recv: only from there\n"
	"  -n, --count=N        of recv: up to so many (1; with -l for ever)\n"
	"  -l, --lines          of send, recv: many messages, lines all of them\n"
	"      --ranks=RANKS    of barrier: who is to come (all)\n"
	"  -t, --timeout=SEC    of recv, barrier\n"
	"      --if=absent|VERSION   of store put\n"
	"  -j, --json           DATA and VALUE are JSON; whole answers as JSON\n"
	"      --version        print the version\n"
	"  -h, --help           print this text\n";

/* That of the option at hand. */
static unsigned long number(const char *option, unsigned long min,
			    unsigned long max)
{
	unsigned long n;
	struct errmsg err;

	if (value_uint(optarg, min, max, &n, &err) < 0)
		exit(vmop_fail(EXIT_USAGE, "--%s: %s", option, err.text));
	return n;
}

static int parse_options(struct vmop *v, int argc, char **argv)
{
	enum { REPLY_TO = 256, RANKS, IF, SAY_VERSION };
	static const struct option longs[] = {
		{ "queue", required_argument, NULL, 'q' },
		{ "ref", required_argument, NULL, 'r' },
		{ "reply-to", required_argument, NULL, REPLY_TO },
		{ "wait", required_argument, NULL, 'w' },
		{ "from", required_argument, NULL, 'f' },
		{ "count", required_argument, NULL, 'n' },
		{ "ranks", required_argument, NULL, RANKS },
		{ "timeout", required_argument, NULL, 't' },
		{ "if", required_argument, NULL, IF },
		{ "json", no_argument, NULL, 'j' },
		{ "lines", no_argument, NULL, 'l' },
		{ "version", no_argument, NULL, SAY_VERSION },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "q:r:w:f:n:t:jlh", longs, NULL)) !=
	       -1)
		switch (c) {
		case 'q':
			v->o.queue = optarg;
			break;
		case 'r':
			v->o.ref = optarg;
			break;
		case REPLY_TO:
			v->o.reply_to = optarg;
			break;
		case 'w':
			v->o.wait = optarg;
			break;
		case 'f':
			v->o.has_from = true;
			v->o.from = (json_int_t)number("from", 0, RANK_MAX);
			break;
		case 'n':
			v->o.count = (int)number("count", 1, INT_MAX);
			break;
		case RANKS:
			v->o.ranks = optarg;
			break;
		case 't':
			v->o.timeout = optarg;
			break;
		case IF:
			v->o.absent = strcmp(optarg, "absent") == 0;
			v->o.has_version = !v->o.absent;
			if (v->o.has_version)
				v->o.version =
					(json_int_t)number("if", 0, INT64_MAX);
			break;
		case 'j':
			v->o.json = true;
			break;
		case 'l':
			v->o.lines = true;
			break;
		case SAY_VERSION:
			puts("vmop " PACKAGE_VERSION);
			exit(0);
		case 'h':
			fputs(usage, stdout);
			exit(0);
		default:
			fputs(usage, stderr);
			exit(EXIT_USAGE);
		}
	return optind;
}

int vmop_main(int argc, char **argv)
{
	struct vmop v = { 0 };
	int at = parse_options(&v, argc, argv), status;
	const struct command *c = commands;

	signal(SIGPIPE, SIG_IGN); /* the agent's end: we have words for it */
	if (at == argc) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	while (c->name && strcmp(c->name, argv[at]) != 0)
		c++;
	if (!c->name)
		return vmop_fail(EXIT_USAGE, "no command '%s'; see vmop --help",
				 argv[at]);
	v.argc = argc - at - 1;
	v.argv = argv + at + 1;
	status = c->fn(&v);
	if (v.host)
		fclose(v.host);
	if (fflush(stdout) != 0 && status == 0)
		status = vmop_fail(EXIT_REFUSED, "stdout: %s", strerror(errno));
	return status;
}
