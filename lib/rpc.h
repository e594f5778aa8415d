/* rpc.h - JSON-RPC 2.0 with a peer: each request is answered exactly once
 *
 * Owns:    the calls that wait for their answer, and our own requests that
 *          wait for the peer's, which are each answered once, too. Borrows the
 *          table of methods.
 *
 * What carries the texts is the caller's: the guest agent's channel to the
 * host, the helper's socket for users, nothing in a fuzz target. The peer is
 * not trusted: what does not parse or fit is answered by an error, and a
 * bounded number of requests wait at once: RPC_E_FULL tells who asks for more.
 */
#ifndef VMSTEP_RPC_H
#define VMSTEP_RPC_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "errmsg.h"

#define RPC_CALLS 64 /* that wait, where rpc_set_limit() says nothing */

enum rpc_error {
	RPC_PARSE = -32700,
	RPC_INVALID_REQUEST = -32600,
	RPC_NO_METHOD = -32601,
	RPC_INVALID_PARAMS = -32602,
	RPC_INTERNAL = -32603,
	RPC_E_NOTASK = 1,
	RPC_E_UNREACHABLE = 2,
	RPC_E_NOAGENT = 3,
	RPC_E_TIMEOUT = 4,
	RPC_E_CANCELLED = 5,
	RPC_E_PERM = 6,
	RPC_E_NOTSUP = 7,
	RPC_E_STATE = 8,
	RPC_E_BUSY = 9,
	RPC_E_NOENT = 10,
	RPC_E_EXIST = 11,
	RPC_E_TOOBIG = 12,
	RPC_E_FULL = 13,
	RPC_E_OS = 14,
	RPC_E_LOST = 15,
	RPC_E_GONE = 16,
	RPC_E_PROTO = 17,
	RPC_E_QMP = 18,
	RPC_E_RANGE = 19,
	RPC_E_OP = 20, /* a kernel's op, or code.run's code, says no */
};

struct rpc;
struct rpc_call; /* a request of the peer's that is not answered yet */

/* Answer @call, now or later, by rpc_result() or one of rpc_fail*(). @params is
 * an object (an empty one where the request had none), borrowed. */
typedef void (*rpc_method_fn)(struct rpc_call *call, const json_t *params,
			      void *arg);
struct rpc_method {
	const char *name; /* NULL ends the table */
	rpc_method_fn fn;
};

/* Send a text. What it returns, rpc_*() hand on; an answer that is too long
 * (-EMSGSIZE), or finds no room (-ENOBUFS), becomes an error that says so. */
typedef int (*rpc_send_fn)(const char *text, size_t len, void *arg);

/* @arg goes to the methods, @send_arg to @send. NULL without memory. */
struct rpc *rpc_new(const struct rpc_method *methods, void *arg,
		    rpc_send_fn send, void *send_arg);
void rpc_free(struct rpc *r); /* NULL is fine */

/* So many requests of the peer's may wait. */
void rpc_set_limit(struct rpc *r, unsigned int calls);
/* May another one come? Who asks this before rpc_receive() has the peer wait
 * instead of having it refused. @fn is called when there is room again. */
bool rpc_has_room(const struct rpc *r);
typedef void (*rpc_room_fn)(void *arg);
void rpc_on_room(struct rpc *r, rpc_room_fn fn, void *arg);

/* What the table does not have goes to @fn, which answers as a method does;
 * rpc_call_origin() is then @arg. Without one it is "no such method". */
typedef void (*rpc_handler_fn)(struct rpc_call *call, const char *method,
			       const json_t *params, void *arg);
void rpc_set_handler(struct rpc *r, rpc_handler_fn fn, void *arg);
/* NULL where who asked is gone, or there is no handler. */
void *rpc_call_origin(const struct rpc_call *call);

/* @fn is called once where who asks @call is gone before it is answered, or has
 * taken it back; it may answer it, which nobody hears. */
typedef void (*rpc_gone_fn)(struct rpc_call *call, void *arg);
void rpc_on_gone(struct rpc_call *call, rpc_gone_fn fn, void *arg);

/* @fn is told once how @call was answered, whoever hears it; then it is gone.
 * With @stays who asked may leave, and it is carried out all the same. */
struct rpc_reply;
typedef void (*rpc_reply_fn)(const struct rpc_reply *reply, void *arg);
void rpc_on_answer(struct rpc_call *call, bool stays, rpc_reply_fn fn,
		   void *arg);
/* Who asked is answered RPC_E_CANCELLED now; who carries it out hears of it by
 * rpc_on_gone(), and what that answers goes nowhere. */
void rpc_cancel(struct rpc_call *call);

/* Requests that are not answered yet. */
unsigned int rpc_open_calls(const struct rpc *r);

void rpc_receive(struct rpc *r, const char *text, size_t len);
/* What came is no text for rpc_receive(): say so. */
void rpc_refuse(struct rpc *r, enum rpc_error code, const char *text);
/* The peer is gone: calls that are still open are answered to nobody, our own
 * requests by RPC_E_UNREACHABLE with the words @why. */
void rpc_forget(struct rpc *r, const char *why);

/* Each ends @call. @result (stolen) NULL means {}. */
void rpc_result(struct rpc_call *call, json_t *result);
void rpc_fail(struct rpc_call *call, enum rpc_error code, const char *text);
void rpc_failf(struct rpc_call *call, enum rpc_error code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* With the errno (positive; 0: none) and what it is about ("user"; NULL) in the
 * error's data. */
void rpc_fail_os(struct rpc_call *call, enum rpc_error code, int error,
		 const char *what, const char *text);

/* @params are stolen, also on failure. */
int rpc_notify(struct rpc *r, const char *method, json_t *params);
/* What a request was answered; all of it is borrowed. */
struct rpc_reply {
	const json_t *result; /* NULL: an error, and what follows is set */
	int code;
	const char *message;
	const char *what;   /* the error's data.what; NULL: none */
	const json_t *data; /* the error's; NULL: none */
};
/* 0, and @fn (NULL: nobody wants to know) is called once with @arg, unless
 * rpc_free() comes first; never from within. @params are stolen, also on
 * failure. */
int rpc_request(struct rpc *r, const char *method, json_t *params,
		rpc_reply_fn fn, void *arg);
/* Requests with @arg: their answers are of no interest any more, and the peer
 * is told so (rpc.cancel): what it would have given away it keeps. */
void rpc_forget_request(struct rpc *r, const void *arg);
/* Answer @call as a request of ours was answered. */
void rpc_pass_on(struct rpc_call *call, const struct rpc_reply *reply);

/* "E_PERM"; NULL for those of JSON-RPC itself. */
const char *rpc_error_name(enum rpc_error code);
/* What an errno comes to where nothing more is known. */
enum rpc_error rpc_error_of(int error);

#endif
