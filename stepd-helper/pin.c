#include <config.h>

#include "pin.h"

#include <assert.h>
#include <errno.h>
#include <hwloc.h>
#include <hwloc/linux.h>
#include <stdlib.h>

#include "cleanup.h"

struct pin {
	hwloc_topology_t topo;
	hwloc_bitmap_t mask; /* of this process, within the machine's CPUs */
	unsigned int *cpus;  /* planned, by virtual CPU */
	unsigned int n;
};

int pin_new(struct pin **ret, struct errmsg *err)
{
	struct pin *p = calloc(1, sizeof(*p));

	if (!p)
		return errmsg_set(err, -ENOMEM, "CPU topology");
	p->mask = hwloc_bitmap_alloc();
	if (!p->mask || hwloc_topology_init(&p->topo) < 0) {
		hwloc_bitmap_free(p->mask);
		free(p);
		return errmsg_set(err, -ENOMEM, "CPU topology");
	}
	/* CPUs only: looking for devices costs most of the time */
	hwloc_topology_set_all_types_filter(p->topo,
					    HWLOC_TYPE_FILTER_KEEP_NONE);
	if (hwloc_topology_load(p->topo) < 0 ||
	    hwloc_get_cpubind(p->topo, p->mask, HWLOC_CPUBIND_PROCESS) < 0) {
		int e = errno ? -errno : -EIO;

		pin_free(p);
		return errmsg_set(err, e, "CPU topology");
	}
	hwloc_bitmap_and(p->mask, p->mask,
			 hwloc_topology_get_topology_cpuset(p->topo));
	*ret = p;
	return 0;
}

void pin_free(struct pin *p)
{
	if (!p)
		return;
	hwloc_topology_destroy(p->topo);
	hwloc_bitmap_free(p->mask);
	free(p->cpus);
	free(p);
}

int pin_plan(struct pin *p, unsigned int n, unsigned int local_id,
	     unsigned int local_tasks, struct errmsg *err)
{
	unsigned int have = (unsigned int)hwloc_bitmap_weight(p->mask);
	unsigned int first, place = 0;
	int cpu;

	if (have < n)
		return 0;
	first = have / n >= local_tasks && have > n ? local_id * n : 0;
	p->cpus = calloc(n, sizeof(*p->cpus));
	if (!p->cpus)
		return errmsg_set(err, -ENOMEM, "CPU binding");
	p->n = 0;
	hwloc_bitmap_foreach_begin (cpu, p->mask)
		if (place++ >= first && p->n < n)
			p->cpus[p->n++] = (unsigned int)cpu;
	hwloc_bitmap_foreach_end();
	return p->n == n;
}

int pin_thread(struct pin *p, unsigned int i, pid_t tid, struct errmsg *err)
{
	hwloc_bitmap_t one = hwloc_bitmap_alloc();
	int r = 0;

	assert(i < p->n); /* pin_plan() said so many */
	if (!one)
		return errmsg_set(err, -ENOMEM, "CPU binding");
	hwloc_bitmap_only(one, p->cpus[i]);
	if (hwloc_linux_set_tid_cpubind(p->topo, tid, one) < 0)
		r = errmsg_set(err, -errno, "bind virtual CPU %u to CPU %u", i,
			       p->cpus[i]);
	hwloc_bitmap_free(one);
	return r;
}
