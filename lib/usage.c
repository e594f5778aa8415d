#include <config.h>

#include "usage.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"

int usage_parse(const char *line, struct usage_stat *ret)
{
	/* the name, in brackets, may have anything in it (proc(5)) */
	const char *rest = strrchr(line, ')');
	int session;

	if (!rest ||
	    sscanf(rest + 1,
		   " %*c %*d %*d %d %*d %*d %*u %*u %*u %*u %*u "
		   "%" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64
		   " %*d %*d %" SCNu32 " %*d %*u %*u %" SCNu64,
		   &session, &ret->ticks[0], &ret->ticks[1], &ret->ticks[2],
		   &ret->ticks[3], &ret->threads, &ret->rss_pages) != 7)
		return -EPROTO;
	ret->session = session;
	return 0;
}

static int read_stat(const char *pid, struct usage_stat *ret)
{
	_cleanup_fclose_ FILE *f = NULL;
	char path[64], line[1024];

	snprintf(path, sizeof(path), "/proc/%.20s/stat", pid);
	f = fopen(path, "re");
	if (!f || !fgets(line, sizeof(line), f))
		return -ESRCH; /* it has ended meanwhile */
	return usage_parse(line, ret);
}

static void add(struct usage *u, const struct usage_stat *s)
{
	uint64_t tick_us = 1000000 / (uint64_t)sysconf(_SC_CLK_TCK);

	u->procs++;
	u->threads += s->threads;
	u->utime_us += (s->ticks[0] + s->ticks[2]) * tick_us;
	u->stime_us += (s->ticks[1] + s->ticks[3]) * tick_us;
	u->rss_bytes += s->rss_pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

int usage_of_session(pid_t leader, struct usage *ret)
{
	DIR *d = opendir("/proc");
	struct usage_stat s;
	struct dirent *e;

	memset(ret, 0, sizeof(*ret));
	if (!d)
		return -errno;
	while ((e = readdir(d)))
		if (e->d_name[0] >= '1' && e->d_name[0] <= '9' &&
		    read_stat(e->d_name, &s) == 0 && s.session == leader)
			add(ret, &s);
	closedir(d);
	return ret->procs ? 0 : -ESRCH;
}
