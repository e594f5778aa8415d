/* imagespec.h - what one value of --vm-image says
 *
 *   NAME[,ctl=FLAGS][,fmt=F][,KEY=VALUE]...
 *   file=...[,...]              for QEMU's -drive, as it is
 *
 * A comma that belongs to a name or a value is written twice, as QEMU has it.
 */
#ifndef VMSTEP_IMAGESPEC_H
#define VMSTEP_IMAGESPEC_H

#include <stdbool.h>
#include <stdint.h>

#include "errmsg.h"

enum image_kind {
	IMAGE_UNSAID,
	IMAGE_QCOW2,
	IMAGE_RAW,
	IMAGE_VMDK,
	IMAGE_VDI,
	IMAGE_VPC,
	IMAGE_BUNDLE,
	IMAGE_DIR, /* a root file system that is no disk yet */
};

/* ctl= and mvpctl=, a letter each. */
enum image_ctl {
	CTL_COPY = 1 << 0,	  /* c */
	CTL_COPY_JOB = 1 << 1,	  /* j */
	CTL_COPY_RANK = 1 << 2,	  /* r */
	CTL_COPY_REMOVE = 1 << 3, /* d */
	CTL_JOB = 1 << 4,	  /* J */
	CTL_RANK = 1 << 5,	  /* R */
	CTL_REMOVE = 1 << 6,	  /* D */
	CTL_PROTECT = 1 << 7,	  /* p */
	CTL_SNAPSHOT = 1 << 8,	  /* s */
	CTL_WRITE = 1 << 9,	  /* w */
};

enum image_bus { BUS_VIRTIO, BUS_IDE, BUS_SCSI };
enum image_cache {
	CACHE_UNSAID,
	CACHE_WRITEBACK,
	CACHE_NONE,
	CACHE_WRITETHROUGH,
	CACHE_DIRECTSYNC,
	CACHE_UNSAFE,
};

struct imagespec {
	char *name;  /* owned; NULL where there is @drive */
	char *drive; /* owned; the whole text, for -drive */
	enum image_kind format;
	unsigned int ctl;	/* enum image_ctl */
	enum image_bus bus;	/* if= */
	enum image_cache cache; /* cache= */
	bool cdrom;		/* media= */
	char *serial;		/* owned; NULL: not said */
	uint64_t size_bytes; /* size=: it is made if it is not there; 0: no */
	uint64_t overlay_bytes; /* of a root file system; 0: in memory */
};

/* Parse @text. On failure @ret is empty. */
int imagespec_parse(const char *text, struct imagespec *ret,
		    struct errmsg *err);
void imagespec_done(struct imagespec *s);

/* "qcow2", as QEMU names its drivers; NULL of what is no disk. */
const char *image_format_name(enum image_kind kind);

/* What J and R, or j and r (@job, @rank: is it said?), add to a name:
 * ".1234.3",
 * ".1234", ".3" or "". */
void imagespec_tail(bool job, bool rank, uint32_t job_id, uint32_t rank_no,
		    char ret[32]);

#endif
