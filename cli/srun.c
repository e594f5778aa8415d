#include <config.h>

#include "srun.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

static void add(struct srun_args *a, const char *arg)
{
	if (a->n < SRUN_ARGS_MAX - 1)
		a->v[a->n] = arg;
	a->n++;
}

static void add_srun(struct srun_args *a, const struct srun_conf *conf)
{
	snprintf(a->job, sizeof(a->job), "--jobid=%s", conf->step->job);
	snprintf(a->nodes, sizeof(a->nodes), "--nodelist=%s", conf->nodes);
	add(a, "srun");
	add(a, "--overlap");
	add(a, a->job);
	add(a, a->nodes);
	add(a, "--ntasks-per-node=1");
	add(a, "--cpus-per-task=1");
	add(a, "--mpi=none");
	add(a, conf->how ? conf->how : "--input=none");
	if (conf->unbuffered)
		add(a, "--unbuffered");
	add(a, "--kill-on-bad-exit=0");
	add(a, "--quiet");
	add(a, "--job-name=vmstep");
}

int srun_args(struct srun_args *a, const struct srun_conf *conf,
	      struct errmsg *err)
{
	ssize_t len = readlink("/proc/self/exe", a->self, sizeof(a->self) - 1);

	if (len < 0)
		return errmsg_set(err, -errno, "/proc/self/exe");
	a->self[len] = '\0';
	if (conf->nodes)
		add_srun(a, conf);
	add(a, a->self);
	add(a, "-j");
	add(a, conf->step->step[0] ? conf->step->step : conf->step->job);
	if (conf->config) {
		snprintf(a->config, sizeof(a->config), "--config=%s",
			 conf->config);
		add(a, a->config);
	}
	if (conf->ranks) {
		add(a, "-r");
		add(a, conf->ranks);
	}
	for (size_t i = 0; conf->words[i]; i++)
		add(a, conf->words[i]);
	return a->n < SRUN_ARGS_MAX
		       ? 0
		       : errmsg_say(err, -E2BIG,
				    "more than %d words of a command",
				    SRUN_ARGS_MAX - 32);
}
