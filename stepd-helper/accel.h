/* accel.h - can a guest run under KVM on this node?
 *
 * /dev/kvm can be there, and open, where a guest then hangs for ever in its
 * boot; so the CPU's flags are looked at too, and a VM is made for a try.
 */
#ifndef VMSTEP_ACCEL_H
#define VMSTEP_ACCEL_H

#include "errmsg.h"

/* 0: yes. Else -errno, and @why says what is missing and how to get it. */
int accel_kvm_usable(struct errmsg *why);

#endif
