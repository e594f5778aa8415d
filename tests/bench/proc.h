/* proc.h - what a process has, as /proc says
 *
 * vmstep-net is not dumpable: only root may look everywhere. What may not be
 * looked at is -1.
 */
#ifndef VMSTEP_BENCH_PROC_H
#define VMSTEP_BENCH_PROC_H

#include <sys/types.h>

/* A line of /proc/PID/status, as in "RssAnon:", as a number. */
double proc_status(pid_t pid, const char *name);
/* Its own and what it shares with guests, each sharer's part, without the
 * program's file, which others may run. */
double proc_pss_kib(pid_t pid);
double proc_fds(pid_t pid);

#endif
