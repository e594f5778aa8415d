/* qemu.h - QEMU's command line, and the process
 *
 * struct qemu_plan says what the machine is made of; qemu_args() turns it into
 * arguments. Descriptors are named by the numbers QEMU gets them under, so a
 * dry run prints just what would be run.
 */
#ifndef VMSTEP_QEMU_H
#define VMSTEP_QEMU_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "diskcopy.h"
#include "errmsg.h"
#include "data_item.h"
#include "firmware.h"
#include "hold.h"
#include "option.h"
#include "qemu_disk.h"
#include "seed_user.h"
#include "shape.h"
#include "share.h"
#include "spec.h"
#include "task.h"

#define QEMU_DISKS_MAX	24
#define QEMU_QUEUES_MAX 8 /* of the network card; vmstep-net has no more */
#define INSTALL_ID	"install" /* QEMU's name for the drive */
#define AGENT_PORT	"org.vmstep.agent.0"
#define AGENT_PORT_ID	"agentport" /* QEMU's name for it */
#define QGA_PORT	"org.qemu.guest_agent.0"
#define QGA_PORT_ID	"qgaport"
#define QEMU_NETDEV	"net0"
#define QEMU_DISK_NODE	"disk%u"

/* Our descriptors for what QEMU is given, -1 where there is none. */
enum qemu_fd {
	QEMU_FD_QMP,
	QEMU_FD_CONSOLE,
	QEMU_FD_AGENT,
	QEMU_FD_NET,
	QEMU_FD_SEED,
	QEMU_FD_DISK, /* and up */
	/* where --vm-exec lets QEMU's agent run commands */
	QEMU_FD_QGA = QEMU_FD_DISK + QEMU_DISKS_MAX,
	QEMU_FD_VARS, /* of the firmware */
	QEMU_FD_FAM,
	QEMU_FD_SHARE,				    /* and up */
	QEMU_FD_STATE = QEMU_FD_SHARE + SHARES_MAX, /* saved, to start from */
	QEMU_FD_COUNT,
};

struct qemu_plan {
	const struct task *task;
	const struct spec *spec;
	bool kvm;
	struct shape shape;
	char *kernel, *initrd, *append; /* owned; NULL: boot the first disk */
	unsigned int n_disks;
	struct qemu_disk disk[QEMU_DISKS_MAX]; /* owned */
	/* made before QEMU is started, see plan_disk.h */
	struct diskcopy copy[QEMU_DISKS_MAX];	/* owned */
	unsigned int copy_disk[QEMU_DISKS_MAX]; /* which one it is for */
	bool copy_overlay[QEMU_DISKS_MAX];	/* what QEMU has is above it */
	int copy_fd[QEMU_DISKS_MAX];		/* owned; it, held */
	unsigned int n_copies;
	struct strings devices;	  /* PCI addresses, passed by VFIO */
	struct strings to_remove; /* images, at the end */
	struct hold hold;	  /* of their files */
	struct restore *restore;  /* owned; NULL: it boots */
	bool seed;		  /* a cloud-init seed comes along: */
	bool seed_is_file;	  /* the user's, as it is, in its descriptor; */
	struct seed_user seed_user; /* or with this in it; no dir: none */
	struct firmware firmware;   /* no code: QEMU's BIOS */
	bool install;		    /* one of disk[] is media: INSTALL_ID */
	bool root;		    /* a root file system boots (plan_root.h) */
	struct share share[SHARES_MAX]; /* owned */
	unsigned int n_shares;
	struct data_items data; /* owned; what the agent has to mount */
	int fd[QEMU_FD_COUNT];	/* owned; QEMU's ends */
};

void qemu_plan_init(struct qemu_plan *p);
void qemu_plan_done(struct qemu_plan *p);
/* QEMU has them: close ours, so that their ends are seen. Disks have none, and
 * may be copied. */
void qemu_plan_close_fds(struct qemu_plan *p);

/* Where the display of task @rank is, in the step's directory. */
#define QEMU_DISPLAY "%s/vnc.%u"

/* Does another process see the guest's memory? */
bool qemu_shares_memory(const struct qemu_plan *p);

/* argv, its last element not NULL. */
int qemu_args(const struct qemu_plan *p, const char *qemu, struct strings *ret);

/* The number that QEMU has a descriptor by. */
int qemu_fd_number(enum qemu_fd which);

/* Start it, stopped (-S). Its stderr comes out of *ret_stderr. */
int qemu_start(struct qemu_plan *p, const char *qemu, pid_t *ret_pid,
	       int *ret_stderr, struct errmsg *err);

#endif
