/* hugepages.h - has the node the huge pages that a VM is to have? */
#ifndef VMSTEP_HUGEPAGES_H
#define VMSTEP_HUGEPAGES_H

#include <stdint.h>

#include "errmsg.h"
#include "shape.h"

#define HUGEPAGES_SYS "/sys" /* another in tests */

/* @mem_bytes in pages of @page_bytes, by node where @shape binds them.
 * -ENOTSUP: this kernel has no pages of that size; -ENOMEM: not enough of them
 * are free. The words name @host, and what helps. */
int hugepages_check(const char *sys, const char *host, uint64_t page_bytes,
		    uint64_t mem_bytes, const struct shape *shape,
		    struct errmsg *err);

#endif
