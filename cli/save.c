#include <config.h>

#include "save.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "call.h"
#include "cleanup.h"
#include "log.h"
#include "ops.h"
#include "value.h"

enum { STOP };
const struct cmd_option save_options[] = {
	[STOP] = { "--stop", NULL, "and end it, with status 0" },
	{ 0 },
};

static long long number(const json_t *o, const char *name)
{
	return (long long)json_integer_value(json_object_get(o, name));
}

static void show_saved(const char *rank, const json_t *result)
{
	const char *path = json_string_value(json_object_get(result, "path"));
	char size[16];

	value_size_text((uint64_t)number(result, "bytes"), size);
	printf("%s: %lld VMs, %s; they stood still for %lld.%03lld s\n",
	       path ? path : "?", number(result, "tasks"), size,
	       number(result, "paused_ms") / 1000,
	       number(result, "paused_ms") % 1000);
}

/* Here and on the nodes a name may begin elsewhere. */
static char *absolute(const char *path)
{
	_cleanup_free_ char *dir = *path == '/' ? NULL : getcwd(NULL, 0);
	char *whole;

	if (*path != '/' && !dir)
		return NULL;
	if (asprintf(&whole, "%s%s%s", dir ? dir : "", dir ? "/" : "", path) <
	    0)
		return NULL;
	return whole;
}

int save_run(const struct invocation *inv)
{
	struct invocation first = *inv;
	_cleanup_free_ char *path = absolute(inv->args[0]);

	if (inv->ranks) {
		log_err("the step is saved as a whole: leave -r out");
		return EXIT_USAGE;
	}
	if (!path) {
		log_err("%s: %m", inv->args[0]);
		return EXIT_FAILED;
	}
	first.ranks = "0"; /* it has the others do their part */
	return ops_ask(&first, "vm.save",
		       json_pack("{s:s, s:b}", "path", path, "stop",
				 inv->options[STOP] != NULL),
		       0, show_saved);
}
