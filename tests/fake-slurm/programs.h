/* programs.h - the programs of Slurm that are played; see fake-slurm.c */
#ifndef FAKE_SLURM_PROGRAMS_H
#define FAKE_SLURM_PROGRAMS_H

#include <stdbool.h>

#include "host.h"

/* Load the plugin and let it register its options. False: it failed, and may
 * not. */
bool start_plugin(spank_context_t context);

/* submitting.c: as the user, on the login node */
int play_srun(int argc, char **argv);
int play_allocator(int argc, char **argv); /* sbatch, salloc */
/* node.c: as root, on the compute node */
int play_slurmstepd(int argc, char **argv);
int play_slurmd(int argc, char **argv);
int play_epilog(int argc, char **argv);

#endif
