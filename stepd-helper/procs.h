/* procs.h - processes that this helper has had the agent start in the guest
 *
 * The step's own command is the first of them; the others are users' and other
 * tasks' (proc.start). What one has left, how it ended and the output that was
 * kept, stays until it is released, for the PROCS_KEPT last of them.
 *
 * Where QEMU's agent is the guest's (guest_uses_qga()), it runs them instead
 * (qga_exec.h): their input is read to its end before they start, their output
 * comes when they have ended.
 *
 * Owns:    the processes, and the descriptors that they were given. Borrows
 *          the guest, whose agent runs them.
 * Thread:  the loop's.
 */
#ifndef VMSTEP_PROCS_H
#define VMSTEP_PROCS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "errmsg.h"
#include "keep.h"
#include "loop.h"
#include "rpc.h"

#define PROCS_MAX  256 /* that run */
#define PROCS_KEPT 64  /* that have ended */

struct guest;
struct procs;
struct proc;

enum proc_state {
	PROC_STARTING,
	PROC_RUNNING,
	PROC_ENDED, /* and all its output is delivered, or kept */
	PROC_LOST,  /* its agent is gone: nobody knows how it ended */
};

/* How a start went: @reply is the agent's; where its result is NULL @p is gone
 * after this. */
typedef void (*proc_started_fn)(struct proc *p, const struct rpc_reply *reply,
				void *arg);
/* It is PROC_ENDED or PROC_LOST; once. */
typedef void (*proc_ended_fn)(struct proc *p, void *arg);

struct proc_spec {
	json_t *params; /* the agent's proc.start without channels; stolen */
	/* For stdin, stdout, stderr; -1: none. All are taken, also on failure.
	 * With a pty there is no stderr. */
	int fd[3];
	bool pty;
	/* Where there is no descriptor: bytes of output to keep; 0: none. */
	size_t keep;
	size_t err_tail;   /* of stderr the last so many instead; 0: not */
	const char *label; /* for lists; NULL: none */
	/* It runs already, by this number of the agent's, which lost the host
	 * it had: params have its argv, for lists. */
	json_int_t attach;
	proc_started_fn started; /* NULL: not wanted */
	void *arg;
};

struct procs *procs_new(struct loop *l, struct guest *g); /* NULL: no memory */
void procs_free(struct procs *ps);			  /* NULL is fine */

/* -ENOTCONN without an agent, -EMFILE, -errno. What qga_exec_cannot() names the
 * caller has to refuse before. */
int procs_start(struct procs *ps, struct proc_spec *spec, struct proc **ret);
/* What the agent said: proc.exit's parameters; that it is gone. */
void procs_on_exit(struct procs *ps, const json_t *params);
void procs_on_lost(struct procs *ps, const char *why);

struct proc *procs_find(const struct procs *ps, json_int_t id);
struct proc *procs_first(const struct procs *ps);
struct proc *proc_next(const struct proc *p);

bool proc_has_exited(const struct proc *p); /* what it said may still flow */
json_int_t proc_agents_id(const struct proc *p); /* the agent's number */
const char *proc_program(const struct proc *p);
enum proc_state proc_state(const struct proc *p);
/* 0 to 255 as a shell has it; once it has ended. */
int proc_status(const struct proc *p);
/* Kept output: @which is 1 or 2; NULL: none is kept. */
struct keep *proc_kept(const struct proc *p, int which);

/* Have @fn called for each process when it runs, and when it has ended or is
 * lost; NULL: no more. It leaves the process alone. */
void procs_set_watch(struct procs *ps, void (*fn)(struct proc *p, void *arg),
		     void *arg);

/* Have @fn called when it has ended; at once (from here) where it has. */
int proc_wait(struct proc *p, proc_ended_fn fn, void *arg);
void proc_forget_wait(struct proc *p, const void *arg);

/* Does it wait for the end of its input, which goes as a whole? */
bool proc_reads_input(const struct proc *p);

/* Requests to the agent about it; as rpc_request(). -ESRCH: it has ended;
 * -EOPNOTSUPP: not by QEMU's agent. */
int proc_signal(struct proc *p, json_t *signal, bool group, rpc_reply_fn fn,
		void *arg);
int proc_resize(struct proc *p, int rows, int cols, rpc_reply_fn fn, void *arg);

int proc_usage(struct proc *p, rpc_reply_fn fn, void *arg);

/* {"proc", "state", ...}: vmstep-api(7); with the output kept. */
json_t *proc_json(const struct proc *p, bool output);
/* Forget one that has ended; -EBUSY. */
int proc_release(struct proc *p);

#endif
