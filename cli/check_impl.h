/* check_impl.h - what the parts of vmstep check share
 *
 * A row of the table in check.c is a subject. It looks, and says one line or
 * several; a line has the subject, what was found, and what helps.
 */
#ifndef VMSTEP_CLI_CHECK_IMPL_H
#define VMSTEP_CLI_CHECK_IMPL_H

#include <jansson.h>
#include <stdbool.h>

#include "settings.h"

enum check_level { CHECK_OK, CHECK_WARNING, CHECK_FAILED, CHECK_LEVELS };

struct checking {
	const struct settings *s;
	const char *root;    /* of /dev, /proc, /sys; "", another in tests */
	const char *libexec; /* where the other programs are */
	const char *image;   /* --full; NULL: not asked for */
	char node[256];	     /* this host, as Slurm names it; "": no node */
	const char *subject; /* of the row that runs */
	json_t *lines;	     /* NULL: print them */
	unsigned int counts[CHECK_LEVELS];
};

/* @cure: NULL, where the words say it. */
void check_ok(struct checking *c, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void check_warn(struct checking *c, const char *cure, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void check_fail(struct checking *c, const char *cure, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Only where vmstep.conf was understood. */
#define CHECK_WANTS_SITE 1
/* Only on a node of Slurm's. */
#define CHECK_OF_NODE 2

struct check {
	const char *subject;
	unsigned int flags;
	void (*run)(struct checking *c);
};

/* Rows, until one without a subject. */
void check_rows(struct checking *c, const struct check *rows);
extern const struct check check_table[];

/* check_slurm.c: what srun and slurmctld say */
void check_slurm(struct checking *c);
void check_plugstack(struct checking *c);
void check_plugin(struct checking *c);
void check_site(struct checking *c);
void check_user(struct checking *c);
void check_limits(struct checking *c);
void check_accounting(struct checking *c);
void check_killwait(struct checking *c);
void check_pmix(struct checking *c);

/* check_node.c: what a node has */
void check_programs(struct checking *c);
void check_tools(struct checking *c);
void check_virtiofsd(struct checking *c);
void check_firmware(struct checking *c);
void check_roots(struct checking *c);
void check_images(struct checking *c);
void check_runtime_dir(struct checking *c);
void check_rundir(struct checking *c);
void check_shm(struct checking *c);
void check_memlock(struct checking *c);
void check_net(struct checking *c);
void check_cgroup(struct checking *c);
void check_kernel(struct checking *c);
void check_sandbox(struct checking *c);

/* check_qemu.c */
void check_qemu(struct checking *c);
void check_accel(struct checking *c);

/* check_full.c: a step of one VM */
void check_full(struct checking *c);
/* The Slurm node that this host is, or "". */
void check_find_node(char *ret, size_t size);

#endif
