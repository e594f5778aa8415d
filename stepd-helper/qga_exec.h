/* qga_exec.h - a process in the guest, by QEMU's guest agent
 *
 * guest-exec starts it and guest-exec-status is asked until it has ended; all
 * its input goes before it starts, all its output comes when it has ended and
 * everything that it left behind has, too. It runs as the agent does, as a rule
 * as root in /.
 *
 * Owns:   itself and the input's descriptor. Borrows the agent.
 * Thread: the loop's.
 */
#ifndef VMSTEP_QGA_EXEC_H
#define VMSTEP_QGA_EXEC_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "loop.h"
#include "qga.h"

#define QGA_INPUT_MAX (1 << 20) /* bytes */

struct qga_exec;

struct qga_output {
	char *data; /* NULL: none */
	size_t len;
	bool cut; /* there was more */
};

struct qga_exec_ops {
	/* guest-exec was answered: result.pid. Where the result is NULL it is
	 * over; qga_exec_free() may follow from here. */
	void (*started)(const struct rpc_reply *reply, void *arg);
	/* @how (borrowed): {exit} or {signal}; NULL: it was lost, @why has the
	 * words. qga_exec_free() may follow from here. */
	void (*ended)(const json_t *how, const struct qga_output out[2],
		      const char *why, void *arg);
};

/* What of proc.start's parameters is not possible: words, or NULL. */
const char *qga_exec_cannot(const json_t *params);

/* Run @params' argv and env (doc/agent-port.md: proc.start; borrowed). @in is
 * taken, also on failure: its bytes until its end are the input; -1: none. */
int qga_exec_new(struct loop *l, struct qga *q, const json_t *params, int in,
		 const struct qga_exec_ops *ops, void *arg,
		 struct qga_exec **ret);
void qga_exec_free(struct qga_exec *x); /* NULL is fine; it runs on */

/* Does it wait for the end of its input? */
bool qga_exec_reads(const struct qga_exec *x);

/* Send it @signal, a number or a name: by the guest's program kill, as the
 * agent has nothing for that. -ESRCH, or as qga_ask(). */
int qga_exec_signal(struct qga_exec *x, const json_t *signal, rpc_reply_fn fn,
		    void *arg);

#endif
