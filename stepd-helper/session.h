/* session.h - ops on their way: by name, in sessions, and what came of them
 *
 * Each op that the task is asked for passes here (ops_set_gate()) and is known
 * by its opid until it is answered: it can be listed, and cancelled, wherever
 * it is carried out. It belongs to a session: the one it names, or "default".
 * A session carries out max_ops at a time, the others wait; what has to get
 * through (vm.*, proc.signal, task.*, event.*) does not, and where tasks meet
 * (sync.arrive, vm.save.part) they are no ops here, being as many as the step
 * has tasks. With "keep" or an opid of the asker's the answer also goes to the
 * session's outbox (outbox.h), and the op goes on when its asker has left. An
 * opid that is on its way, or kept, is not carried out again: its answer is the
 * same.
 *
 * Owns:    the sessions, the ops' names. Borrows loop, ops, events.
 * Thread:  the loop's.
 */
#ifndef VMSTEP_SESSION_H
#define VMSTEP_SESSION_H

#include <jansson.h>
#include <stdbool.h>

#include "op_event.h"
#include "ops.h"
#include "outbox.h"

#define SESSIONS_MAX	64
#define SESSION_NAME	64   /* bytes, with the NUL; also of an opid */
#define SESSION_QUEUED	256  /* ops that wait for others of a session */
#define SESSION_RUNS	4096 /* ops on their way, of all sessions */
#define SESSION_MAX_OPS 8    /* of one that does not say */

struct sessions;
struct session;

/* It becomes the gate of @ops. @events may be NULL. */
int sessions_new(struct loop *l, struct ops *ops, struct op_event *events,
		 struct sessions **ret);
void sessions_free(struct sessions *s); /* NULL is fine */

/* -- sessions -------------------------------------------------------------- */

/* @name NULL: one is made up. -EEXIST, -ENOBUFS, -ENOMEM. */
int session_open(struct sessions *s, const char *name, struct session **ret);
struct session *session_find(struct sessions *s, const char *name);
struct session *session_next(struct sessions *s, const struct session *after);
/* Its ops are cancelled, or with @detach go on in "default"; how many. */
size_t session_close(struct session *s, bool detach);
const char *session_name(const struct session *s);
json_t *session_json(const struct session *s);
struct outbox *session_outbox(struct session *s);
bool session_is_default(const struct session *s);
/* What of it may be changed; then session_changed(). */
struct session_limits {
	char kernel[SESSION_NAME]; /* of an op.call without one; "": none */
	int64_t max_ops;	   /* 0: any number */
	int64_t ttl_ms;		   /* unused so long it is closed; 0: never */
};
struct session_limits *session_limits(struct session *s);
void session_changed(struct session *s);

/* Called when something has come into the outbox, and when the session ends:
 * then it has to be forgotten. */
struct session_wait {
	LIST_ENTRY(session_wait) link;
	void (*fn)(bool ended, void *arg);
	void *arg;
};
void session_wait(struct session *s, struct session_wait *w);
void session_forget_wait(struct session_wait *w);

/* -- ops ------------------------------------------------------------------- */

/* Those of @session (NULL: all), the oldest first. */
json_t *session_ops(struct sessions *s, const struct session *session);
bool session_has_op(const struct sessions *s, const char *opid);
/* NULL: there is none of that id. */
json_t *session_op(struct sessions *s, const char *opid);
/* Its asker is answered E_CANCELLED, and so is who else waits for it. -ENOENT;
 * -EOPNOTSUPP: it cannot be. */
int session_cancel(struct sessions *s, const char *opid);
size_t session_cancel_all(struct session *s);

#endif
