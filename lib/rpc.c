#include <config.h>

#include "rpc.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "cleanup.h"

#define CANCEL "rpc.cancel" /* {id}: that request is taken back */

struct rpc_call {
	LIST_ENTRY(rpc_call) next;
	struct rpc *rpc;  /* NULL: who asked is gone */
	json_t *id;	  /* owned; NULL: a notification, nothing is answered */
	rpc_gone_fn gone; /* NULL: nobody is told */
	void *gone_arg;
	rpc_reply_fn answered; /* NULL: nobody is told */
	void *answered_arg;
	bool stays; /* who asked may leave */
};

struct request {
	LIST_ENTRY(request) next;
	json_int_t id;
	rpc_reply_fn fn; /* NULL: nobody wants to know */
	void *arg;
};

struct rpc {
	const struct rpc_method *methods; /* borrowed */
	void *arg;
	rpc_handler_fn handler;
	void *handler_arg;
	rpc_send_fn send;
	void *send_arg;
	LIST_HEAD(, rpc_call) calls;
	unsigned int n_calls, max_calls;
	rpc_room_fn room; /* NULL: nobody waits for it */
	void *room_arg;
	LIST_HEAD(, request) requests;
	json_int_t last_id;
};

struct rpc *rpc_new(const struct rpc_method *methods, void *arg,
		    rpc_send_fn send, void *send_arg)
{
	struct rpc *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->methods = methods;
	r->arg = arg;
	r->send = send;
	r->send_arg = send_arg;
	r->max_calls = RPC_CALLS;
	return r;
}

void rpc_set_limit(struct rpc *r, unsigned int calls)
{
	r->max_calls = calls;
}

bool rpc_has_room(const struct rpc *r)
{
	return r->n_calls < r->max_calls;
}

void rpc_on_room(struct rpc *r, rpc_room_fn fn, void *arg)
{
	r->room = fn;
	r->room_arg = arg;
}

void rpc_set_handler(struct rpc *r, rpc_handler_fn fn, void *arg)
{
	r->handler = fn;
	r->handler_arg = arg;
}

void *rpc_call_origin(const struct rpc_call *call)
{
	return call->rpc ? call->rpc->handler_arg : NULL;
}

void rpc_on_gone(struct rpc_call *call, rpc_gone_fn fn, void *arg)
{
	call->gone = fn;
	call->gone_arg = arg;
}

void rpc_on_answer(struct rpc_call *call, bool stays, rpc_reply_fn fn,
		   void *arg)
{
	call->stays = stays;
	call->answered = fn;
	call->answered_arg = arg;
}

static void tell_answered(struct rpc_call *call, const struct rpc_reply *reply)
{
	rpc_reply_fn fn = call->answered;

	call->answered = NULL;
	if (fn)
		fn(reply, call->answered_arg);
}

static void unlink_call(struct rpc_call *call)
{
	struct rpc *r = call->rpc;

	if (!r)
		return;
	LIST_REMOVE(call, next);
	call->rpc = NULL;
	if (r->n_calls-- == r->max_calls && r->room)
		r->room(r->room_arg);
}

static void tell_gone(struct rpc_call *call)
{
	rpc_gone_fn fn = call->gone;

	call->gone = NULL;
	if (fn)
		fn(call, call->gone_arg);
}

/* Nobody waits for it any more. */
static void abandon(struct rpc_call *call)
{
	unlink_call(call);
	if (!call->stays)
		tell_gone(call);
}

static void forget_calls(struct rpc *r)
{
	struct rpc_call *call;

	while ((call = LIST_FIRST(&r->calls)))
		abandon(call);
}

/* Those that are made meanwhile stay. */
void rpc_forget(struct rpc *r, const char *why)
{
	const struct rpc_reply reply = { .code = RPC_E_UNREACHABLE,
					 .message = why };
	json_int_t last = r->last_id;
	struct request *req, *next;

	forget_calls(r);
	for (req = LIST_FIRST(&r->requests); req; req = next) {
		next = LIST_NEXT(req, next);
		if (req->id > last)
			continue;
		LIST_REMOVE(req, next);
		if (req->fn)
			req->fn(&reply, req->arg);
		free(req);
		next = LIST_FIRST(&r->requests); /* @fn may have ended others */
	}
}

unsigned int rpc_open_calls(const struct rpc *r)
{
	return r->n_calls;
}

void rpc_free(struct rpc *r)
{
	struct request *req;

	if (!r)
		return;
	forget_calls(r);
	while ((req = LIST_FIRST(&r->requests))) {
		LIST_REMOVE(req, next);
		free(req);
	}
	free(r);
}

/* -- out ------------------------------------------------------------------- */

/* @msg is stolen, and may be NULL: no memory for it. */
static int send_json(struct rpc *r, json_t *msg)
{
	_cleanup_free_ char *text = NULL;

	if (!msg)
		return -ENOMEM;
	text = json_dumps(msg, JSON_COMPACT | JSON_ENSURE_ASCII);
	json_decref(msg);
	return text ? r->send(text, strlen(text), r->send_arg) : -ENOMEM;
}

/* @member, "result" or "error", is @value (stolen). */
static int send_answer(struct rpc *r, json_t *id, const char *member,
		       json_t *value)
{
	return send_json(r, json_pack("{s:s, s:O, s:o}", "jsonrpc", "2.0", "id",
				      id, member, value));
}

static int send_error(struct rpc *r, json_t *id, enum rpc_error code,
		      const char *text, json_t *data)
{
	json_t *error =
		json_pack("{s:i, s:s}", "code", (int)code, "message", text);

	if (!error) /* not UTF-8: it repeats what the host said */
		error = json_pack("{s:i, s:s}", "code", (int)code, "message",
				  "unprintable");
	if (data)
		json_object_set_new(error, "data", data);
	return send_answer(r, id, "error", error);
}

static void send_full(struct rpc *r, json_t *id, const char *text)
{
	send_error(r, id, RPC_E_FULL, text,
		   json_pack("{s:s}", "name", rpc_error_name(RPC_E_FULL)));
}

static void call_end(struct rpc_call *call)
{
	unlink_call(call);
	json_decref(call->id);
	free(call);
}

void rpc_result(struct rpc_call *call, json_t *result)
{
	struct rpc_reply reply = { 0 };

	if (!result)
		result = json_object();
	reply.result = result;
	tell_answered(call, &reply);
	if (call->rpc && call->id) {
		int r = send_answer(call->rpc, call->id, "result", result);

		if (r == -EMSGSIZE) /* there has to be an answer */
			send_error(call->rpc, call->id, RPC_INTERNAL,
				   "the result is too long for a message",
				   NULL);
		else if (r == -ENOBUFS)
			send_full(call->rpc, call->id,
				  "too much waits to be read already");
	} else {
		json_decref(result);
	}
	call_end(call);
}

const char *rpc_error_name(enum rpc_error code)
{
	switch (code) {
	case RPC_PARSE:
	case RPC_INVALID_REQUEST:
	case RPC_NO_METHOD:
	case RPC_INVALID_PARAMS:
	case RPC_INTERNAL:
		break;
	case RPC_E_NOTASK:
		return "E_NOTASK";
	case RPC_E_UNREACHABLE:
		return "E_UNREACHABLE";
	case RPC_E_NOAGENT:
		return "E_NOAGENT";
	case RPC_E_TIMEOUT:
		return "E_TIMEOUT";
	case RPC_E_CANCELLED:
		return "E_CANCELLED";
	case RPC_E_PERM:
		return "E_PERM";
	case RPC_E_NOTSUP:
		return "E_NOTSUP";
	case RPC_E_STATE:
		return "E_STATE";
	case RPC_E_BUSY:
		return "E_BUSY";
	case RPC_E_NOENT:
		return "E_NOENT";
	case RPC_E_EXIST:
		return "E_EXIST";
	case RPC_E_TOOBIG:
		return "E_TOOBIG";
	case RPC_E_FULL:
		return "E_FULL";
	case RPC_E_OS:
		return "E_OS";
	case RPC_E_LOST:
		return "E_LOST";
	case RPC_E_GONE:
		return "E_GONE";
	case RPC_E_PROTO:
		return "E_PROTO";
	case RPC_E_QMP:
		return "E_QMP";
	case RPC_E_RANGE:
		return "E_RANGE";
	case RPC_E_OP:
		return "E_OP";
	}
	return NULL;
}

/* @data is stolen. */
static void fail(struct rpc_call *call, int code, const char *text,
		 json_t *data)
{
	const struct rpc_reply reply = {
		.code = code,
		.message = text,
		.what = json_string_value(json_object_get(data, "what")),
		.data = data,
	};

	tell_answered(call, &reply);
	if (call->rpc && call->id)
		send_error(call->rpc, call->id, (enum rpc_error)code, text,
			   data);
	else
		json_decref(data);
	call_end(call);
}

void rpc_cancel(struct rpc_call *call)
{
	static const char words[] = "it was cancelled";
	json_t *data =
		json_pack("{s:s}", "name", rpc_error_name(RPC_E_CANCELLED));
	const struct rpc_reply reply = { .code = RPC_E_CANCELLED,
					 .message = words,
					 .data = data };

	tell_answered(call, &reply);
	if (call->rpc && call->id)
		send_error(call->rpc, call->id, RPC_E_CANCELLED, words,
			   json_incref(data));
	json_decref(data);
	unlink_call(call);
	tell_gone(call);
}

void rpc_fail_os(struct rpc_call *call, enum rpc_error code, int error,
		 const char *what, const char *text)
{
	const char *name = rpc_error_name(code);
	json_t *data = name ? json_pack("{s:s}", "name", name) : NULL;

	if (data && error)
		json_object_set_new(data, "errno", json_integer(error));
	if (data && what)
		json_object_set_new(data, "what", json_string(what));
	fail(call, code, text, data);
}

void rpc_pass_on(struct rpc_call *call, const struct rpc_reply *reply)
{
	const char *name = rpc_error_name((enum rpc_error)reply->code);
	json_t *data = NULL;

	if (reply->result) {
		rpc_result(call, json_deep_copy(reply->result));
		return;
	}
	if (reply->data)
		data = json_deep_copy(reply->data);
	else if (name)
		data = json_pack("{s:s}", "name", name);
	fail(call, reply->code, reply->message, data);
}

void rpc_fail(struct rpc_call *call, enum rpc_error code, const char *text)
{
	rpc_fail_os(call, code, 0, NULL, text);
}

void rpc_failf(struct rpc_call *call, enum rpc_error code, const char *fmt, ...)
{
	char text[ERRMSG_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	rpc_fail(call, code, text);
}

enum rpc_error rpc_error_of(int error)
{
	switch (error) {
	case ENOENT:
	case ESRCH:
		return RPC_E_NOENT;
	case EPERM:
	case EACCES:
		return RPC_E_PERM;
	case ENOSYS:
	case EOPNOTSUPP:
		return RPC_E_NOTSUP;
	case EINVAL:
		return RPC_INVALID_PARAMS;
	case EBUSY:
		return RPC_E_BUSY;
	case EMFILE:
	case ENOBUFS:
	case ENOSPC:
	case EDQUOT:
		return RPC_E_FULL;
	case EEXIST:
	case ENOTEMPTY:
		return RPC_E_EXIST;
	case EBADMSG:
	case ENODATA:
		return RPC_E_PROTO;
	case ECANCELED:
		return RPC_E_CANCELLED;
	case ETIMEDOUT:
		return RPC_E_TIMEOUT;
	default:
		return RPC_E_OS;
	}
}

int rpc_notify(struct rpc *r, const char *method, json_t *params)
{
	return send_json(r, json_pack("{s:s, s:s, s:o}", "jsonrpc", "2.0",
				      "method", method, "params", params));
}

int rpc_request(struct rpc *r, const char *method, json_t *params,
		rpc_reply_fn fn, void *arg)
{
	struct request *req = calloc(1, sizeof(*req));
	int res;

	if (!req) {
		json_decref(params);
		return -ENOMEM;
	}
	req->id = ++r->last_id;
	req->fn = fn;
	req->arg = arg;
	res = send_json(r, json_pack("{s:s, s:I, s:s, s:o}", "jsonrpc", "2.0",
				     "id", req->id, "method", method, "params",
				     params));
	if (res < 0) {
		free(req);
		return res;
	}
	LIST_INSERT_HEAD(&r->requests, req, next);
	return 0;
}

void rpc_forget_request(struct rpc *r, const void *arg)
{
	struct request *req;

	LIST_FOREACH(req, &r->requests, next)
	if (req->arg == arg && req->fn) {
		req->fn = NULL;
		rpc_notify(r, CANCEL, json_pack("{s:I}", "id", req->id));
	}
}

/* -- in -------------------------------------------------------------------- */

static void tell_reply(const struct request *req, const json_t *msg)
{
	const json_t *error = json_object_get(msg, "error");
	const json_t *data = json_object_get(error, "data");
	struct rpc_reply reply = { .result = json_object_get(msg, "result") };

	if (error || !reply.result)
		reply = (struct rpc_reply){
			.code = (int)json_integer_value(
				json_object_get(error, "code")),
			.message = json_string_value(
				json_object_get(error, "message")),
			.what = json_string_value(
				json_object_get(data, "what")),
			.data = json_is_object(data) ? data : NULL,
		};
	if (!reply.result && !reply.code)
		reply.code = RPC_INTERNAL;
	if (!reply.result && !reply.message)
		reply.message = "no reason was given";
	req->fn(&reply, req->arg);
}

static void on_reply(struct rpc *r, const json_t *msg)
{
	const json_t *id = json_object_get(msg, "id");
	struct request *req;

	for (req = LIST_FIRST(&r->requests); req; req = LIST_NEXT(req, next))
		if (json_is_integer(id) && json_integer_value(id) == req->id)
			break;
	if (!req)
		return; /* nothing can be said to that */
	LIST_REMOVE(req, next);
	if (req->fn)
		tell_reply(req, msg);
	free(req);
}

static const struct rpc_method *find_method(const struct rpc *r,
					    const char *name)
{
	const struct rpc_method *m;

	for (m = r->methods; m->name; m++)
		if (strcmp(m->name, name) == 0)
			return m;
	return NULL;
}

static struct rpc_call *call_new(struct rpc *r, json_t *id)
{
	struct rpc_call *call = calloc(1, sizeof(*call));

	if (!call)
		return NULL;
	call->rpc = r;
	call->id = json_incref(id);
	LIST_INSERT_HEAD(&r->calls, call, next);
	r->n_calls++;
	return call;
}

static void on_cancel(struct rpc *r, const json_t *params)
{
	const json_t *id = json_object_get(params, "id");
	struct rpc_call *call;

	LIST_FOREACH(call, &r->calls, next)
	if (id && call->id && json_equal(id, call->id)) {
		abandon(call);
		return;
	}
}

static void refuse_more(struct rpc *r, json_t *id)
{
	struct errmsg text;

	errmsg_say(&text, 0, "%u requests wait for their answers already",
		   r->max_calls);
	send_full(r, id, text.text);
}

static void on_request(struct rpc *r, const json_t *msg, const char *method)
{
	const struct rpc_method *m = find_method(r, method);
	json_t *params = json_object_get(msg, "params");
	json_t *id = json_object_get(msg, "id"), *none = NULL;
	struct rpc_call *call;

	if (!rpc_has_room(r)) {
		if (id)
			refuse_more(r, id);
		return;
	}
	call = call_new(r, id);
	if (!params)
		params = none = json_object();
	if (!call && id)
		send_error(r, id, RPC_INTERNAL, "out of memory", NULL);
	else if (call && !m && !r->handler)
		rpc_fail(call, RPC_NO_METHOD, "no such method");
	else if (call && !json_is_object(params))
		rpc_fail(call, RPC_INVALID_PARAMS, "params: not an object");
	else if (call && m)
		m->fn(call, params, r->arg);
	else if (call)
		r->handler(call, method, params, r->handler_arg);
	json_decref(none);
}

void rpc_refuse(struct rpc *r, enum rpc_error code, const char *text)
{
	const char *name = rpc_error_name(code);

	send_error(r, json_null(), code, text,
		   name ? json_pack("{s:s}", "name", name) : NULL);
}

static bool is_id(const json_t *id)
{
	return !id || json_is_string(id) || json_is_number(id) ||
	       json_is_null(id);
}

void rpc_receive(struct rpc *r, const char *text, size_t len)
{
	json_t *msg = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	const json_t *method = json_object_get(msg, "method");
	const char *version =
		json_string_value(json_object_get(msg, "jsonrpc"));

	if (!msg)
		send_error(r, json_null(), RPC_PARSE, "not JSON", NULL);
	else if (!version || strcmp(version, "2.0") != 0 ||
		 !is_id(json_object_get(msg, "id")) ||
		 (method && !json_is_string(method)))
		send_error(r, json_null(), RPC_INVALID_REQUEST,
			   "not a request of JSON-RPC 2.0", NULL);
	else if (method && strcmp(json_string_value(method), CANCEL) == 0)
		on_cancel(r, json_object_get(msg, "params"));
	else if (method)
		on_request(r, msg, json_string_value(method));
	else
		on_reply(r, msg);
	json_decref(msg);
}
