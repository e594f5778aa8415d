/* qga.h - QEMU's guest agent, where a guest has it, over a port of its own
 *
 * The fallback for guests without our agent (the protocol is QEMU's
 * docs/interop/qemu-ga-ref). It does one thing after the other and has no
 * notion of a conversation, so each begins with guest-sync-delimited, and does
 * again when something was not answered in time: what was said before the mark
 * is skipped.
 *
 * Owns:    its end of the port, the requests that wait.
 * Thread:  the loop's.
 *
 * The guest is not trusted: nothing is read while nothing is asked, an answer
 * is at most as long as its request allows, in one line, and of a text in it
 * more than QGA_STRING_MAX is dropped on its way in. At most QGA_QUEUE requests
 * wait, of QGA_QUEUE_BYTES.
 */
#ifndef VMSTEP_QGA_H
#define VMSTEP_QGA_H

#include <jansson.h>
#include <stdbool.h>

#include "errmsg.h"
#include "loop.h"
#include "rpc.h"

#define QGA_QUEUE	64
#define QGA_QUEUE_BYTES (4 << 20)
#define QGA_ANSWER_MAX	(1 << 20) /* bytes of most answers */
/* of a command's end, with its output */
#define QGA_ENDED_MAX (24 << 20)
/* 8 MiB less two bytes, in base64: whole groups of four */
#define QGA_STRING_MAX 11184808
#define QGA_TIMEOUT_MS 10000 /* of most requests */

struct qga;

struct qga_ops {
	/* It answers, and is known. */
	void (*up)(void *arg);
	/* Its port was closed in the guest, or QEMU ended. Only after up(). */
	void (*down)(const char *why, void *arg);
};

int qga_new(struct loop *l, int fd, const struct qga_ops *ops, void *arg,
	    struct qga **ret, struct errmsg *err); /* takes @fd */
void qga_free(struct qga *q); /* NULL is fine; requests are forgotten */

/* QEMU says that a program in the guest has opened its port, or closed it. */
void qga_port(struct qga *q, bool open);

/* Does it answer? Not while it owes an answer that is late. */
bool qga_is_up(const struct qga *q);
/* Has it the port open, as far as is known? */
bool qga_is_open(const struct qga *q);
/* "10.1.2"; what guest-get-osinfo says, an object. Borrowed; NULL: unknown. */
const char *qga_version(const struct qga *q);
const json_t *qga_os(const struct qga *q);
bool qga_is_windows(const struct qga *q);

struct qga_ask {
	const char *command; /* "guest-exec" */
	json_t *args;	     /* stolen, also on failure; NULL: none */
	int64_t timeout_ms;  /* 0: QGA_TIMEOUT_MS; from when it is sent */
	size_t answer_max;   /* 0: QGA_ANSWER_MAX */
	bool mute; /* only an error is answered: its time is up, it is done */
	rpc_reply_fn fn; /* called once, from the loop; NULL: no matter */
	void *arg;
};

/* -ENOTCONN where it is not up, -ENOBUFS where too much waits, -ENOMEM, and
 * then @fn is not called. Errors come with rpc.h's codes: what it does not know
 * or may not do is RPC_E_NOTSUP. */
int qga_ask(struct qga *q, const struct qga_ask *ask);
/* Requests with @arg: their answers are of no interest any more. */
void qga_forget(struct qga *q, const void *arg);
/* All that it was asked is answered by RPC_E_UNREACHABLE: our task ends. */
void qga_forget_all(struct qga *q, const char *why);

#endif
