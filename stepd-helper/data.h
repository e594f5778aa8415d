/* data.h - has the guest's agent put data in its place, and fetches results
 *
 * data_setup(): the user that --vm-user=me means, then each item of the plan:
 * mounted by the agent; where the guest's kernel cannot, copied into it if it
 * is only to be read. data_collect(): after the command, what is in an output
 * that the guest could not mount is copied out, and what it has written to
 * those that it could is seen to have left it.
 *
 * Copies go through the agent's port as trees (tree.h), at this end by a
 * process of their own (work.h), so that a slow file system stops nobody.
 *
 * Borrows: machine, task, spec, which outlive it. Thread: the loop's.
 */
#ifndef VMSTEP_DATA_H
#define VMSTEP_DATA_H

#include "errmsg.h"
#include "guest.h"
#include "loop.h"
#include "machine.h"

struct data;

int data_new(struct loop *l, const struct task *t, const struct spec *s,
	     struct machine *m, struct data **ret, struct errmsg *err);
void data_free(struct data *d); /* ends what is under way; NULL is fine */

/* The agent has said hello, perhaps not for the first time. @fn is called once;
 * also from within. A setup that is under way begins again, and the earlier
 * @fn is not called. */
void data_setup(struct data *d, guest_done_fn fn, void *arg);
/* The same, of results. */
void data_collect(struct data *d, guest_done_fn fn, void *arg);
/* What is under way is given up, and nobody is told. */
void data_forget(struct data *d);
/* The same: the guest begins anew. The next setup mounts and copies all. */
void data_reset(struct data *d);
/* Is there anything to collect? */
bool data_has_results(const struct data *d);

#endif
