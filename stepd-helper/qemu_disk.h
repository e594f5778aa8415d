/* qemu_disk.h - one disk of the machine, as QEMU's arguments say it */
#ifndef VMSTEP_QEMU_DISK_H
#define VMSTEP_QEMU_DISK_H

#include <stdbool.h>

#include "args.h"
#include "imagespec.h"

struct qemu_disk {
	const char *format; /* QEMU's driver */
	bool read_only;
	bool lasts;   /* what is written must reach the medium when the guest
			 says so; else it is thrown away */
	char *path;   /* owned; NULL: a descriptor, as fdset of its number */
	char *drive;  /* owned; instead of all else: for -drive, as it is */
	char *serial; /* owned; NULL: the node's name */
	char *base;   /* owned; what its overlay is above; NULL: no overlay */
	enum image_kind base_kind;
	bool base_goes; /* is removed at the end */
	bool copied;	/* it is, or is above, a copy of the image */
	enum image_bus bus;
	enum image_cache cache;
	bool cdrom;
	const char *id;		/* QEMU's name for the device; NULL: none */
	unsigned int bootindex; /* the firmware tries 1 first; 0: as it likes */
};

void qemu_disk_done(struct qemu_disk *d);

/* As block node @node; @fd: QEMU's number of the descriptor, @set: that of its
 * fdset. */
void qemu_disk_args(struct args *a, const struct qemu_disk *d, const char *node,
		    int fd, int set);

/* Do any of these @n need the SCSI controller, which is to come before? */
void qemu_scsi_args(struct args *a, const struct qemu_disk *d, unsigned int n);

#endif
