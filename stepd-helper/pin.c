#include <config.h>

#include "pin.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <hwloc.h>
#include <hwloc/linux.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "cleanup.h"

struct pin {
	hwloc_topology_t topo;
	hwloc_bitmap_t mask; /* of this process, within the machine's CPUs */
	unsigned int *cpus;  /* planned, by virtual CPU */
	unsigned int n;
	hwloc_bitmap_t kept; /* for I/O and network */
};

int pin_new(struct pin **ret, struct errmsg *err)
{
	struct pin *p = calloc(1, sizeof(*p));

	if (!p)
		return errmsg_set(err, -ENOMEM, "CPU topology");
	p->mask = hwloc_bitmap_alloc();
	p->kept = hwloc_bitmap_alloc();
	if (!p->mask || !p->kept || hwloc_topology_init(&p->topo) < 0) {
		hwloc_bitmap_free(p->mask);
		hwloc_bitmap_free(p->kept);
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
	hwloc_bitmap_free(p->kept);
	free(p->cpus);
	free(p);
}

int pin_plan(struct pin *p, const struct pin_want *want, struct errmsg *err)
{
	unsigned int have = (unsigned int)hwloc_bitmap_weight(p->mask);
	unsigned int all = want->cpus + want->io, first = 0, place = 0;
	hwloc_obj_t pu = NULL;

	if (have < all)
		return 0;
	if (have / all >= want->local_tasks && have > all)
		first = want->local_id * all;
	p->cpus = calloc(want->cpus, sizeof(*p->cpus));
	if (!p->cpus)
		return errmsg_set(err, -ENOMEM, "CPU binding");
	while ((pu = hwloc_get_next_obj_by_type(p->topo, HWLOC_OBJ_PU, pu))) {
		if (!hwloc_bitmap_isset(p->mask, pu->os_index))
			continue;
		if (place >= first && p->n < want->cpus)
			p->cpus[p->n++] = pu->os_index;
		else if (place >= first && place < first + all)
			hwloc_bitmap_set(p->kept, pu->os_index);
		place++;
	}
	return p->n == want->cpus;
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

static bool is_one_of(pid_t tid, const pid_t *tids, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (tids[i] == tid)
			return true;
	return false;
}

int pin_others(struct pin *p, pid_t pid, const pid_t *tids, size_t n,
	       struct errmsg *err)
{
	char path[64];
	struct dirent *e;
	DIR *dir;
	int r = 0;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	dir = opendir(path);
	if (!dir)
		return errmsg_set(err, -errno, "threads of QEMU");
	while (r == 0 && (e = readdir(dir))) {
		pid_t tid = (pid_t)strtol(e->d_name, NULL, 10);

		/* one that has ended meanwhile needs none */
		if (tid > 0 && !is_one_of(tid, tids, n) &&
		    hwloc_linux_set_tid_cpubind(p->topo, tid, p->kept) < 0 &&
		    errno != ESRCH)
			r = errmsg_set(err, -errno,
				       "bind QEMU's I/O to the CPUs kept");
	}
	closedir(dir);
	return r;
}

int pin_text(const struct pin *p, char *text, size_t size)
{
	hwloc_const_bitmap_t set =
		hwloc_bitmap_iszero(p->kept) ? p->mask : p->kept;
	int n = hwloc_bitmap_list_snprintf(text, size, set);

	return n < 0 || (size_t)n >= size ? -E2BIG : 0;
}
