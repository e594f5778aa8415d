#include <config.h>

#include "topo.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "call.h"
#include "cleanup.h"
#include "elsewhere.h"
#include "log.h"
#include "topo_here.h"

enum { SVG, HERE };
const struct cmd_option topo_options[] = {
	[SVG] = { "--svg", "FILE", "an SVG, its %N the node" },
	[HERE] = { "--here", "text|svg", "this node, for another vmstep" },
	{ 0 },
};

/* -- a node of the step ---------------------------------------------------- */

static int run_here(const struct invocation *inv, const struct call_where *w,
		    bool svg)
{
	const struct call_conf state = { inv, "task.state", NULL, CALL_S };
	const struct call_conf use = { inv, "vm.stats", NULL, CALL_S };
	json_t *states = call_of_node(&state, w);
	json_t *stats = call_of_node(&use, w);
	const char *error = json_string_value(json_object_get(states, "error"));
	int status = EXIT_FAILED;

	if (error)
		log_err("%s", error);
	else
		status = topo_draw(json_object_get(states, "results"),
				   json_object_get(stats, "results"), svg);
	json_decref(states);
	json_decref(stats);
	return status;
}

/* -- all of them ----------------------------------------------------------- */

/* The file of @node, our standard output from now on. */
static int divert(const char *file, const char *node, struct errmsg *err)
{
	const char *at = strstr(file, "%N");
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "%.*s%s%s",
		 at ? (int)(at - file) : (int)strlen(file), file,
		 at ? node : "", at ? at + 2 : "");
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0)
		return errmsg_set(err, -errno, "--svg=%s", path);
	fflush(stdout);
	dup2(fd, STDOUT_FILENO);
	close(fd);
	return 0;
}

static int draw_node(const struct invocation *inv, const struct call_where *w,
		     const char *node)
{
	const char *const words[] = {
		"topo", inv->options[SVG] ? "--here=svg" : "--here=text", NULL
	};
	const struct elsewhere conf = {
		.inv = inv, .where = w, .words = words, .nodes = node
	};
	struct errmsg err;

	if (inv->options[SVG]) {
		if (divert(inv->options[SVG], node, &err) < 0) {
			log_err("%s", err.text);
			return EXIT_FAILED;
		}
	} else {
		printf("%s:\n", node);
		fflush(stdout);
	}
	return elsewhere_run(&conf);
}

static int draw_all(const struct invocation *inv, const struct call_where *w,
		    char *nodes)
{
	int status = EXIT_DONE;
	char *node;

	if (inv->options[SVG] && strchr(nodes, ',') &&
	    !strstr(inv->options[SVG], "%N")) {
		log_err("--svg=%s: the step has several nodes (%s): put %%N into the name, or say which tasks with -r",
			inv->options[SVG], nodes);
		return EXIT_USAGE;
	}
	while (status == EXIT_DONE && (node = strsep(&nodes, ",")))
		status = draw_node(inv, w, node);
	return status;
}

int topo_run(const struct invocation *inv)
{
	_cleanup_free_ char *nodes = NULL;
	const char *here = inv->options[HERE];
	struct call_where w;
	int status = call_where(inv, &w);

	if (status == EXIT_DONE && here) {
		status = run_here(inv, &w, strcmp(here, "svg") == 0);
	} else if (status == EXIT_DONE) {
		status = elsewhere_find(inv, false, &nodes);
		if (status == EXIT_DONE)
			status = draw_all(inv, &w, nodes);
	}
	call_where_done(&w);
	return status;
}
