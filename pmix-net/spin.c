#include <config.h>

#include "spin.h"

#include <sys/resource.h>
#include <time.h>

int64_t spin_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ll + ts.tv_nsec;
}

void spin_worked(struct spin *s)
{
	if (s->for_ns)
		s->worked_ns = spin_now_ns();
}

bool spin_on(struct spin *s)
{
	return s->for_ns && spin_now_ns() - s->worked_ns < s->for_ns;
}

void spin_slept(struct spin *s)
{
	struct rusage usage;

	s->slept_ns = spin_now_ns();
	if (!s->for_ns)
		return;
	getrusage(RUSAGE_THREAD, &usage);
	if (usage.ru_nivcsw != s->preempted) {
		s->preempted = usage.ru_nivcsw;
		s->shun_until_ns = s->slept_ns + SPIN_SHUN_NS;
		s->for_ns = 0;
	}
}

void spin_woke(struct spin *s)
{
	int64_t now = spin_now_ns();

	if (now - s->slept_ns > SPIN_MAX_NS || now < s->shun_until_ns) {
		s->for_ns = 0;
		return;
	}
	s->for_ns = s->for_ns ? 2 * s->for_ns : SPIN_MIN_NS;
	if (s->for_ns > SPIN_MAX_NS)
		s->for_ns = SPIN_MAX_NS;
	s->worked_ns = now;
}
