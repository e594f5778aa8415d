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

static int attach_elsewhere(const struct console_way *way,
			    const struct call_where *w, const char *nodes)
{
	const struct elsewhere conf = { .inv = way->inv,
					.where = w,
					.words = way->words,
					.how = way->how,
					.nodes = nodes,
					.unbuffered = way->unbuffered };

	return elsewhere_run(&conf);
}

static int attach(const struct console_way *way, const struct call_where *w)
{
	_cleanup_free_ char *dir = NULL, *nodes = NULL;
	struct console_here conf = { .ranks = w->all ? NULL : &w->ranks,
				     .op = way->op,
				     .input = way->input };
	int status = EXIT_DONE;

	if (way->here) {
		status = call_here_dir(w, &dir);
	} else {
		call_local_dir(way->inv, w, &dir);
		status = elsewhere_find(way->inv, true, &nodes);
	}
	conf.dir = dir;
	if (status == EXIT_DONE && dir)
		return console_here(&conf);
	if (status == EXIT_DONE && !way->here)
		return attach_elsewhere(way, w, nodes);
	return status;
}

int console_attach(const struct console_way *way)
{
	struct call_where w;
	int status = call_where(way->inv, &w);

	signal(SIGPIPE, SIG_IGN);
	if (status == EXIT_DONE)
		status = attach(way, &w);
	call_where_done(&w);
	return status;
}

int console_run(const struct invocation *inv)
{
	bool looks = inv->options[LOOK];
	const char *const words[] = { "console", "--here", looks ? "-n" : NULL,
				      NULL };
	const struct console_way way = { .inv = inv,
					 .input = !looks,
					 .here = inv->options[HERE],
					 .words = words,
					 .how = looks ? NULL
						: tty_is_there()
							? "--pty"
							: "--input=all" };

	if (inv->options[ONCE])
		return ops_ask(inv, "vm.console", NULL, CALL_S, show_kept);
	return console_attach(&way);
}
