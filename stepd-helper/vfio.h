/* vfio.h - the PCI devices that --gres gave this task
 *
 * Slurm says which by number (SLURM_STEP_GPUS): of the device file in
 * gres.conf, which is /dev/vfio/NUMBER, an IOMMU group. QEMU gets all devices
 * of the group but bridges. Where Slurm gave them to the step and not to each
 * task they are dealt out, for a group is one process's.
 */
#ifndef VMSTEP_VFIO_H
#define VMSTEP_VFIO_H

#include <stdint.h>

#include "errmsg.h"
#include "option.h"

struct vfio_ask {
	const char *sys, *dev; /* "/sys", "/dev"; others in tests */
	const char *node;
	const char *given;   /* "12,13"; NULL or "": none */
	const char *on_node; /* how many the step has there; NULL: not known */
	const char *allowed; /* the site's allow_devices */
	uint32_t local_id, local_tasks;
	uint64_t mem_bytes;  /* that have to be locked */
	uint64_t lock_bytes; /* that may be */
};

/* Add the addresses, as in 0000:3b:00.0, to @ret. The words of an error name
 * device, node and cure. */
int vfio_devices(const struct vfio_ask *ask, struct strings *ret,
		 struct errmsg *err);

#endif
