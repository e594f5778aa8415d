#include <config.h>

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "memword.h"
#include "op_mem.h"
#include "op_mem_impl.h"
#include "param.h"

#define FAR	  (INT64_MAX / 2)
#define ELEMS_MAX (1 << 20) /* with indices */
#define QUIET_MS  60000

/* A request about data, until it is answered. */
struct ask {
	struct op_mem *m;
	struct rpc_call *call; /* NULL: it was answered, or nobody asks */
	enum ops_who who;
	int type;	/* of a word; -1: no word */
	bool in_window; /* not in the answer */
};

struct quiet {
	LIST_ENTRY(quiet) link;
	struct op_mem *m;
	struct rpc_call *call;
	enum ops_who who;
	uint64_t upto; /* transfers */
	struct loop_timer *timer;
};

static enum ops_who who_of(const struct rpc_call *call)
{
	const struct ops_origin *from = rpc_call_origin(call);

	return from ? from->who : OPS_TASK;
}

/* -- answers --------------------------------------------------------------- */

static json_t *result_of(const struct ask *a, const struct memlink_want *w,
			 uint32_t done)
{
	struct memword_entry e;
	json_t *was;

	if (a->type >= 0) {
		memcpy(&e, w->data, sizeof(e));
		was = w->fetch ? op_mem_word_to_json((enum memword_type)a->type,
						     le64toh(e.value))
			       : NULL;
		return was ? json_pack("{s:o}", "old", was) : json_object();
	}
	if (w->kind == MEMWIRE_ATOMIC && (a->in_window || !w->fetch))
		return json_pack("{s:I}", "done", (json_int_t)done);
	if (w->kind == MEMWIRE_ATOMIC)
		return json_pack(
			"{s:I, s:o}", "done", (json_int_t)done, "data",
			param_from_bytes(w->data, (size_t)memlink_bytes(w)));
	if (w->kind == MEMWIRE_GET && !a->in_window)
		return json_pack(
			"{s:I, s:o}", "bytes", (json_int_t)memlink_bytes(w),
			"data",
			param_from_bytes(w->data, (size_t)memlink_bytes(w)));
	return json_pack("{s:I}", "bytes", (json_int_t)memlink_bytes(w));
}

static void note_late(struct ask *a, int code, const char *text)
{
	struct late *late = &a->m->late[a->who];

	if (late->failed++)
		return;
	late->code = code;
	errmsg_say(&late->err, 0, "%s", text);
}

static void on_done(const struct memlink_want *w, int code, const char *text,
		    uint32_t done, void *arg)
{
	struct ask *a = arg;

	if (!a->call && code)
		note_late(a, code, text);
	else if (a->call && code)
		rpc_fail_os(a->call, (enum rpc_error)code, 0, NULL, text);
	else if (a->call)
		rpc_result(a->call, result_of(a, w, done));
	free(a);
}

static void on_gone(struct rpc_call *call, void *arg)
{
	struct ask *a = arg;

	memlink_forget(a->m->link, a);
	rpc_result(call, NULL);
	free(a);
}

static void begin(struct op_mem *m, struct rpc_call *call,
		  struct memlink_want *w, int type, bool in_window, bool wait)
{
	struct ask *a = malloc(sizeof(*a));
	int r = a ? 0 : -ENOMEM;

	if (r == 0) {
		*a = (struct ask){ m, wait ? call : NULL, who_of(call), type,
				   in_window };
		r = memlink_begin(m->link, w, on_done, a);
	}
	if (r < 0) {
		free(a);
		free(w->index);
		free(w->data);
		rpc_fail(
			call,
			r == -EBUSY   ? RPC_E_FULL
			: r == -E2BIG ? RPC_E_TOOBIG
				      : RPC_INTERNAL,
			r == -EBUSY ? "too many transfers of memory"
			: r == -E2BIG
				? "elements have 256 KiB at most, a batch 8192 entries"
				: "out of memory");
	} else if (wait) {
		rpc_on_gone(call, on_gone, a);
	} else {
		rpc_result(call, NULL);
	}
}

/* -- this node's end ------------------------------------------------------- */

static bool refuse(struct rpc_call *call, const struct errmsg *err)
{
	rpc_fail(call, RPC_INVALID_PARAMS, err->text);
	return false;
}

static bool window_place(struct op_mem *m, struct rpc_call *call,
			 const struct memlink_want *w)
{
	uint64_t bytes = memlink_bytes(w);
	struct window *window;
	struct errmsg err;
	int r;

	window = memkeep_window(m->keep, &r, &err);
	if (!window)
		rpc_fail_os(call, rpc_error_of(-r), -r, NULL, err.text);
	else if (who_of(call) == OPS_TASK)
		rpc_fail(
			call, RPC_E_PERM,
			"at: of the window of the task that asks; leave 'to' out");
	else if (!window_has(window, w->at, bytes))
		rpc_failf(call, RPC_E_RANGE,
			  "%" PRIu64 " bytes at %" PRIu64
			  " of a window of %" PRIu64,
			  bytes, w->at, window_bytes(window));
	else if (ops_is_guest(call) && memlink_uses(m->link, w->at, bytes))
		rpc_fail(
			call, RPC_E_BUSY,
			"that piece of the window is in use by a request that was not answered");
	else
		return true;
	return false;
}

/* Bytes that came with the request, or are to go with the answer. */
static bool own_bytes(struct rpc_call *call, const json_t *params,
		      struct memlink_want *w)
{
	size_t len = 0;
	struct errmsg err;

	if (w->kind != MEMWIRE_GET &&
	    (param_bytes(params, "data", &w->data, &len, &err) < 0 ||
	     !w->data)) {
		rpc_fail(
			call, RPC_INVALID_PARAMS,
			"data: a text, or {\"b64\": ...}; or at: where in the window?");
		return false;
	}
	if (w->kind == MEMWIRE_PUT && w->count == 1 && !w->elem)
		w->elem = len;
	if (memlink_bytes(w) > OP_MEM_DATA) {
		rpc_fail(call, RPC_E_TOOBIG,
			 "more than 64 KiB: by the window, at");
		return false;
	}
	if (w->kind != MEMWIRE_GET && len != memlink_bytes(w)) {
		rpc_failf(call, RPC_INVALID_PARAMS,
			  "data: it has %zu bytes, the elements %" PRIu64, len,
			  memlink_bytes(w));
		return false;
	}
	if (w->kind == MEMWIRE_GET)
		w->data = malloc(OP_MEM_DATA);
	if (!w->data)
		rpc_fail(call, RPC_INTERNAL, "out of memory");
	return w->data;
}

/* *ret: is it in the window? */
static bool own_end(struct op_mem *m, struct rpc_call *call,
		    const json_t *params, struct memlink_want *w, bool *ret)
{
	int64_t at = -1;
	struct errmsg err;

	if (param_int(params, "at", 0, FAR, &at, &err) < 0)
		return refuse(call, &err);
	*ret = at >= 0;
	if (!*ret)
		return own_bytes(call, params, w);
	if (json_object_get(params, "data")) {
		errmsg_say(&err, 0, "data or at, not both");
		return refuse(call, &err);
	}
	w->at = (uint64_t)at;
	return window_place(m, call, w);
}

/* -- the other end --------------------------------------------------------- */

static bool number(struct rpc_call *call, const json_t *params,
		   const char *name, int64_t min, int64_t max, uint64_t *ret)
{
	int64_t n = (int64_t)*ret;
	struct errmsg err;

	if (param_int(params, name, min, max, &n, &err) < 0)
		return refuse(call, &err);
	*ret = (uint64_t)n;
	return true;
}

static struct memlink_want want(struct op_mem *m, struct rpc_call *call,
				const json_t *params, uint8_t kind)
{
	return (struct memlink_want){
		.kind = kind,
		.who = op_mem_who(m, call),
		.region = (uint64_t)json_integer_value(
			json_object_get(params, "region")),
		.item = (uint64_t)json_integer_value(
			json_object_get(params, "item")),
		.count = 1,
	};
}

static void transfer(struct op_mem *m, struct rpc_call *call,
		     const json_t *params, struct memlink_want *w)
{
	struct errmsg err;
	bool wait = true, in_window;

	if (param_bool(params, "wait", &wait, &err) < 0) {
		refuse(call, &err);
	} else if (own_end(m, call, params, w, &in_window)) {
		if (wait || in_window || w->kind == MEMWIRE_PUT) {
			begin(m, call, w, -1, in_window, wait);
			return;
		}
		rpc_fail(call, RPC_INVALID_PARAMS,
			 "wait: where is what is got to go? say at");
	}
	free(w->index);
	free(w->data);
}

static void put_or_get(struct op_mem *m, struct rpc_call *call,
		       const char *method, const json_t *params, uint8_t kind)
{
	struct memlink_want w;

	if (!op_mem_resolved(m, call, method, params, true))
		return;
	w = want(m, call, params, kind);
	if (!number(call, params, "offset", 0, FAR, &w.offset) ||
	    !number(call, params, "size", 0, FAR, &w.elem))
		return;
	if (!json_object_get(params, "size") &&
	    !json_object_get(params, "data"))
		rpc_fail(call, RPC_INVALID_PARAMS, "size: how many bytes?");
	else
		transfer(m, call, params, &w);
}

static void mem_put(struct rpc_call *call, const json_t *params, void *arg)
{
	put_or_get(arg, call, "mem.put", params, MEMWIRE_PUT);
}

static void mem_get(struct rpc_call *call, const json_t *params, void *arg)
{
	put_or_get(arg, call, "mem.get", params, MEMWIRE_GET);
}

/* -- scatter and gather ---------------------------------------------------- */

static bool take_indices(struct rpc_call *call, const json_t *list,
			 struct memlink_want *w)
{
	size_t n = json_array_size(list);

	if (!json_is_array(list) || !n || n > ELEMS_MAX) {
		rpc_failf(call, RPC_INVALID_PARAMS,
			  "index: a list of 1 to %d numbers", ELEMS_MAX);
		return false;
	}
	w->index = calloc(n, sizeof(*w->index));
	if (!w->index) {
		rpc_fail(call, RPC_INTERNAL, "out of memory");
		return false;
	}
	for (size_t i = 0; i < n; i++) {
		const json_t *v = json_array_get(list, i);

		if (!json_is_integer(v) || json_integer_value(v) < 0) {
			rpc_failf(call, RPC_INVALID_PARAMS,
				  "index: number %zu is none", i);
			return false;
		}
		w->index[i] = (uint64_t)json_integer_value(v);
	}
	w->count = n;
	return true;
}

/* Elements at @first, and every @stride further: both count elements. The last
 * of them has a place, too, which no sum on the way there wraps. */
static bool take_stride(struct rpc_call *call, const json_t *params,
			struct memlink_want *w)
{
	uint64_t first = 0, stride = 1, last;

	if (!number(call, params, "count", 1, FAR, &w->count) ||
	    !number(call, params, "first", 0, FAR, &first) ||
	    !number(call, params, "stride", 1, FAR, &stride))
		return false;
	if (__builtin_mul_overflow(stride, w->elem, &w->stride) ||
	    __builtin_mul_overflow(first, w->elem, &first) ||
	    __builtin_add_overflow(w->offset, first, &w->offset) ||
	    __builtin_mul_overflow(w->count, w->stride, &last) ||
	    __builtin_add_overflow(w->offset, last, &last) ||
	    memlink_bytes(w) > FAR) {
		rpc_fail(call, RPC_E_RANGE, "elements beyond all items");
		return false;
	}
	return true;
}

static void spread(struct op_mem *m, struct rpc_call *call, const char *method,
		   const json_t *params, uint8_t kind)
{
	const json_t *index = json_object_get(params, "index");
	struct memlink_want w;

	if (!op_mem_resolved(m, call, method, params, true))
		return;
	w = want(m, call, params, kind);
	if (!number(call, params, "offset", 0, FAR, &w.offset) ||
	    !number(call, params, "elem", 1, MEMWIRE_DATA, &w.elem))
		return;
	if (!w.elem) {
		rpc_fail(call, RPC_INVALID_PARAMS,
			 "elem: how many bytes has an element?");
		return;
	}
	if (index ? take_indices(call, index, &w)
		  : take_stride(call, params, &w))
		transfer(m, call, params, &w);
	else
		free(w.index);
}

static void mem_scatter(struct rpc_call *call, const json_t *params, void *arg)
{
	spread(arg, call, "mem.scatter", params, MEMWIRE_PUT);
}

static void mem_gather(struct rpc_call *call, const json_t *params, void *arg)
{
	spread(arg, call, "mem.gather", params, MEMWIRE_GET);
}

/* -- atomics --------------------------------------------------------------- */

static bool take_value(struct rpc_call *call, const json_t *params,
		       const char *name, int type, bool must, uint64_t *ret)
{
	const json_t *v = json_object_get(params, name);

	if ((v || must) &&
	    op_mem_word_from_json(v, (enum memword_type)type, ret) < 0) {
		rpc_failf(call, RPC_INVALID_PARAMS, "%s: not of type %s", name,
			  memword_types[type]);
		return false;
	}
	return true;
}

static bool take_word(struct rpc_call *call, const json_t *params,
		      struct memword_entry *e, int *type, bool *fetch)
{
	uint64_t value = 0, cmp = 0, offset = 0;
	struct errmsg err;
	int op = -1;

	*type = MEMWORD_U64;
	if (param_word(params, "op", memword_ops, &op, &err) < 0 ||
	    param_word(params, "type", memword_types, type, &err) < 0 ||
	    param_bool(params, "fetch", fetch, &err) < 0)
		return refuse(call, &err);
	if (op < 0 || memword_check((unsigned int)op, (unsigned int)*type)) {
		errmsg_say(&err, 0, "op: none, or not for that type");
		return refuse(call, &err);
	}
	if (!take_value(call, params, "value", *type, op != MEMWORD_FETCH,
			&value) ||
	    !take_value(call, params, "cmp", *type, op == MEMWORD_CAS, &cmp) ||
	    !number(call, params, "offset", 0, FAR, &offset))
		return false;
	e->offset = htole64(offset);
	e->op = (uint8_t)op;
	e->type = (uint8_t)*type;
	e->value = htole64(value);
	e->cmp = htole64(cmp);
	return true;
}

static void mem_atomic(struct rpc_call *call, const json_t *params, void *arg)
{
	struct memword_entry e = { 0 };
	struct op_mem *m = arg;
	struct memlink_want w;
	bool fetch = true;
	int type;

	if (!op_mem_resolved(m, call, "mem.atomic", params, true) ||
	    !take_word(call, params, &e, &type, &fetch))
		return;
	w = want(m, call, params, MEMWIRE_ATOMIC);
	w.fetch = fetch;
	w.elem = sizeof(e);
	w.data = malloc(sizeof(e));
	if (!w.data) {
		rpc_fail(call, RPC_INTERNAL, "out of memory");
		return;
	}
	memcpy(w.data, &e, sizeof(e));
	begin(m, call, &w, type, false, true);
}

/* Entries in the window, or in the request: each is applied once, in their
 * order. */
static void mem_batch(struct rpc_call *call, const json_t *params, void *arg)
{
	struct op_mem *m = arg;
	struct memlink_want w;
	struct errmsg err;
	bool fetch = false, in_window;

	if (!op_mem_resolved(m, call, "mem.batch", params, true))
		return;
	w = want(m, call, params, MEMWIRE_ATOMIC);
	w.elem = MEMWORD_ENTRY;
	if (!number(call, params, "n", 1, MEMWIRE_COUNT, &w.count))
		return;
	if (param_bool(params, "fetch", &fetch, &err) < 0)
		refuse(call, &err);
	else if (!json_object_get(params, "n"))
		rpc_fail(call, RPC_INVALID_PARAMS, "n: how many?");
	else if (own_end(m, call, params, &w, &in_window)) {
		w.fetch = fetch;
		begin(m, call, &w, -1, in_window, true);
	} else {
		free(w.data);
	}
}

/* -- order ----------------------------------------------------------------- */

static void quiet_free(struct quiet *q)
{
	LIST_REMOVE(q, link);
	loop_timer_free(q->timer);
	free(q);
}

static void quiet_answer(struct quiet *q)
{
	struct late *late = &q->m->late[q->who];
	struct errmsg text;

	if (late->failed) {
		errmsg_say(&text, 0, "%u failed, first: %s", late->failed,
			   late->err.text);
		rpc_fail(q->call, (enum rpc_error)late->code, text.text);
	} else {
		rpc_result(q->call, json_pack("{s:i}", "pending", 0));
	}
	*late = (struct late){ 0 };
	quiet_free(q);
}

/* A transfer has ended. */
void op_mem_end_quiets(void *arg)
{
	struct op_mem *m = arg;
	struct quiet *q, *next;

	for (q = LIST_FIRST(&m->quiets); q; q = next) {
		next = LIST_NEXT(q, link);
		if (!memlink_has(m->link, q->upto))
			quiet_answer(q);
	}
}

static void on_quiet_timeout(void *arg)
{
	struct quiet *q = arg;

	rpc_failf(q->call, RPC_E_TIMEOUT, "%zu transfers are under way",
		  memlink_pending(q->m->link));
	quiet_free(q);
}

static void on_quiet_gone(struct rpc_call *call, void *arg)
{
	rpc_result(call, NULL);
	quiet_free(arg);
}

/* All that was begun before is done: so fence, which wants less, is the same.
 */
static void mem_quiet(struct rpc_call *call, const json_t *params, void *arg)
{
	struct op_mem *m = arg;
	int64_t ms = QUIET_MS;
	struct errmsg err;
	struct quiet *q;

	if (param_int(params, "timeout_ms", 0, INT32_MAX, &ms, &err) < 0) {
		refuse(call, &err);
		return;
	}
	q = calloc(1, sizeof(*q));
	if (!q || loop_timer_add(m->loop, ms, on_quiet_timeout, q, &q->timer)) {
		free(q);
		rpc_fail(call, RPC_INTERNAL, "out of memory");
		return;
	}
	q->m = m;
	q->call = call;
	q->who = who_of(call);
	q->upto = memlink_last(m->link);
	rpc_on_gone(call, on_quiet_gone, q);
	LIST_INSERT_HEAD(&m->quiets, q, link);
	op_mem_end_quiets(m);
}

static void mem_progress(struct rpc_call *call, const json_t *params, void *arg)
{
	const struct op_mem *m = arg;

	rpc_result(call, json_pack("{s:I}", "pending",
				   (json_int_t)memlink_pending(m->link)));
}

const struct rpc_method op_mem_data_methods[] = {
	{ "mem.atomic", mem_atomic },	{ "mem.batch", mem_batch },
	{ "mem.fence", mem_quiet },	{ "mem.gather", mem_gather },
	{ "mem.get", mem_get },		{ "mem.progress", mem_progress },
	{ "mem.put", mem_put },		{ "mem.quiet", mem_quiet },
	{ "mem.scatter", mem_scatter }, { 0 },
};

void op_mem_data_done(struct op_mem *m)
{
	struct quiet *q;

	while ((q = LIST_FIRST(&m->quiets))) {
		rpc_fail(q->call, RPC_E_GONE, "the task has ended");
		quiet_free(q);
	}
}
