/* spec.h - the options of this task's VM, with their types and defaults
 *
 * What is written here is what is run: lists by task and rank prefixes are
 * resolved, %-words expanded, sizes compared with what Slurm gave.
 */
#ifndef VMSTEP_SPEC_H
#define VMSTEP_SPEC_H

#include <stdbool.h>
#include <stdint.h>

#include "addr.h"
#include "errmsg.h"
#include "famspec.h"
#include "mountspec.h"
#include "option.h"
#include "publish.h"
#include "task.h"

enum spec_accel { ACCEL_AUTO, ACCEL_KVM, ACCEL_TCG };
enum spec_firmware { FIRMWARE_BIOS, FIRMWARE_UEFI };
enum spec_bind { BIND_CORES, BIND_NUMA, BIND_NONE };
enum spec_numa { NUMA_MIRROR, NUMA_FLAT };
enum spec_net { NET_VHOST_USER, NET_STREAM, NET_DGRAM, NET_NONE };
enum spec_exec { EXEC_AUTO, EXEC_AGENT, EXEC_QGA, EXEC_NONE };
enum spec_wait { WAIT_ALL, WAIT_NET, WAIT_AGENT };

struct spec {
	struct strings images;	  /* the boot disk or bundle, then more disks */
	struct strings qemu_args; /* for QEMU, as they are */
	struct strings scratch;	  /* sizes of empty disks */
	struct strings inputs;	  /* names or paths of read-only data */
	struct strings outputs;	  /* directories for results */
	struct mountspecs mounts; /* of the node; the home directory, too */
	char *restore;		  /* a directory; NULL: it boots */
	char *save;		  /* the first disk's new path; NULL: none */
	bool save_full;
	char *rundir;
	char *install;	  /* media; NULL: none */
	char *unattended; /* a directory that comes with it; NULL: none */
	bool cloud_init;  /* a seed for disks without our agent, */
	char *cloud_from; /* or of this directory or file; NULL: no such */
	char *kernel, *initrd, *append; /* NULL where not given */
	unsigned int cpus;
	uint64_t mem_bytes;
	bool mem_given;
	struct famspec fam; /* no bytes: none */
	int accel;	    /* enum spec_accel */
	char *cpu;	    /* NULL: by accelerator */
	char *machine;
	int firmware;		 /* enum spec_firmware */
	int bind;		 /* enum spec_bind */
	int numa;		 /* enum spec_numa */
	uint64_t hugepage_bytes; /* 0: none */
	unsigned int io_cpus;	 /* of the task's, besides those of cpus */
	int net;		 /* enum spec_net */
	struct addr_net cidr;
	unsigned int mtu;
	char *hostname;		/* of this guest */
	char *hostname_pattern; /* of all: only %t is left in it */
	char *domain;		/* "" if unknown */
	char *guest_user;
	bool user_is_me; /* the caller, who is made in the guest */
	bool run_head;	 /* the command runs in rank 0 only */
	bool linger;
	int wait;      /* enum spec_wait */
	int exec;      /* enum spec_exec */
	char *workdir; /* NULL: the guest user's home */
	bool workdir_given;
	struct strings env; /* names, one each */
	unsigned int boot_timeout_s, grace_s;
	bool vnc;   /* a display, see display_path() */
	char *qemu; /* NULL: the site's */
	bool outbound;
	char *tftp;			   /* a directory; NULL: none */
	struct publish ports[PUBLISH_MAX]; /* with ranks added */
	size_t n_ports;
	char *capture; /* a file's path; NULL: none */
	char *console; /* NULL: kept; "stdout", "off", or a file's path */
	char *stats;   /* NULL: none */
	char *log;     /* NULL: none */
	int log_level; /* enum log_level, of the file */
	int log_fd;    /* it, once the program has opened it; else 0 */
	bool verbose, dry_run;
};

int spec_resolve(const struct task *t, struct spec *ret, struct errmsg *err);
void spec_done(struct spec *s);

/* Is QEMU's guest agent given a port? */
static inline bool spec_wants_qga(const struct spec *s)
{
	return s->exec == EXEC_AUTO || s->exec == EXEC_QGA;
}

/* What the guest's processes see of the step; "NAME=value" texts. */
int spec_guest_env(const struct task *t, const struct spec *s,
		   struct strings *ret);

#endif
