/* confine.h - what vmstep-net may still do, once it has what it was given
 *
 * It reads what guests and other nodes have written, and needs nearly nothing
 * of its node: its descriptors, memory, TCP, and to read of the system what
 * names of hosts and UCX's libraries want. All else of the user's is closed to
 * it by Landlock, where the kernel has it: no file is written or made, no
 * program run, no process outside is signalled or traced. And by seccomp it
 * makes no unix socket, which could be connected to one of the user's daemons.
 *
 * With UCX it also needs RDMA devices, and shared memory of that.
 */
#ifndef VMSTEP_CONFINE_H
#define VMSTEP_CONFINE_H

#include "errmsg.h"
#include "options.h"

/* For good, for this process; call before there are threads. With --sandbox=no
 * all that is given up is to gain privileges by exec. */
int confine(const struct options *o, struct errmsg *err);

#endif
