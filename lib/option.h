/* option.h - the one table of all --vm-* options, and sets of given values
 *
 * A row of the table is an option: `--vm-NAME` on the command line,
 * VMSTEP_NAME in the environment, `default_NAME` in vmstep.conf, a line of
 * `srun --help` and of vmstep-options(7). A struct optset holds what was given
 * for each, still as text; option_values() picks what of it is for one rank.
 *
 * Sources and precedence (the highest that gives an option gives all of it):
 * command line, environment, inherited from sbatch or salloc, site.
 */
#ifndef VMSTEP_OPTION_H
#define VMSTEP_OPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "errmsg.h"

enum option_id {
	OPT_IMAGE,
	OPT_RUNDIR,
	OPT_SAVE,
	OPT_INPUT,
	OPT_OUTPUT,
	OPT_MOUNTS,
	OPT_MOUNT_HOME,
	OPT_SCRATCH,
	OPT_CLOUD_INIT,
	OPT_KERNEL,
	OPT_INITRD,
	OPT_APPEND,
	OPT_FIRMWARE,
	OPT_INSTALL,
	OPT_CPUS,
	OPT_MEM,
	OPT_ACCEL,
	OPT_CPU,
	OPT_MACHINE,
	OPT_BIND,
	OPT_IO_CPUS,
	OPT_NUMA,
	OPT_HUGEPAGES,
	OPT_FAM,
	OPT_DISPLAY,
	OPT_QEMU,
	OPT_QEMU_ARG,
	OPT_NET,
	OPT_NET_CIDR,
	OPT_NET_MTU,
	OPT_HOSTNAME,
	OPT_DOMAIN,
	OPT_OUTBOUND,
	OPT_TFTP,
	OPT_PUBLISH,
	OPT_CAPTURE,
	OPT_USER,
	OPT_RUN,
	OPT_LINGER,
	OPT_WAIT,
	OPT_EXEC,
	OPT_WORKDIR,
	OPT_ENV,
	OPT_BOOT_TIMEOUT,
	OPT_GRACE,
	OPT_CONSOLE,
	OPT_LOG,
	OPT_VERBOSE,
	OPT_STATS,
	OPT_CONFIG,
	OPT_RESTORE,
	OPT_DRY_RUN,
	OPT_COUNT,
};

enum option_flags {
	OPTF_RANKS = 1 << 0,   /* takes RANKS:VALUE */
	OPTF_TASKS = 1 << 1,   /* one value a task, separated */
	OPTF_SEMI = 1 << 2,    /* ... by ';' only: values have commas */
	OPTF_ADDS = 1 << 3,    /* all values that apply count, not the last */
	OPTF_FLAG = 1 << 4,    /* without an argument */
	OPTF_FLAGARG = 1 << 5, /* the argument may be left out */
};

struct option_def {
	const char *name;    /* "net-mtu" */
	const char *arginfo; /* "BYTES"; NULL for a flag */
	const char *help;    /* one line; the default is named by dflt */
	const char *dflt;    /* in words for people; NULL: none worth saying */
	unsigned int flags;
	/* Is @value, one task's, well-formed? NULL: any text. */
	int (*check)(const char *value, struct errmsg *err);
	const char *const *words; /* or: one of these */
};

extern const struct option_def option_defs[OPT_COUNT];

#define OPTION_MEM_LEAST      (64ull << 20) /* bytes of a VM */
#define OPTION_HUGEPAGE_LEAST (2ull << 20)
#define OPTION_TCG_CPU	      "max,erms=off,fsrm=off,level-func7=0"
/* The levels of --vm-log, in the order of enum log_level. */
extern const char *const option_log_levels[];

/* The option of that name ("net-mtu"), or -1. */
int option_find(const char *name);
/* "VMSTEP_NET_MTU" */
void option_env_name(enum option_id id, char name[64]);
/* The option whose variable @name (@len bytes) is not and nearly is, as
 * VMSTEP_NETMTU; -1: none. */
int option_env_nearly(const char *name, size_t len);

struct optset {
	struct optvals {
		char **v; /* owned texts, in the order given */
		size_t n;
		bool from_env; /* messages name the variable */
	} opt[OPT_COUNT];
};

void optset_done(struct optset *set);
bool optset_has(const struct optset *set, enum option_id id);
/* Parse and check @text as given for @id and add it. The words of an error
 * begin with what @origin says, as in "--vm-mem" or "VMSTEP_MEM". */
int optset_add(struct optset *set, enum option_id id, const char *text,
	       const char *origin, struct errmsg *err);
void optset_clear(struct optset *set, enum option_id id);
/* Forget all that was added for @id but the last @n. */
void optset_keep_last(struct optset *set, enum option_id id, size_t n);
/* Where @set has nothing for an option, take what @lower has (copied). */
int optset_inherit(struct optset *set, const struct optset *lower,
		   struct errmsg *err);
/* Add what the environment gives: VMSTEP_*. */
int optset_add_env(struct optset *set, struct errmsg *err);

/* Where sbatch and salloc leave what they were given, optset_encode()d, for the
 * job's steps. */
#define INHERIT_ENV "SLURM_VMSTEP_INHERIT"

/* Does @set ask for VMs: an image that is not "none"? */
bool optset_wants_vm(const struct optset *set);
/* What holds between options; call when all sources are merged. */
int optset_check(const struct optset *set, struct errmsg *err);

/* Lines of "name=value", special bytes as %XX: what goes from srun to the
 * nodes. To be freed; NULL without memory. */
char *optset_encode(const struct optset *set);
int optset_decode(struct optset *set, const char *text, struct errmsg *err);

/* The values for @rank, RANKS and lists by task resolved. @ret gets texts
 * that are valid as long as @ret (strings_free()). Without OPTF_ADDS there is
 * one at the most. */
struct strings {
	char **v; /* owned */
	size_t n;
};
void strings_done(struct strings *s);
int strings_add(struct strings *s, const char *text, size_t len);
int option_values(const struct optset *set, enum option_id id, uint32_t rank,
		  struct strings *ret, struct errmsg *err);
/* Is the @i'th value of @id for ranks that a step of @ranks tasks lacks? Not
 * so where they are open, as in "4-": that means whoever there is. */
bool option_is_idle(const struct optset *set, enum option_id id, size_t i,
		    uint32_t ranks);

#endif
