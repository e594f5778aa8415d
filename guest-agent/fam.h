/* fam.h - the way to fabric-attached memory (--vm-fam) in a guest
 *
 * QEMU's ivshmem device, of which PCI knows 1af4:1110; its memory is BAR 2,
 * which Linux shows as a file that can be mapped, and neither read nor written.
 */
#ifndef VMSTEP_AGENT_FAM_H
#define VMSTEP_AGENT_FAM_H

#define FAM_PATH    "/dev/vmstep-fam"
#define FAM_DEVICES "/sys/bus/pci/devices"

/* Where one of @devices is such a device, make @path a link to its memory, and
 * let every user of the guest map it. 1: it is there; 0: there is none. */
int fam_link(const char *devices, const char *path);

#endif
