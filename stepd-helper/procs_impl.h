/* procs_impl.h - what the parts of procs share; see procs.h for the contract
 *
 *   procs.c      processes by our agent, and all that is the same for both
 *   procs_qga.c  their start and end by QEMU's
 */
#ifndef VMSTEP_PROCS_IMPL_H
#define VMSTEP_PROCS_IMPL_H

#include <sys/queue.h>

#include "procs.h"
#include "qga_exec.h"

struct waiter {
	SLIST_ENTRY(waiter) next;
	proc_ended_fn fn;
	void *arg;
};

struct proc {
	TAILQ_ENTRY(proc) next;
	struct procs *procs;
	json_int_t id, agents; /* our number, and the agent's */
	json_int_t pid;
	enum proc_state state;
	char *label, *program;
	bool pty;
	int64_t begun_ms, ended_ms;

	unsigned int chan; /* in and out; err is the next */
	int in;		   /* stdin, until the program runs; -1: none */
	bool open[3];	   /* streams that still flow; of 0 nobody waits */
	struct keep *keep[3];
	struct qga_exec *exec; /* by QEMU's agent; NULL: by ours */

	bool exited;	/* proc.exit came */
	bool telling;	/* who waits is being told */
	bool released;	/* meanwhile */
	json_t *result; /* its parameters */
	proc_started_fn started;
	void *arg;
	SLIST_HEAD(, waiter) waiters;
};

struct procs {
	struct loop *loop;
	struct guest *guest;
	TAILQ_HEAD(, proc) list; /* the oldest first */
	unsigned int n_running, n_ended;
	json_int_t last_id;
	void (*watch)(struct proc *p, void *arg); /* NULL: nobody */
	void *watch_arg;
};

/* -- procs.c --------------------------------------------------------------- */

void procs_free_one(struct proc *p);
/* It has ended: its waiters are told, and may free it. */
void procs_end(struct proc *p, enum proc_state state);
/* The same, once its output is delivered or kept, too. */
void procs_end_if_over(struct proc *p);
/* A keep_fn: @p's has ended. */
void procs_on_kept(void *p);
void procs_tell_watch(struct proc *p);

/* -- procs_qga.c ----------------------------------------------------------- */

int procs_start_by_qga(struct proc *p, struct proc_spec *spec);

#endif
