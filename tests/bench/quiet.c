#include <config.h>

#include "quiet.h"

#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#define TRIES	6
#define FOREIGN 0.15 /* of one CPU, that others may use */

static int64_t usage_ns(int who)
{
	struct rusage u;

	getrusage(who, &u);
	return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000000ll +
	       (u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1000ll;
}

/* User and system time of everyone; interrupts are nobody's. */
static int64_t busy_ns(void)
{
	long long user = 0, nice = 0, system = 0;
	FILE *f = fopen("/proc/stat", "re");

	if (!f || fscanf(f, "cpu %lld %lld %lld", &user, &nice, &system) != 3)
		die("/proc/stat");
	fclose(f);
	return (user + nice + system) * (1000000000ll / sysconf(_SC_CLK_TCK));
}

static struct quiet look(unsigned int tries)
{
	return (struct quiet){
		.tries = tries,
		.start_ns = now_ns(),
		.busy_ns = busy_ns(),
		.own_ns = usage_ns(RUSAGE_SELF) + usage_ns(RUSAGE_CHILDREN),
	};
}

bool quiet_again(struct quiet *q, const struct bench *b)
{
	const struct quiet now = look(q->tries + 1), was = *q;
	double foreign;

	*q = now;
	if (!was.tries)
		return true;
	foreign = (double)(now.busy_ns - was.busy_ns -
			   (now.own_ns - was.own_ns)) /
		  (double)(now.start_ns - was.start_ns);
	if (foreign > FOREIGN && was.tries < TRIES)
		return true;
	report_add(b->report, "this machine", "CPUs used by others", "CPUs",
		   foreign > 0 ? foreign : 0);
	if (foreign > FOREIGN)
		report_add(b->report, "this machine",
			   "measurements disturbed by that", "CPUs", foreign);
	return false;
}
