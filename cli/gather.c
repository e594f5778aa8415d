#include <config.h>

#include "gather.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct gather {
	const struct rankset *ranks;
	json_t *nodes; /* by node_id, as text */
	json_t *fresh; /* of these, since the last take */
	json_t *steps; /* the keys are their names */
	json_t *names; /* these as a list */
	char error[ERRMSG_MAX];
};

struct gather *gather_new(const struct rankset *ranks)
{
	struct gather *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	g->ranks = ranks;
	g->nodes = json_object();
	g->fresh = json_object();
	g->steps = json_object();
	g->names = json_array();
	return g;
}

void gather_free(struct gather *g)
{
	if (!g)
		return;
	json_decref(g->nodes);
	json_decref(g->fresh);
	json_decref(g->steps);
	json_decref(g->names);
	free(g);
}

static void note_step(struct gather *g, const char *step)
{
	if (!step || json_object_get(g->steps, step))
		return;
	json_object_set_new(g->steps, step, json_true());
	json_array_append_new(g->names, json_string(step));
}

static void note_error(struct gather *g, const char *node, const char *text)
{
	if (!g->error[0])
		snprintf(g->error, sizeof(g->error), "%s: %s", node, text);
}

static bool is_wanted(const struct gather *g, const json_t *port)
{
	json_int_t rank = json_integer_value(json_object_get(port, "rank"));

	return !g->ranks || rankset_has(g->ranks, (uint32_t)rank);
}

/* Only the ranks that were asked for. */
static json_t *filter(const struct gather *g, const json_t *said)
{
	json_t *o = json_copy((json_t *)(uintptr_t)said);
	json_t *ports = json_array(), *port;
	size_t i;

	json_array_foreach (json_object_get(said, "ports"), i, port)
		if (is_wanted(g, port))
			json_array_append(ports, port);
	json_object_set_new(o, "ports", ports);
	return o;
}

static void add_node(struct gather *g, const char *node, const json_t *said)
{
	const json_t *id = json_object_get(said, "node_id");
	char key[32];

	if (!json_is_integer(id) ||
	    !json_is_array(json_object_get(said, "ports")) ||
	    !json_is_array(json_object_get(said, "links"))) {
		note_error(g, node, "it speaks another version of vmstep");
		return;
	}
	snprintf(key, sizeof(key), "%010lld",
		 (long long)json_integer_value(id));
	json_object_set_new(g->nodes, key, filter(g, said));
	json_object_set_new(g->fresh, key, json_true());
}

void gather_add(struct gather *g, const char *node, const json_t *said)
{
	const char *error = json_string_value(json_object_get(said, "error"));
	json_t *step;
	size_t i;

	json_array_foreach (json_object_get(said, "steps"), i, step)
		note_step(g, json_string_value(step));
	note_step(g, json_string_value(json_object_get(said, "step")));
	if (error)
		note_error(g, node, error);
	else if (json_object_get(said, "step"))
		add_node(g, node, said);
}

const json_t *gather_steps(const struct gather *g)
{
	return g->names;
}

const char *gather_error(const struct gather *g)
{
	return g->error[0] ? g->error : NULL;
}

/* Any node knows how many there are, once it has the table of nodes. */
static size_t nodes_of_step(const struct gather *g)
{
	json_int_t most = 0;
	const char *key;
	json_t *node;

	json_object_foreach (g->nodes, key, node) {
		json_int_t n =
			json_integer_value(json_object_get(node, "nodes"));

		if (n > most)
			most = n;
	}
	return (size_t)most;
}

bool gather_is_whole(const struct gather *g)
{
	size_t n = nodes_of_step(g);

	return n && json_object_size(g->fresh) >= n;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static json_t *in_order(const struct gather *g)
{
	size_t n = json_object_size(g->nodes), i = 0;
	const char **keys = calloc(n ? n : 1, sizeof(*keys));
	json_t *list = json_array(), *node;
	const char *key;

	json_object_foreach (g->nodes, key, node)
		if (keys)
			keys[i++] = key;
	if (keys)
		qsort(keys, i, sizeof(*keys), by_name);
	for (size_t j = 0; j < i; j++)
		json_array_append(list, json_object_get(g->nodes, keys[j]));
	free(keys);
	return list;
}

json_t *gather_take(struct gather *g)
{
	json_t *nodes, *first;

	if (!json_object_size(g->nodes))
		return NULL;
	nodes = in_order(g);
	first = json_array_get(nodes, 0);
	json_object_clear(g->fresh);
	return json_pack("{s:O, s:O, s:i, s:b, s:o}", "step",
			 json_object_get(first, "step"), "tasks",
			 json_object_get(first, "tasks"), "node_count",
			 (int)nodes_of_step(g), "complete",
			 json_array_size(nodes) >= nodes_of_step(g), "nodes",
			 nodes);
}
