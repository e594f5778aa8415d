/* cluster.h - the test's side of the fake Slurm: run a program, see what it did
 *
 *	play(c, LIST("srun", "--vm-image=a", "true"), NULL, &srun);
 *	play_step(c, &srun, 0, &step, &stepd);
 *	assert_string_equal(played_desc(&stepd, 0, "opt.image"), "a");
 *
 * A cluster has a directory of its own, the site's configuration in it, and
 * the plugin that was just built.
 */
#ifndef FAKE_SLURM_CLUSTER_H
#define FAKE_SLURM_CLUSTER_H

#include <stdbool.h>
#include <stdint.h>

#include "desc.h"
#include "option.h"

#define LIST(...) ((const char *const[]){ __VA_ARGS__, NULL })

struct cluster {
	char dir[64];			/* removed with all in it at the end */
	char conf[96];			/* the site's vmstep.conf */
	char runtime[96];		/* its runtime_dir */
	const char *const *plugin_args; /* of plugstack.conf */
	const char
		*preload; /* a library that srun has loaded before; or NULL */
	bool required;	  /* the plugin, in plugstack.conf */
	const char *default_args[2];
	char args_text[128];
};

/* cmocka's setup and teardown; *state is the cluster. */
int cluster_setup(void **state);
int cluster_teardown(void **state);
/* Write the site's configuration: @text follows runtime_dir. */
void cluster_conf(struct cluster *c, const char *text);

/* What a program did; played_done() frees it. */
struct played {
	int status; /* exit status; 128+n when a signal ended it */
	struct desc *report;
};
void played_done(struct played *p);

/* Run srun, sbatch, salloc or slurmd with the arguments @argv (its first is
 * the program) and the environment @env (NULL: none). Frees what @ret had. */
void play(const struct cluster *c, const char *const *argv,
	  const char *const *env, struct played *ret);
/* The same in the job that @job (sbatch or salloc) made. */
void play_in_job(const struct cluster *c, const struct played *job,
		 const char *const *argv, struct played *ret);

/* A node's part of a step. */
struct step {
	uint32_t job, step;
	uint32_t leader; /* id of the het job's first component; 0: the job's */
	const char *het; /* "+1" where the step is heterogeneous; or NULL */
	const char *const *ranks; /* NULL: task 0 */
	uint32_t tasks;		  /* of the whole step; 0: those of @ranks */
	uint32_t uid;		  /* the user; 0: this process's */
	uint32_t cpus, mem_mib;
	bool no_helper;		/* the node has no vmstep-helper */
	const char *run;	/* what each task runs, by sh -c; or NULL */
	const char *const *env; /* more environment; or NULL */
};

/* Run slurmstepd for what @srun launched as its component @component. */
void play_step(const struct cluster *c, const struct played *srun,
	       unsigned int component, const struct step *step,
	       struct played *ret);
/* Run the epilog of a job. */
void play_epilog(const struct cluster *c, uint32_t job, uint32_t uid,
		 struct played *ret);

/* Did the plugin, or Slurm, say a line with @text in it? */
bool played_said(const struct played *p, const char *text);
/* A callback that did not return 0, or NULL. */
const char *played_failure(const struct played *p);
/* Of the @group'th component (srun, sbatch) or task (slurmstepd) reported:
 * its @i'th argument, an environment variable, a record of the description
 * (the @i'th of that key), another record ("seals"); NULL where there is
 * none. */
const char *played_arg(const struct played *p, unsigned int group, size_t i);
const char *played_env(const struct played *p, unsigned int group,
		       const char *name);
const char *played_desc(const struct played *p, unsigned int group,
			const char *key);
const char *played_desc_at(const struct played *p, unsigned int group,
			   const char *key, size_t i);
const char *played_get(const struct played *p, unsigned int group,
		       const char *key);

#endif
