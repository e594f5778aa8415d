/* cmdline.h - what SPANK does not tell: srun's own arguments
 *
 * A command line is one component, or several (a heterogeneous step) with ":"
 * between them: options of srun's, then the command and its arguments, which
 * are the user's and mean nothing here however they look.
 */
#ifndef VMSTEP_CMDLINE_H
#define VMSTEP_CMDLINE_H

#include <stdbool.h>
#include <stddef.h>

#include "errmsg.h"
#include "option.h"

/* Of one component: from the first argument after the program's name, or after
 * ":", to the one behind srun's last. */
struct cmdline_part {
	size_t from, to;
};

/* The arguments of this process. */
int cmdline_load(struct strings *ret);

/* The first component. Where srun has not parsed it yet its end is found by
 * what we know of srun's options: of one that we do not know, another plugin's,
 * an argument that follows and looks like none is taken for its value. */
struct cmdline_part cmdline_first(const struct strings *args);
/* The one after it; false where there is none. */
bool cmdline_next(const struct strings *args, struct cmdline_part *part);

/* The last `--NAME`, `--NAME=VALUE` or `--NAME VALUE` of @part, where NAME
 * (with its dashes) may be cut down to @least bytes, as getopt_long() allows.
 * NULL where there is none; "" where it has no value. */
const char *cmdline_value(const struct strings *args,
			  const struct cmdline_part *part, const char *name,
			  size_t least);

/* How often @part gives option @id, its name possibly cut down to what no other
 * of ours begins with. */
size_t cmdline_count(const struct strings *args,
		     const struct cmdline_part *part, enum option_id id);

#endif
