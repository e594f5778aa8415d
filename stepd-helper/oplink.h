/* oplink.h - messages to other tasks' helpers, and from them
 *
 * By way of this node's vmstep-net (lib/opmsg.h). A message arrives whole, once
 * and in order, or does not; for each receiver the sender is told how it ended,
 * exactly once. What vmstep-net had got when it was killed ends as OPMSG_LOST;
 * what it had not goes over the next one.
 *
 * Owns:    the socket to vmstep-net, what has not left or not ended:
 *          OPLINK_MSGS and OPLINK_BYTES at the most.
 * Borrows: the loop.
 * Thread:  the loop's.
 */
#ifndef VMSTEP_HELPER_OPLINK_H
#define VMSTEP_HELPER_OPLINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "errmsg.h"
#include "loop.h"
#include "opmsg.h"

#define OPLINK_MSGS	  16384
#define OPLINK_BYTES	  (64 * 1024 * 1024)
#define OPLINK_RANK_MSGS  1024 /* of these, for one receiver */
#define OPLINK_RANK_BYTES (2 * 1024 * 1024)

struct oplink;

/* All from the loop; they may send, and may not free. */
struct oplink_ops {
	void (*message)(uint32_t from, const char *data, size_t len, void *arg);
	void (*ended)(uint64_t id, uint32_t rank, enum opmsg_end how,
		      void *arg);
};

/* Of task @rank of @nranks. 0 or -ENOMEM. */
int oplink_new(struct loop *l, uint32_t rank, uint32_t nranks,
	       const struct oplink_ops *ops, void *arg, struct oplink **ret,
	       struct errmsg *err);
void oplink_free(struct oplink *o); /* NULL is fine; tells nobody */

/* There is a new vmstep-net: returns its end of a socket, the caller's to give
 * to it; -errno. */
int oplink_connect(struct oplink *o);
/* It was lost; another may follow. */
void oplink_lost(struct oplink *o);
/* None will follow. */
void oplink_over(struct oplink *o);

/* May a message of @len bytes go to @rank now? */
bool oplink_has_room(const struct oplink *o, uint32_t rank, size_t len);
/* A copy of @data to each rank of @to. 0, and ended() is called for each with
 * *id; -EINVAL: @to is empty or has a rank that the step has not; -EMSGSIZE;
 * -E2BIG: @to is too scattered, send to some at a time; -ENOBUFS; -ENOMEM. */
int oplink_send(struct oplink *o, const struct rankset *to, const char *data,
		size_t len, uint64_t *id);

#endif
