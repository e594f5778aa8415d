/* pin.h - which CPU of the task each virtual CPU runs on (hwloc)
 *
 * Slurm has given this process a CPU mask; its CPUs are counted as hwloc does,
 * so that those of one core are neighbours. Where the mask holds just this
 * task's CPUs, virtual CPU i gets the i'th of them, and those behind are kept
 * for I/O and network, where that is asked for. Where it holds enough for all
 * tasks of the node, which then share it (no task affinity), task t takes the
 * t'th part. Else nothing is pinned.
 */
#ifndef VMSTEP_PIN_H
#define VMSTEP_PIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "errmsg.h"
#include "shape.h"

struct pin;

struct pin_want {
	unsigned int cpus; /* virtual ones */
	unsigned int io;   /* to be kept besides */
	unsigned int local_id, local_tasks;
	bool by_node; /* any of the chosen CPUs of its NUMA node will do */
};

int pin_new(struct pin **ret, struct errmsg *err);
void pin_free(struct pin *p); /* NULL is fine */
/* Take @list, as in "0-3,8", for the mask. For tests, whose machine is not the
 * one that they run on (HWLOC_SYNTHETIC). */
int pin_set_mask(struct pin *p, const char *list);

/* Choose the CPUs. Returns 1 when there are enough, 0 when nothing is to be
 * pinned, or -errno. */
int pin_plan(struct pin *p, const struct pin_want *want, struct errmsg *err);
/* Where that puts virtual CPU @i. */
void pin_place(const struct pin *p, unsigned int i, struct shape_cpu *ret);
/* NUMA nodes of this machine. */
unsigned int pin_host_nodes(const struct pin *p);
/* Bind thread @tid to what is planned for virtual CPU @i. */
int pin_thread(struct pin *p, unsigned int i, pid_t tid, struct errmsg *err);
/* Bind all threads of process @pid but the @n of @tids to the kept CPUs. */
int pin_others(struct pin *p, pid_t pid, const pid_t *tids, size_t n,
	       struct errmsg *err);

/* The kept CPUs, or where none are, the mask: a list as in "0-3,8". -E2BIG. */
int pin_text(const struct pin *p, char *text, size_t size);

#endif
