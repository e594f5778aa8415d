#include <config.h>

#include "pin.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <hwloc.h>
#include <hwloc/linux.h>
#include <stdio.h>
#include <stdlib.h>

#include "cleanup.h"

struct pin {
	hwloc_topology_t topo;
	hwloc_bitmap_t mask; /* of this process, within the machine's CPUs */
	hwloc_obj_t *cpus;   /* planned, by virtual CPU; borrowed from topo */
	unsigned int n;
	bool by_node;
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
	/* CPUs and memory only: looking for devices costs most of the time */
	hwloc_topology_set_all_types_filter(p->topo,
					    HWLOC_TYPE_FILTER_KEEP_NONE);
	hwloc_topology_set_type_filter(p->topo, HWLOC_OBJ_PACKAGE,
				       HWLOC_TYPE_FILTER_KEEP_ALL);
	hwloc_topology_set_type_filter(p->topo, HWLOC_OBJ_CORE,
				       HWLOC_TYPE_FILTER_KEEP_ALL);
	/* where a package has several NUMA nodes, each of them hangs on one */
	hwloc_topology_set_type_filter(p->topo, HWLOC_OBJ_GROUP,
				       HWLOC_TYPE_FILTER_KEEP_STRUCTURE);
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

int pin_set_mask(struct pin *p, const char *list)
{
	if (hwloc_bitmap_list_sscanf(p->mask, list) < 0)
		return -EINVAL;
	return 0;
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
	p->by_node = want->by_node;
	p->cpus = calloc(want->cpus, sizeof(*p->cpus));
	if (!p->cpus)
		return errmsg_set(err, -ENOMEM, "CPU binding");
	while ((pu = hwloc_get_next_obj_by_type(p->topo, HWLOC_OBJ_PU, pu))) {
		if (!hwloc_bitmap_isset(p->mask, pu->os_index))
			continue;
		if (place >= first && p->n < want->cpus)
			p->cpus[p->n++] = pu;
		else if (place >= first && place < first + all)
			hwloc_bitmap_set(p->kept, pu->os_index);
		place++;
	}
	return p->n == want->cpus;
}

/* The node of memory next to @pu, or NULL. Of two, as with HBM, the first. */
static hwloc_obj_t node_of(const struct pin *p, hwloc_obj_t pu)
{
	hwloc_obj_t node = NULL;

	while ((node = hwloc_get_next_obj_by_type(p->topo, HWLOC_OBJ_NUMANODE,
						  node)))
		if (hwloc_bitmap_isset(node->cpuset, pu->os_index))
			return node;
	return NULL;
}

static unsigned int index_of(const struct pin *p, hwloc_obj_t pu,
			     hwloc_obj_type_t type, unsigned int dflt)
{
	hwloc_obj_t o = hwloc_get_ancestor_obj_by_type(p->topo, type, pu);

	return o ? o->logical_index : dflt;
}

void pin_place(const struct pin *p, unsigned int i, struct shape_cpu *ret)
{
	hwloc_obj_t pu = p->cpus[i], node = node_of(p, pu);

	*ret = (struct shape_cpu){
		.package = index_of(p, pu, HWLOC_OBJ_PACKAGE, 0),
		.core = index_of(p, pu, HWLOC_OBJ_CORE, pu->logical_index),
		.node = node ? (int)node->os_index : -1,
		.node_bytes = node ? node->attr->numanode.local_memory : 0,
	};
}

unsigned int pin_host_nodes(const struct pin *p)
{
	int n = hwloc_get_nbobjs_by_type(p->topo, HWLOC_OBJ_NUMANODE);

	return n > 0 ? (unsigned int)n : 0;
}

/* What virtual CPU @i may run on. */
static void add_cpus(const struct pin *p, unsigned int i, hwloc_bitmap_t set)
{
	hwloc_obj_t node = p->by_node ? node_of(p, p->cpus[i]) : NULL;

	hwloc_bitmap_only(set, p->cpus[i]->os_index);
	for (unsigned int k = 0; node && k < p->n; k++)
		if (hwloc_bitmap_isset(node->cpuset, p->cpus[k]->os_index))
			hwloc_bitmap_set(set, p->cpus[k]->os_index);
}

int pin_thread(struct pin *p, unsigned int i, pid_t tid, struct errmsg *err)
{
	hwloc_bitmap_t set = hwloc_bitmap_alloc();
	int r = 0;

	assert(i < p->n); /* pin_plan() said so many */
	if (!set)
		return errmsg_set(err, -ENOMEM, "CPU binding");
	add_cpus(p, i, set);
	if (hwloc_linux_set_tid_cpubind(p->topo, tid, set) < 0)
		r = errmsg_set(err, -errno, "bind virtual CPU %u to CPU %u", i,
			       p->cpus[i]->os_index);
	hwloc_bitmap_free(set);
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
