/* qmp.h - QEMU's control socket (QMP, docs/interop/qmp-spec of QEMU)
 *
 * Owns its end of the socket pair. Thread: the loop's. One command is answered
 * after the other, in order. QEMU is trusted no further than its guest: what
 * does not parse, or is longer than 1 MiB, ends the conversation.
 */
#ifndef VMSTEP_QMP_H
#define VMSTEP_QMP_H

#include <jansson.h>

#include "errmsg.h"
#include "loop.h"

struct qmp;

struct qmp_ops {
	/* The greeting came and capabilities are negotiated. */
	void (*ready)(void *arg);
	/* "SHUTDOWN", "RESET", "STOP", ...; @data borrowed, may be NULL. */
	void (*event)(const char *name, json_t *data, void *arg);
	/* The socket closed or was misused; @why says so. Called once. */
	void (*gone)(const char *why, void *arg);
};

/* @result (borrowed) is the "return" of the answer, or NULL with @error the
 * words of QEMU's error. */
typedef void (*qmp_reply_fn)(json_t *result, const char *error, void *arg);

int qmp_new(struct loop *l, int fd, const struct qmp_ops *ops, void *arg,
	    struct qmp **ret, struct errmsg *err); /* takes @fd */
void qmp_free(struct qmp *q);			   /* NULL is fine */

/* Send @command with @args (stolen; NULL for none). @fn may be NULL. Returns 0
 * or -errno, and then @fn is not called. */
int qmp_send(struct qmp *q, const char *command, json_t *args, qmp_reply_fn fn,
	     void *arg);

/* The same with @fd (borrowed), which "getfd" takes. */
int qmp_send_fd(struct qmp *q, const char *command, json_t *args, int fd,
		qmp_reply_fn fn, void *arg);

#endif
