/* usage.h - what a process and those that it started use, from /proc */
#ifndef VMSTEP_USAGE_H
#define VMSTEP_USAGE_H

#include <stdint.h>
#include <sys/types.h>

struct usage {
	uint32_t procs, threads;
	uint64_t utime_us,
		stime_us; /* of those that live, and that they reaped */
	uint64_t rss_bytes;
};

/* Of the session of process @leader. -ESRCH: none of it is there. */
int usage_of_session(pid_t leader, struct usage *ret);

/* A line of /proc/PID/stat: 0, or -EPROTO. For the above, and for tests. */
struct usage_stat {
	pid_t session;
	uint64_t ticks[4]; /* utime, stime, and those of children reaped */
	uint32_t threads;
	uint64_t rss_pages;
};
int usage_parse(const char *line, struct usage_stat *ret);

#endif
