/* slurm.h - what Slurm knows of a job's steps */
#ifndef VMSTEP_CLI_SLURM_H
#define VMSTEP_CLI_SLURM_H

#include "errmsg.h"
#include "step.h"

/* What srun and squeue would take from the environment is for other steps, and
 * so is what vmstep.so would: it goes, and no VMs are asked for. */
void slurm_forget_job(void);

/* The nodes of @name's steps, as Slurm writes them, to be freed. -ENOENT: it
 * has none, or Slurm does not show them; -errno, both with words. */
int slurm_nodes(const struct step_name *name, char **ret, struct errmsg *err);
/* What Slurm says of @name's job: "PENDING (Priority)", to be freed. -ENOENT:
 * it has ended, or Slurm does not show it; -errno, both with words. */
int slurm_job_state(const struct step_name *name, char **ret,
		    struct errmsg *err);
/* Of squeue's lines, "1234.0 n[1-4]", each: 0 or -ENOMEM. For the above, and
 * for tests. */
int slurm_add_line(const struct step_name *name, char *line,
		   struct strings *ret);

#endif
