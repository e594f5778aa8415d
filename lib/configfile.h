/* configfile.h - the file of options that --vm-config names
 *
 *	# a comment
 *	image = debian
 *	mem = 2G
 *	[groups]
 *	head = 0
 *	[@head]
 *	mem = 16G
 *	[4-]
 *	capture = frames-%t.pcap
 *
 * A name is an option's, its dashes or underscores. What stands under RANKS, or
 * a group, is for these tasks only. It is read where options are merged, in
 * srun, sbatch and salloc; nodes see what it said.
 */
#ifndef VMSTEP_CONFIGFILE_H
#define VMSTEP_CONFIGFILE_H

#include "errmsg.h"
#include "option.h"

/* Add what @path says to @ret, groups as values of OPT_CONFIG. The words of an
 * error begin with file and line. */
int configfile_load(const char *path, struct optset *ret, struct errmsg *err);

/* @set is one source's: what the files say that it names counts where it says
 * nothing itself, of several the last first. Only groups are left of
 * OPT_CONFIG. */
int configfile_take(struct optset *set, struct errmsg *err);

/* Where @set names a saved step (--vm-restore), what that was started with
 * counts where @set says nothing itself. */
int configfile_take_saved(struct optset *set, struct errmsg *err);

#endif
