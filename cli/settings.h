/* settings.h - the settings in force here, each with where it is from
 *
 * As srun and slurmstepd would find them: plugstack.conf says which
 * vmstep.conf, that says the site's, and the environment the user's.
 */
#ifndef VMSTEP_CLI_SETTINGS_H
#define VMSTEP_CLI_SETTINGS_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "errmsg.h"
#include "plugstack.h"
#include "site.h"
#include "slurmconf.h"

struct setting {
	char *name, *value, *from; /* owned */
};

struct settings {
	struct slurmconf slurm;
	struct errmsg slurm_error; /* where slurm.text is NULL */
	char plugstack_path[PATH_MAX];
	struct plugstack plugstack; /* n 0: no line */
	int plugstack_result;	    /* of plugstack_load() */
	struct errmsg plugstack_error;
	char *path; /* of vmstep.conf */
	bool named; /* it has to be there */
	char from[PATH_MAX + 64];
	struct site site; /* where site_result is 0 */
	int site_result;
	struct errmsg site_error;
	struct setting *v; /* keys in the order of the table, then options */
	size_t n;
};

/* @config: vmstep.conf, in place of the one that plugstack.conf names; NULL.
 * What is wrong is said in *ret. -ENOMEM. */
int settings_load(const char *config, struct settings *ret);
/* Add the options that a step started here and now has: VMSTEP_ variables, what
 * sbatch or salloc handed on, the site's default_NAME. -errno with words. */
int settings_add_options(struct settings *s, struct errmsg *err);
void settings_done(struct settings *s);

#endif
