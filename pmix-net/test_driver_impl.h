/* test_driver_impl.h - what the parts of test_driver.c share
 *
 * test_driver.c has memory and life, test_driver_start.c what QEMU says,
 * test_driver_frames.c what the guest's driver does.
 */
#ifndef VMSTEP_TEST_DRIVER_IMPL_H
#define VMSTEP_TEST_DRIVER_IMPL_H

#include "test_driver.h"
#include "test_dring.h"

struct driver {
	struct driver_conf conf;
	struct fe fe;
	uint64_t features, protocol;
	int memfd, err_fd;
	uint8_t *memory;
	size_t memory_bytes;
	struct fe_region regions[3];
	size_t n_regions;
	struct dring rings[2 * DRIVER_PAIRS_MAX];
	uint16_t base[2 * DRIVER_PAIRS_MAX]; /* where the device is to begin */
};

static inline unsigned int driver_n_rings(const struct driver *d)
{
	return 2 * d->conf.pairs;
}

#endif
