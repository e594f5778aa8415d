/* opcat.h - the catalogue of ops
 *
 * An op is a request to a task, answered once. This one table gives the helper
 * who may ask for what, `vmstep ops` its list, vmstep-api(7) its entries and
 * the tests what has to be there.
 */
#ifndef VMSTEP_OPCAT_H
#define VMSTEP_OPCAT_H

#include <stdbool.h>

struct op {
	const char *name;   /* "vm.pause" */
	bool guest;	    /* may a guest ask for it? */
	const char *params; /* "proc, signal, [group]"; "": none */
	const char *help;   /* a line */
};

extern const struct op ops_table[]; /* by name; a NULL name ends it */

const struct op *opcat_find(const char *name); /* NULL: none */
/* Has @op a parameter of that name? ("any": all names.) */
bool opcat_takes(const struct op *op, const char *param);

#endif
