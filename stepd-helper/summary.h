/* summary.h - the step's statistics at its end: --vm-verbose, --vm-stats
 *
 * The last task that ends on the node of rank 0 gets what all nodes have
 * counted (pmix-net/tally.h), and says it: as a block of lines, and as a JSON
 * file.
 *
 * Thread: the loop's; nothing else of the task runs any more.
 */
#ifndef VMSTEP_HELPER_SUMMARY_H
#define VMSTEP_HELPER_SUMMARY_H

#include <jansson.h>

#include "errmsg.h"
#include "loop.h"
#include "net.h"
#include "spec.h"
#include "task.h"

#define SUMMARY_MS	 3000 /* for vmstep-net to answer */
#define SUMMARY_WRITE_MS 5000 /* for who reads a FIFO */

/* Can --vm-stats' file be written? It is made, or emptied. Only rank 0's task
 * looks. 0, or -errno with words. */
int summary_check(const struct task *t, const struct spec *s,
		  struct errmsg *err);

/* Ask, and say it, where this task is the one. Runs @l for that. < 0: the file
 * was not written, with words. */
int summary_say(struct loop *l, const struct task *t, const struct spec *s,
		struct net *n, struct errmsg *err);

/* The lines of --vm-verbose, each ended by a newline, to be freed; @step is
 * netjson_report()'s. NULL without memory. */
char *summary_text(const json_t *step);

#endif
