#include <config.h>

#include "elsewhere.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "log.h"
#include "relay.h"
#include "slurm.h"
#include "srun.h"

static bool has_node(const char *nodes, const char *node)
{
	size_t len = strlen(node);

	while (*nodes) {
		size_t this = strcspn(nodes, ",");

		if (this == len && strncmp(nodes, node, len) == 0)
			return true;
		nodes += this + (nodes[this] == ',');
	}
	return false;
}

/* "n1,n2": where the tasks of @answer are; to be freed. */
static char *nodes_of(const json_t *answer)
{
	const char *key, *node;
	size_t size = 1;
	char *nodes;
	json_t *one;

	json_object_foreach (json_object_get(answer, "results"), key, one)
		size += 1 + json_string_length(json_object_get(
				    json_object_get(one, "result"), "node"));
	nodes = calloc(1, size);
	if (!nodes)
		return NULL;
	json_object_foreach (json_object_get(answer, "results"), key, one) {
		node = json_string_value(json_object_get(
			json_object_get(one, "result"), "node"));
		if (!node || has_node(nodes, node))
			continue;
		if (*nodes)
			strcat(nodes, ",");
		strcat(nodes, node);
	}
	return nodes;
}

/* Say which of them cannot be asked. */
static bool all_answer(const json_t *answer)
{
	const char *key, *text;
	bool all = true;
	json_t *one;

	json_object_foreach (json_object_get(answer, "results"), key, one) {
		if (json_object_get(one, "result"))
			continue;
		text = json_string_value(json_object_get(
			json_object_get(one, "error"), "message"));
		log_err("vm[%s]: %s", key, text ? text : "no answer");
		all = false;
	}
	return all;
}

int elsewhere_find(const struct invocation *inv, bool one, char **ret)
{
	const struct call_conf conf = { inv, "task.state", NULL, CALL_S };
	json_t *answer = NULL;
	int status = call_tasks(&conf, &answer);
	size_t n;

	if (status != EXIT_DONE)
		return status == EXIT_NO_STEP ? status : EXIT_NOT_RUN;
	n = json_object_size(json_object_get(answer, "results"));
	if (all_answer(answer))
		*ret = nodes_of(answer);
	json_decref(answer);
	if (!*ret)
		return EXIT_NOT_RUN;
	if (one && n != 1) {
		log_err("this is for one VM: say which with -r");
		return EXIT_USAGE;
	}
	if (**ret)
		return EXIT_DONE;
	log_err("none of the tasks answers");
	return EXIT_NOT_RUN;
}

int elsewhere_run(const struct elsewhere *e)
{
	_cleanup_free_ struct srun_args *args = calloc(1, sizeof(*args));
	_cleanup_free_ char *all_nodes = NULL;
	struct srun_conf conf = { .step = &e->where->step,
				  .config = e->inv->config,
				  .ranks = e->inv->ranks,
				  .words = e->words,
				  .how = e->how,
				  .unbuffered = e->unbuffered };
	struct errmsg err;
	int r = 0;

	if (!args)
		return EXIT_NOT_RUN;
	slurm_forget_job();
	if (!e->nodes && !e->here)
		r = slurm_nodes(&e->where->step, &all_nodes, &err);
	conf.nodes = e->here ? NULL : e->nodes ? e->nodes : all_nodes;
	if (r == 0)
		r = srun_args(args, &conf, &err);
	if (r < 0) {
		log_err("%s", err.text);
		return r == -ENOENT ? EXIT_NO_STEP : EXIT_NOT_RUN;
	}
	return relay_run(args->v, e->fold);
}
