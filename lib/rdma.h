/* rdma.h - which RDMA devices this machine has, by /sys */
#ifndef VMSTEP_RDMA_H
#define VMSTEP_RDMA_H

#include <stdbool.h>
#include <stddef.h>

/* Is there one with a port that is up? */
bool rdma_is_there(void);
/* The one behind the interface that has the address that @fd is bound to, as
 * UCX names it ("mlx5_0:1"); or, with @rdma false, that interface. False: none,
 * or not known. */
bool rdma_device(int fd, bool rdma, char *ret, size_t size);

#endif
