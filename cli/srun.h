/* srun.h - the command line by which vmstep runs itself on a step's nodes
 *
 * Slurm decides who may; no VMs are asked for, see slurm_forget_job().
 */
#ifndef VMSTEP_CLI_SRUN_H
#define VMSTEP_CLI_SRUN_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "errmsg.h"
#include "step.h"

struct srun_conf {
	const struct step_name *step;
	const char *config; /* NULL: the usual one */
	const char *ranks;  /* -r; NULL: all */
	const char *nodes;  /* as Slurm writes them; NULL: this one, no srun */
	/* What vmstep is to do there; NULL ends it. */
	const char *const *words;
	bool unbuffered; /* srun's --unbuffered: not by lines */
	const char *how; /* an option of srun's for its input; NULL: none is
			    read */
};

#define SRUN_ARGS_MAX 4096
struct srun_args {
	const char *v[SRUN_ARGS_MAX]; /* NULL ends them; borrowed from conf */
	size_t n;
	char job[32], nodes[65536], config[PATH_MAX + 16], self[PATH_MAX];
};

/* Some 100 KiB: not for the stack. -E2BIG, -errno. */
int srun_args(struct srun_args *ret, const struct srun_conf *conf,
	      struct errmsg *err);

#endif
