/* report.h - what a program of the fake Slurm has to tell the test
 *
 * Records as of desc.h, in a file that test and program share, written as
 * things happen, so that they are there whatever way the program ends:
 *   log=error: TEXT         the plugin, or Slurm, said something
 *   rc=CALLBACK=N           a callback of the plugin returned N
 *   job_env=NAME=VALUE      of the job that sbatch or salloc made
 *   component=N             srun launches the N'th component of a step, with
 *     arg= env= option=     its command, environment and spank options
 *   task=RANK               slurmstepd has come to the exec of a task, with
 *     arg= env=             its command and environment, and
 *     desc=KEY=VALUE        the records of the description it inherits
 *     seals=N fd=N          how that is sealed, its number
 *     refused=TEXT          ... or it has none: why
 */
#ifndef FAKE_SLURM_REPORT_H
#define FAKE_SLURM_REPORT_H

void report_to(int fd); /* borrowed */
void report(const char *key, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif
