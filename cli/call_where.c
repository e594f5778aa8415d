#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ask.h"
#include "call.h"
#include "log.h"
#include "site.h"

int call_where(const struct invocation *inv, struct call_where *ret)
{
	struct site site = { 0 };
	struct errmsg err;
	int r = 0, status;

	memset(ret, 0, sizeof(*ret));
	ret->all = !inv->ranks;
	if (inv->ranks)
		r = rankset_parse(&ret->ranks, inv->ranks, strlen(inv->ranks),
				  &err);
	status = r < 0 ? EXIT_USAGE : EXIT_DONE;
	if (r == 0) {
		r = step_name(inv->job, &ret->step, &err);
		status = r == -ENOENT ? EXIT_NO_STEP
			 : r < 0      ? EXIT_USAGE
				      : EXIT_DONE;
	}
	if (r == 0) {
		r = site_load(inv->config ? inv->config : SITE_DEFAULT_PATH,
			      inv->config != NULL, &site, &err);
		status = r < 0 ? EXIT_FAILED : EXIT_DONE;
	}
	if (r == 0)
		snprintf(ret->runtime_dir, sizeof(ret->runtime_dir), "%s",
			 site.runtime_dir);
	else
		log_err("%s", err.text);
	site_done(&site);
	return status;
}

void call_where_done(struct call_where *w)
{
	rankset_done(&w->ranks);
}

/* How many tasks and nodes the step of @dir has, by one of its tasks. */
static int ask_size(const char *dir, json_int_t *ret_nodes)
{
	struct errmsg err;
	struct ask *a = NULL;
	json_t *o = NULL;
	int r = ask_open(dir, &a, &err);

	if (r == 0)
		r = ask_call(a, "net.stats", NULL, &o, &err);
	*ret_nodes = json_integer_value(json_object_get(o, "nodes"));
	json_decref(o);
	ask_close(a);
	return r;
}

int call_local_dir(const struct invocation *inv, const struct call_where *w,
		   char **ret)
{
	const char *nodes = getenv("SLURM_JOB_NUM_NODES");
	bool alone = !inv->job && nodes && strcmp(nodes, "1") == 0;
	struct strings steps = { 0 }, dirs = { 0 };
	json_int_t n_nodes = 0;
	struct errmsg err;

	*ret = NULL;
	if (!w->step.step[0] && !alone)
		return 0;
	if (step_find(w->runtime_dir, &w->step, &steps, &dirs, &err) == 0 &&
	    steps.n == 1 && ask_size(dirs.v[0], &n_nodes) == 0 && n_nodes == 1)
		*ret = strdup(dirs.v[0]);
	strings_done(&steps);
	strings_done(&dirs);
	return 0;
}

int call_here_dir(const struct call_where *w, char **ret)
{
	struct strings steps = { 0 }, dirs = { 0 };
	struct errmsg err;
	int r = step_find(w->runtime_dir, &w->step, &steps, &dirs, &err);

	*ret = NULL;
	if (r < 0)
		log_err("%s", err.text);
	else if (steps.n > 1)
		log_err("job %s has %zu VM steps here: say which with -j",
			w->step.job, steps.n);
	else if (steps.n == 1)
		*ret = strdup(dirs.v[0]);
	r = r < 0 || steps.n > 1 ? EXIT_NO_STEP : EXIT_DONE;
	strings_done(&steps);
	strings_done(&dirs);
	return r;
}
