/* task.h - what the plugin told this helper: its task, its step, the site
 *
 * Read once from the description (desc.h) and not changed afterwards.
 */
#ifndef VMSTEP_TASK_H
#define VMSTEP_TASK_H

#include <stdbool.h>
#include <stdint.h>

#include "desc.h"
#include "errmsg.h"
#include "option.h"
#include "rankset.h"

struct task {
	struct desc *desc;     /* owned; the texts below live in it */
	struct optset options; /* owned */
	const char *step;      /* "1234.0" */
	const char *step_dir;  /* made by the plugin, the user's, 0700 */
	const char *user;      /* the caller's name, "" if unknown */
	const char *node;      /* Slurm's name of this node */
	const char *argv0;     /* what the user wants to run */
	uint32_t argv_from;    /* where in our arguments its others begin */
	uint32_t job, stepid;
	uint32_t stepd;	      /* slurmstepd's process id */
	uint32_t rank, ranks; /* this task's, and how many the step has */
	uint32_t local_id, local_tasks;
	uint32_t node_id;
	uint32_t cpus;		 /* of this task */
	uint64_t mem_bytes;	 /* of this task; 0: Slurm does not count it */
	uint64_t node_mem_bytes; /* 0: not known */
	struct rankset local_ranks;		/* of this node */
	const char *image_path, *rundir, *qemu; /* the site's */
	const char *kernel, *initrd; /* of root file systems; "" none */
	const char *allow_images;    /* directories with ':' between; "" all */
	const char *allow_devices;   /* PCI addresses, "all", or "" for none */
	const char *allow_mounts;    /* the same */
	const char *data_path, *virtiofsd;
	bool sandbox, sandbox_required;
	const char *sandbox_paths; /* what may be read in it, too */
	const char *net_device, *net_port_range, *net_link;
	uint32_t lost_after_s, beacon_interval_s;
	uint32_t net_workers;
	bool allow_tcg, allow_qmp, allow_qemu_args, net_encrypt;
	uint64_t mem_reserve; /* of them, for QEMU */
	uint64_t max_fam;
	/* what --vm-publish may take of the node's ports; last 0: none */
	uint16_t publish_first, publish_last;
};

/* From the inherited descriptor. The words of @err are for the user as they
 * are; where the plugin refused the step, they are the plugin's. */
int task_load(struct task *t, struct errmsg *err);
void task_done(struct task *t);

/* What tells this VM from all others, the same whenever it is asked: as a UUID,
 * and as systemd's machine id. */
#define TASK_UUID	37
#define TASK_MACHINE_ID 33
void task_uuid(const struct task *t, char ret[TASK_UUID]);
void task_machine_id(const struct task *t, char ret[TASK_MACHINE_ID]);

/* Expand %t %n %N %j %J %s %u and %% in @text for @rank of the step; with
 * TASK_ANY_RANK a %t stays as it is. To be freed; NULL with @err where another
 * %-word stands there. */
#define TASK_ANY_RANK UINT32_MAX
char *task_expand(const struct task *t, uint32_t rank, const char *text,
		  struct errmsg *err);

#endif
