/* plugin.h - what the plugin's files share
 *
 * vmstep.c maps Slurm's callbacks to contexts; submit.c lives in srun, sbatch
 * and salloc, stepd.c in slurmstepd, sweep.c in slurmstepd and the epilog.
 *
 * From srun to slurmstepd go environment variables; a name that begins with
 * SLURM_ survives --export=NONE:
 *   SLURM_VMSTEP_STEP_<n>   version, newline, options (option.h) of component
 *                           n of the step (0 unless heterogeneous)
 *   SLURM_VMSTEP_ARGV0      the user's argv[0], where srun's was changed
 *   SLURM_VMSTEP_MULTI_PROG is set where srun was given --multi-prog
 *   SLURM_VMSTEP_INHERIT    from sbatch and salloc to the sruns of the job
 */
#ifndef VMSTEP_PLUGIN_H
#define VMSTEP_PLUGIN_H

/* What Slurm looks up is all that is exported (-fvisibility=hidden). */
#pragma GCC visibility push(default)
#include <slurm/spank.h>
#pragma GCC visibility pop

#include "errmsg.h"
#include "option.h"
#include "site.h"

#define STEP_ENV    "SLURM_VMSTEP_STEP_"
#define ARGV0_ENV   "SLURM_VMSTEP_ARGV0"
#define MULTI_ENV   "SLURM_VMSTEP_MULTI_PROG"
#define HELPER_PATH PKGLIBEXECDIR "/vmstep-helper"

/* In srun, sbatch, salloc. As the user, before options are parsed. */
int submit_init(spank_t sp, int ac, char **av);
/* As the user, once a component, its options parsed. Ends the program with 255
 * where they are bad: see submit.c. */
int submit_post_opt(spank_t sp, int ac, char **av);
/* In srun, as the user, when the step exists and before it is launched. */
int submit_user_init(spank_t sp);

/* In slurmstepd, as root, once a node and step. Never fails. */
int stepd_post_opt(spank_t sp, int ac, char **av);
/* As the user, in each task, just before its exec. Never fails. */
int stepd_task_init(spank_t sp);
/* In slurmstepd, once a task that ended. */
int stepd_task_exit(spank_t sp);
/* In slurmstepd, as root, at its end. */
int stepd_exit(spank_t sp);

/* As root: remove what steps of @job (all of them, or the one named @step if
 * not NULL) left under @runtime_dir. */
void sweep(const char *runtime_dir, unsigned int uid, unsigned int job,
	   const char *step);

#endif
