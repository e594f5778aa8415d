/* wireup.h - how the nodes of a step find each other: PMIx, once, briefly
 *
 * PMIx is spoken by a thread of its own, since its calls block, and only from
 * PMIx_Init to PMIx_Finalize, both in here: a PMIx client that dies without
 * finalizing makes Slurm kill the whole step, so none of us stays one.
 *
 * Every rank enters one fence. The lowest rank of a node publishes the node's
 * link address and its ranks, or why it has none; rank 0 publishes the step's
 * key. Then each rank that needs it reads one record a node: the next node's
 * record is that of the lowest rank in no record read so far.
 */
#ifndef VMSTEP_WIREUP_H
#define VMSTEP_WIREUP_H

#include <stdbool.h>
#include <stdint.h>

#include "errmsg.h"
#include "loop.h"
#include "netctl.h"
#include "task.h"

struct wireup;

struct wireup_result {
	uint8_t key[NETCTL_KEY_LEN]; /* of the step */
	int table;	 /* a memfd as netctl.h has it; -1 unless @publish */
	uint32_t node;	 /* this node's line in it */
	uint32_t nnodes; /* its lines */
};

/* @error: NULL, or words; @res is then not to be used. */
typedef void (*wireup_done_fn)(struct wireup_result *res, const char *error,
			       void *arg);

/* Has Slurm offered this task PMIx? */
bool wireup_possible(void);

/* @link: what to publish for this node (the lowest local rank only). @fn is
 * called from the loop within @timeout_ms. */
int wireup_start(struct loop *l, const struct task *t, const char *link,
		 int timeout_ms, wireup_done_fn fn, void *arg,
		 struct wireup **ret, struct errmsg *err);
/* Gives up a fence that is still waited for, and waits for the thread to have
 * finalized. NULL is fine. */
void wireup_free(struct wireup *w);

/* Enter the fence only to say that this task has failed: else the other nodes
 * would wait for it until their time is up. Blocks, @timeout_ms at most. */
void wireup_say_failed(const char *why, int timeout_ms);

/* What rank 0 publishes: a mark, and the step's key; or another mark, and why
 * it has failed. Takes a record apart: 0, -ECONNABORTED with the reason, or
 * -EPROTO. For tests, too. */
#define WIREUP_KEY_RECORD (1 + NETCTL_KEY_LEN)
int wireup_key(const char *record, size_t size, uint8_t ret[NETCTL_KEY_LEN],
	       struct errmsg *err);

#endif
