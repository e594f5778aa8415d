#include <config.h>

#include "here.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ask.h"
#include "cleanup.h"

static json_t *no_stats(const struct errmsg *err)
{
	json_t *o = json_pack("{s:s}", "error", err->text);

	return o ? o : json_pack("{s:s}", "error", "unprintable");
}

static json_t *list_steps(const struct strings *steps)
{
	json_t *a = json_array();

	for (size_t i = 0; i < steps->n; i++)
		json_array_append_new(a, json_string(steps->v[i]));
	return json_pack("{s:o}", "steps", a);
}

static int add_peers(struct ask *a, json_t *port, struct errmsg *err)
{
	json_t *peers = NULL;
	int r = ask_call(
		a, "net.peers",
		json_pack("{s:O}", "rank", json_object_get(port, "rank")),
		&peers, err);

	if (r == 0)
		json_object_update(port, peers);
	json_decref(peers);
	return r;
}

/* A port that went meanwhile has no peers any more. */
static int take_stats(struct ask *a, bool peers, json_t **ret,
		      struct errmsg *err)
{
	json_t *port;
	size_t i;
	int r = ask_call(a, "net.stats", NULL, ret, err);

	if (r < 0 || !peers)
		return r;
	json_array_foreach (json_object_get(*ret, "ports"), i, port) {
		r = add_peers(a, port, err);
		if (r < 0 && r != -EREMOTE)
			return r;
	}
	return 0;
}

static json_t *take_of(const char *step, const char *dir, bool peers,
		       bool *ret_gone)
{
	struct errmsg err = { "" };
	struct ask *a = NULL;
	json_t *o = NULL;
	int r = ask_open(dir, &a, &err);

	if (r == 0)
		r = take_stats(a, peers, &o, &err);
	ask_close(a);
	*ret_gone = r == -ENOENT || r == -EPIPE;
	if (r < 0) {
		json_decref(o);
		return no_stats(&err);
	}
	json_object_set_new(o, "step", json_string(step));
	return o;
}

json_t *here_take(const char *runtime_dir, const struct step_name *name,
		  bool peers, bool *ret_gone)
{
	struct strings steps = { 0 }, dirs = { 0 };
	struct errmsg err;
	json_t *o;

	*ret_gone = false;
	if (step_find(runtime_dir, name, &steps, &dirs, &err) < 0)
		o = no_stats(&err);
	else if (steps.n == 1)
		o = take_of(steps.v[0], dirs.v[0], peers, ret_gone);
	else
		o = list_steps(&steps);
	*ret_gone |= steps.n == 0;
	strings_done(&steps);
	strings_done(&dirs);
	return o;
}

static void node_name(char *name, size_t size)
{
	const char *slurms = getenv("SLURMD_NODENAME");

	snprintf(name, size, "%s", slurms ? slurms : "");
	if (!slurms && gethostname(name, size) < 0)
		snprintf(name, size, "?");
	name[size - 1] = '\0';
	name[strcspn(name, " \n")] = '\0';
}

int here_print(const json_t *o)
{
	_cleanup_free_ char *text =
		json_dumps(o, JSON_COMPACT | JSON_ENSURE_ASCII);
	char node[128];

	if (!text)
		return -ENOMEM;
	node_name(node, sizeof(node));
	for (const char *p = text; *p;) {
		size_t len = strnlen(p, HERE_PIECE);

		printf("%s %c %.*s\n", node, p[len] ? '+' : '.', (int)len, p);
		p += len;
	}
	return fflush(stdout) == 0 ? 0 : -EIO;
}
