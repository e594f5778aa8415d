#include <config.h>

#include "snapshot.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "call.h"
#include "cleanup.h"
#include "log.h"
#include "ops.h"
#include "plain.h"
#include "value.h"

enum { DESC };
const struct cmd_option snapshot_options[] = {
	[DESC] = { "--desc", "TEXT", "what is to be said of it (save)" },
	{ 0 },
};

static void show_one(const char *rank, const json_t *one)
{
	const char *name = json_string_value(json_object_get(one, "name"));
	const char *desc = json_string_value(json_object_get(one, "desc"));
	time_t at = (time_t)json_integer_value(json_object_get(one, "time_s"));
	char when[32] = "?", size[16];
	char harmless[ERRMSG_MAX], plain_name[ERRMSG_MAX];
	struct tm tm;

	if (localtime_r(&at, &tm))
		strftime(when, sizeof(when), "%F %T", &tm);
	/* whole MiB are enough */
	value_size_text(
		(uint64_t)json_integer_value(json_object_get(one, "bytes")) >>
			20 << 20,
		size);
	plain_line(desc ? desc : "", harmless, sizeof(harmless));
	plain_line(name ? name : "?", plain_name, sizeof(plain_name));
	printf("%s: %s  %s  %s%s%s\n", rank, plain_name, when, size,
	       *harmless ? "  " : "", harmless);
}

void snapshot_show_list(const char *rank, const json_t *result)
{
	json_t *one;
	size_t i;

	json_array_foreach (json_object_get(result, "snapshots"), i, one)
		show_one(rank, one);
}

static int usage(void)
{
	log_err("snapshot save NAME [--desc=TEXT]; snapshot list; snapshot load NAME; snapshot delete NAME");
	return EXIT_USAGE;
}

int snapshot_run(const struct invocation *inv)
{
	static const char *const verbs[] = { "save", "load", "delete" };
	static const char *const ops[] = { "vm.snapshot.save",
					   "vm.snapshot.load",
					   "vm.snapshot.delete" };
	const char *desc = inv->options[DESC];

	if (strcmp(inv->args[0], "list") == 0 && inv->n_args == 1 && !desc)
		return ops_ask(inv, "vm.snapshot.list", NULL, CALL_S,
			       snapshot_show_list);
	for (size_t i = 0; i < ARRAY_SIZE(verbs) && inv->n_args == 2; i++)
		if (strcmp(inv->args[0], verbs[i]) == 0 && (!desc || i == 0))
			return ops_ask(inv, ops[i],
				       json_pack("{s:s, s:s*}", "name",
						 inv->args[1], "desc", desc),
				       0, NULL);
	return usage();
}
