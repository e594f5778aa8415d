/* slurmconf.h - what Slurm's configuration says, as scontrol shows it */
#ifndef VMSTEP_CLI_SLURMCONF_H
#define VMSTEP_CLI_SLURMCONF_H

#include <stdbool.h>
#include <stddef.h>

#include "errmsg.h"

struct slurmconf {
	char *text; /* owned; NULL: scontrol does not tell */
};

/* -errno with words where there is no scontrol, or no slurmctld answers. */
int slurmconf_load(struct slurmconf *ret, struct errmsg *err);
void slurmconf_done(struct slurmconf *c);
/* The value of @key, as in "PluginDir"; "" where there is none. */
void slurmconf_get(const struct slurmconf *c, const char *key, char *ret,
		   size_t size);
/* Has @key's value, with commas between its words, the word @word? */
bool slurmconf_has(const struct slurmconf *c, const char *key,
		   const char *word);
/* plugstack.conf: what Slurm says, or where it is if it says nothing. */
void slurmconf_plugstack(const struct slurmconf *c, char *ret, size_t size);

#endif
