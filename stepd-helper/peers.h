/* peers.h - requests to other tasks of the step, and theirs
 *
 * JSON-RPC over oplink.h. A request of ours is answered exactly once for each
 * task that it is for: by that task; by RPC_E_UNREACHABLE where it did not get
 * there, or the task is lost before it answers (who is waited for for long is
 * asked for a sign of life); by RPC_E_FULL; by RPC_E_TIMEOUT where a time was
 * given. A request is sent once at the most. An answer is sent again if it was
 * lost on its way, or found no room, until its asker is gone: for some seconds
 * as it is, then as an error that says so.
 *
 * What others ask goes to the ops (ops.h), as OPS_TASK.
 *
 * Owns:    the link, requests that wait, answers that have not been taken.
 * Borrows: the loop, the task, the ops.
 * Thread:  the loop's.
 */
#ifndef VMSTEP_HELPER_PEERS_H
#define VMSTEP_HELPER_PEERS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "errmsg.h"
#include "loop.h"
#include "oplink.h"
#include "ops.h"
#include "rankset.h"
#include "rpc.h"
#include "spec.h"
#include "task.h"

#define PEERS_REQUESTS 16384 /* of ours that wait */
#define PEERS_CALLS    4096  /* of one other task's that wait here */
#define PEERS_PROBE_MS 2000  /* between two signs of life */
#define PEERS_SLACK_MS 2000  /* beyond the time that an op was given */
#define PEERS_SHORT    256   /* bytes: so short an answer is never given up */
#define PEERS_BYTES    (64 * 1024 * 1024) /* of answers that are longer */

/* Words of an answer that finds no room. */
#define PEERS_GIVEN_UP \
	"it was answered, but for too long nobody took the answer"

struct peers;

/* @s may be NULL: then tasks have no names. */
int peers_new(struct loop *l, const struct task *t, const struct spec *s,
	      struct ops *ops, struct peers **ret, struct errmsg *err);
/* NULL is fine. Requests of others that wait here are answered to nobody. */
void peers_free(struct peers *p);
/* All that waits for others is answered: our task ends. */
void peers_end(struct peers *p, const char *why);
/* For net_set_ops(). */
struct oplink *peers_link(struct peers *p);

/* Whom @to, a request's parameter, means: a set of ranks, one rank, "all",
 * "others", "self", or the name of VMs with wildcards. NULL: self. -EINVAL with
 * words; -ENOENT: nobody. */
int peers_whom(const struct peers *p, const json_t *to, struct rankset *ret,
	       struct errmsg *err);

/* Ask each rank of @to (borrowed), which are ranks of the step. @fn is called
 * once for each, maybe before this returns; after the last of them with rank
 * UINT32_MAX and no reply. @timeout_ms < 0: none. @params are stolen. */
typedef void (*peers_reply_fn)(uint32_t rank, const struct rpc_reply *reply,
			       void *arg);
void peers_request(struct peers *p, const struct rankset *to,
		   const char *method, json_t *params, int64_t timeout_ms,
		   peers_reply_fn fn, void *arg);
/* Those with @arg: nobody wants to know any more, and the others are told. */
void peers_forget(struct peers *p, const void *arg);

/* Pass @call on to one task, and its answer back. @params are stolen. */
void peers_pass(struct peers *p, uint32_t rank, struct rpc_call *call,
		const char *method, json_t *params);
/* The time that @params give, with some slack; -1: none. */
int64_t peers_timeout(const json_t *params);

/* Messages that are no JSON: whose first byte is another than '{'. */
struct peers_other {
	void (*message)(uint32_t from, const char *data, size_t len, void *arg);
	/* One that @arg has sent by peers_link() has ended so; false: it was
	 * not its. */
	bool (*ended)(uint64_t id, uint32_t rank, enum opmsg_end how,
		      void *arg);
	/* Something has ended: there may be room where there was none. */
	void (*room)(void *arg);
	/* Add to @ret whom it has waited for since before @before_ms: they are
	 * asked for a sign of life. */
	void (*awaited)(int64_t before_ms, struct rankset *ret, void *arg);
	void (*lost)(uint32_t rank, const char *why, void *arg);
	/* To @ret (PEERS_SHORT bytes) what says of an answer of its that it
	 * found no room; returns its length. */
	size_t (*given_up)(const char *data, size_t len, char *ret, void *arg);
};
/* They go to @other, and what is awaited is watched; NULL: to nobody. */
void peers_set_other(struct peers *p, const struct peers_other *other,
		     void *arg);
/* It waits for somebody now. */
void peers_watch(struct peers *p);
/* Such an answer of its: sent again if it is lost on its way. -ENOBUFS: a long
 * one, and as many wait as may; -EMSGSIZE, -ENOMEM. */
int peers_answer(struct peers *p, uint32_t rank, const char *data, size_t len);

/* An ops_router_fn: what has a "to" that is not only us goes there, without it.
 * One rank's answer is the answer, those of a set are {"results": {...}}. */
bool peers_route(struct rpc_call *call, const char *method,
		 const json_t *params, void *peers);

#endif
