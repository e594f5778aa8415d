/* slots.h - how many VMs a node may have at once: max_vms_per_node
 *
 * A file of root's in the runtime directory, of which each VM has a byte locked
 * (F_OFD_SETLK of fcntl(2)) by its slurmstepd: the kernel gives it back however
 * that ends, and no user can.
 */
#ifndef VMSTEP_SLOTS_H
#define VMSTEP_SLOTS_H

#include "errmsg.h"

#define SLOTS_FILE "slots"

/* Take @n of the node's @max slots, in directory @top: a descriptor, which has
 * them until it is closed; -EAGAIN with words where they are not left, or
 * -errno. */
int slots_take(int top, unsigned int max, unsigned int n, struct errmsg *err);
/* Give them back: closes @fd, and removes the file if nobody else has any. */
void slots_drop(int top, int fd);

#endif
