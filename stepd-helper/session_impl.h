/* session_impl.h - what session.c and session_run.c share; see session.h
 *
 *	session.c      sessions: limits, ends, who waits for results
 *	session_run.c  ops on their way: the gate, queues, cancellation
 */
#ifndef VMSTEP_SESSION_IMPL_H
#define VMSTEP_SESSION_IMPL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "session.h"

/* Another asker of an op that is on its way. */
struct follower {
	LIST_ENTRY(follower) link;
	struct rpc_call *call;
};

/* An op on its way. */
struct run {
	TAILQ_ENTRY(run) link;
	struct session *session;
	struct rpc_call *call; /* NULL: answered */
	const char *who;
	char id[SESSION_NAME];
	char *method;
	json_t *params; /* while it waits; NULL: it is carried out */
	bool counts;	/* as one of max_ops */
	bool keep;
	int64_t begun_ms;
	LIST_HEAD(, follower) followers;
};

struct session {
	LIST_ENTRY(session) link;
	struct sessions *all;
	char name[SESSION_NAME];
	struct session_limits limits;
	size_t running, queued, total;
	int64_t used_ms;
	struct outbox *outbox;
	LIST_HEAD(, session_wait) waits;
};

struct sessions {
	struct loop *loop;
	struct ops *ops;
	struct op_event *events;
	struct session *fallback; /* "default" */
	LIST_HEAD(, session) list;
	size_t n;
	TAILQ_HEAD(runs, run) runs; /* the oldest first */
	size_t n_runs;
	uint64_t boot_id, last_op, last_session;
	struct loop_timer *go, *due;
};

/* -- session.c ------------------------------------------------------------- */

/* Have the timer look at what will be too old next. */
void session_plan(struct sessions *all);
/* Something has come into the outbox. */
void session_kept(struct session *s);

/* -- session_run.c --------------------------------------------------------- */

/* An ops_gate_fn. */
void session_gate(struct rpc_call *call, const char *method,
		  const json_t *params, void *sessions);
/* A loop_timer_fn: begin what may begin. */
void session_go(void *sessions);
/* Its ops are those of "default". */
void session_detach_all(struct session *s);
/* All that is on its way is forgotten: the task ends. */
void session_end_runs(struct sessions *all);

#endif
