/* topo_here.h - this node, with the VMs of a step on it
 *
 * hwloc knows the machine; each virtual CPU is put where its thread may run,
 * and lstopo, a program of hwloc's, draws it all.
 */
#ifndef VMSTEP_CLI_TOPO_HERE_H
#define VMSTEP_CLI_TOPO_HERE_H

#include <hwloc.h>
#include <jansson.h>
#include <stdbool.h>

#include "errmsg.h"

/* Where a VM's virtual CPUs may run, each. */
struct topo_vm {
	char name[300]; /* "vm[3] vm3" */
	hwloc_bitmap_t cpus[256];
	unsigned int n;
};

/* Of the threads of QEMU, process @pid, under @proc ("/proc"; another in
 * tests). The sets are the caller's, see topo_vm_done(). */
int topo_vm_look(const char *proc, int pid, struct topo_vm *ret,
		 struct errmsg *err);
void topo_vm_done(struct topo_vm *vm);
/* Into @topo: a line for each virtual CPU, or one for all where they may run on
 * the same. */
int topo_vm_add(hwloc_topology_t topo, const struct topo_vm *vm);

/* @states and @stats: results of task.state and vm.stats by rank. Draws to our
 * standard output. An EXIT_ status. */
int topo_draw(const json_t *states, const json_t *stats, bool svg);

#endif
