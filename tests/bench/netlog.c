#include <config.h>

#include "netlog.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

#define WAIT_MS	 20000
#define LINE_MAX 1024

struct netlog {
	char path[64];
	FILE *file;
};

struct netlog *netlog_new(void)
{
	struct netlog *l = calloc(1, sizeof(*l));
	int fd;

	if (!l)
		die("out of memory");
	snprintf(l->path, sizeof(l->path), "/tmp/vmstep-bench.XXXXXX");
	fd = check(mkostemp(l->path, O_CLOEXEC), l->path);
	l->file = fdopen(fd, "r");
	if (!l->file)
		die("out of memory");
	return l;
}

const char *netlog_path(const struct netlog *l)
{
	return l->path;
}

void netlog_free(struct netlog *l)
{
	fclose(l->file);
	unlink(l->path);
	free(l);
}

/* -- a line --------------------------------------------------------------- */

/* "name=12" of a line; 0 where it is not there. */
static uint64_t number(const char *line, const char *name)
{
	size_t len = strlen(name);
	const char *at = line;

	while ((at = strstr(at, name))) {
		if (at > line && at[-1] == ' ' && at[len] == '=')
			return strtoull(at + len + 1, NULL, 10);
		at += len;
	}
	return 0;
}

static void add_port(struct netlog_node *n, const char *line)
{
	static const char *const drops[] = { "runt",	 "oversize", "spoofed",
					     "self",	 "unknown",  "no_port",
					     "no_table", "node_gone" };

	n->port_in += number(line, "in_frames");
	n->port_out += number(line, "out_frames");
	n->answered += number(line, "answered");
	n->swallowed += number(line, "swallowed");
	n->full += number(line, "full");
	for (size_t i = 0; i < sizeof(drops) / sizeof(drops[0]); i++)
		n->dropped += number(line, drops[i]);
}

static void add_link(struct netlog_node *n, const char *line)
{
	n->links++;
	n->link_in += number(line, "in_frames");
	n->link_out += number(line, "out_frames");
}

/* True: it is a node's last one. */
static bool take(const char *line, uint32_t nnodes, struct netlog_node *ret)
{
	const char *at = strstr(line, " net@node");
	char *rest;
	unsigned long node;

	if (!at)
		return false;
	node = strtoul(at + strlen(" net@node"), &rest, 10);
	if (node >= nnodes || *rest++ != ':')
		return false;
	if (strstr(rest, " port of vm["))
		add_port(&ret[node], rest);
	else if (strncmp(rest, " link to ", 9) == 0)
		add_link(&ret[node], rest);
	return strncmp(rest, " vmstep-net: ", 13) == 0;
}

/* -- all of them ---------------------------------------------------------- */

void netlog_read(struct netlog *l, const struct nodes *s, uint32_t nnodes,
		 struct netlog_node *ret)
{
	int64_t until = now_ns() + WAIT_MS * 1000000ll;
	char line[LINE_MAX];
	uint32_t ended = 0;
	long at;

	memset(ret, 0, nnodes * sizeof(*ret));
	fseek(l->file, 0, SEEK_END);
	for (uint32_t n = 0; n < nnodes; n++)
		check(kill(nodes_pid(s, n), SIGUSR1), "SIGUSR1");
	while (ended < nnodes) {
		at = ftell(l->file);
		if (fgets(line, sizeof(line), l->file) && strchr(line, '\n')) {
			ended += take(line, nnodes, ret);
			continue;
		}
		fseek(l->file, at, SEEK_SET); /* the rest is to come */
		if (now_ns() > until)
			die("vmstep-net does not log its counters");
		poll(NULL, 0, 1);
	}
}

struct netlog_node netlog_sum(const struct netlog_node *nodes, uint32_t n)
{
	struct netlog_node sum = { 0 };

	for (uint32_t i = 0; i < n; i++) {
		sum.links += nodes[i].links;
		sum.link_in += nodes[i].link_in;
		sum.link_out += nodes[i].link_out;
		sum.port_in += nodes[i].port_in;
		sum.port_out += nodes[i].port_out;
		sum.answered += nodes[i].answered;
		sum.swallowed += nodes[i].swallowed;
		sum.full += nodes[i].full;
		sum.dropped += nodes[i].dropped;
	}
	return sum;
}
