#include <config.h>

#include "console.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "call.h"
#include "cleanup.h"
#include "console_here.h"
#include "elsewhere.h"
#include "ops.h"
#include "tty.h"

enum { LOOK, ONCE, HERE };
const struct cmd_option console_options[] = {
	[LOOK] = { "-n", NULL, "only look: nothing is typed" },
	[ONCE] = { "--once", NULL, "only what it has said so far" },
	[HERE] = { "--here", NULL, "this node, for another vmstep" },
	{ 0 },
};

/* Without what would do something to our terminal. */
static void show_kept(const char *rank, const json_t *result)
{
	const json_t *data = json_object_get(result, "data");
	const char *text = json_string_value(data);
	bool escape = false;

	for (const char *p = text ? text : ""; *p; p++) {
		if (escape) /* ESC [ ... letter */
			escape = !(*p >= '@' && *p <= '~' && *p != '[');
		else if (*p == 0x1b)
			escape = true;
		else if (*p == '\n' || *p == '\t' || (unsigned char)*p >= ' ')
			putchar(*p);
	}
	if (!text)
		fprintf(stderr, "%s: it has bytes that are no text: --json\n",
			rank);
}

static int attach_elsewhere(const struct invocation *inv,
			    const struct call_where *w, const char *nodes)
{
	const char *const words[] = { "console", "--here",
				      inv->options[LOOK] ? "-n" : NULL, NULL };
	struct elsewhere conf = {
		.inv = inv, .where = w, .words = words, .nodes = nodes
	};

	if (!inv->options[LOOK])
		conf.how = tty_is_there() ? "--pty" : "--input=all";
	return elsewhere_run(&conf);
}

static int attach(const struct invocation *inv, const struct call_where *w)
{
	_cleanup_free_ char *dir = NULL, *nodes = NULL;
	struct console_here conf = { .ranks = w->all ? NULL : &w->ranks,
				     .input = !inv->options[LOOK] };
	int status = EXIT_DONE;

	if (inv->options[HERE]) {
		status = call_here_dir(w, &dir);
	} else {
		call_local_dir(inv, w, &dir);
		status = elsewhere_find(inv, true, &nodes);
	}
	conf.dir = dir;
	if (status == EXIT_DONE && dir)
		return console_here(&conf);
	if (status == EXIT_DONE && !inv->options[HERE])
		return attach_elsewhere(inv, w, nodes);
	return status;
}

int console_run(const struct invocation *inv)
{
	struct call_where w;
	int status;

	if (inv->options[ONCE])
		return ops_ask(inv, "vm.console", NULL, CALL_S, show_kept);
	status = call_where(inv, &w);
	signal(SIGPIPE, SIG_IGN);
	if (status == EXIT_DONE)
		status = attach(inv, &w);
	call_where_done(&w);
	return status;
}
