#include <config.h>

#include "memhome.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "cleanup.h"
#include "memhome_impl.h"
#include "param.h"

#define MODE 0666 /* where nobody says */

/* One that is under way, from an item here. */
struct copy {
	LIST_ENTRY(copy) link;
	struct memhome *h;
	struct rpc_call *call;
	uint64_t region, item;
};

json_t *memhome_ask(const char *op, const struct mem_who *who, json_t *params)
{
	return json_pack("{s:s, s:I, s:b, s:o}", "op", op, "by",
			 (json_int_t)who->rank, "user", who->user, "params",
			 params);
}

/* -- what is answered ------------------------------------------------------ */

/* What a guest of this node finds in its window. */
static void add_place(const struct visit *v, json_t *o, uint64_t at)
{
	if (memkeep_is_here(v->h->keep, v->who.rank))
		json_object_set_new(o, "at", json_integer((json_int_t)at));
}

static json_t *owner_json(uint32_t owner)
{
	return owner == MEMDIR_USER ? json_string("user") : json_integer(owner);
}

static json_t *mode_json(unsigned int mode)
{
	char text[8];

	snprintf(text, sizeof(text), "%04o", mode);
	return json_string(text);
}

static json_t *region_json(const struct visit *v, const struct region *g)
{
	json_t *o = json_pack(
		"{s:I, s:s, s:I, s:I, s:o, s:o, s:I, s:s}", "region",
		(json_int_t)g->id, "name", g->name, "size",
		(json_int_t)g->bytes, "used", (json_int_t)g->used, "mode",
		mode_json(g->mode), "owner", owner_json(g->owner), "home",
		(json_int_t)v->h->task->rank, "node", v->h->task->node);

	if (o)
		add_place(v, o, g->at);
	return o;
}

static json_t *item_json(const struct visit *v, const struct item *i)
{
	json_t *o = json_pack(
		"{s:I, s:I, s:s, s:I, s:I, s:o, s:o, s:I, s:s}", "region",
		(json_int_t)i->region->id, "item", (json_int_t)i->id, "name",
		i->name, "size", (json_int_t)i->bytes, "offset",
		(json_int_t)i->offset, "mode", mode_json(i->mode), "owner",
		owner_json(i->owner), "home", (json_int_t)v->h->task->rank,
		"node", v->h->task->node);

	if (o)
		add_place(v, o, i->region->at + i->offset);
	return o;
}

static void fail_errno(const struct visit *v, int r, const struct errmsg *err)
{
	enum rpc_error code =
		r == -ENOSPC || r == -EDQUOT ? RPC_E_FULL : rpc_error_of(-r);

	rpc_fail_os(v->call, code, -r, NULL, err->text);
}

/* -- what goes ------------------------------------------------------------- */

static void copy_free(struct copy *c)
{
	LIST_REMOVE(c, link);
	free(c);
}

/* Of that item, or (0) of all of the region. */
static void end_copies(struct memhome *h, uint64_t region, uint64_t item)
{
	struct copy *c, *next;

	for (c = LIST_FIRST(&h->copies); c; c = next) {
		next = LIST_NEXT(c, link);
		if (c->region != region || (item && c->item != item))
			continue;
		memlink_forget(h->link, c);
		rpc_fail(c->call, RPC_E_NOENT,
			 "what was copied was freed meanwhile");
		copy_free(c);
	}
}

/* What was there nobody finds in what comes next. */
static void clear(const struct visit *v, uint64_t at, uint64_t bytes)
{
	struct errmsg err;

	window_clear(memkeep_window(v->h->keep, NULL, &err), at, bytes);
}

/* -- regions --------------------------------------------------------------- */

/* A region that rank 0 is to know by name. */
struct naming {
	struct visit v;
	uint64_t region;
};

static void on_named(uint32_t rank, const struct rpc_reply *reply, void *arg)
{
	struct naming *n = arg;
	struct region *g;

	if (!reply) {
		free(n);
		return;
	}
	g = memdir_region(n->v.dir, n->region);
	if (reply->result && g) {
		rpc_result(n->v.call, region_json(&n->v, g));
		return;
	}
	if (g)
		memdir_region_free(n->v.dir, g);
	if (reply->result)
		rpc_fail(n->v.call, RPC_E_NOENT, "it was destroyed meanwhile");
	else
		rpc_pass_on(n->v.call, reply);
}

static void region_create(struct visit *v)
{
	_cleanup_free_ char *name = NULL;
	unsigned int mode = MODE;
	struct naming *n;
	struct errmsg err;
	uint64_t bytes;
	int r;

	if (!visit_name(v, "name", true, &name) ||
	    !visit_size(v, "size", &bytes) || !visit_mode(v, false, &mode))
		return;
	r = memdir_region_new(v->dir, name, bytes, mode,
			      v->who.user ? MEMDIR_USER : v->who.rank,
			      &v->region, &err);
	if (r < 0) {
		fail_errno(v, r, &err);
		return;
	}
	n = malloc(sizeof(*n));
	if (!n) {
		memdir_region_free(v->dir, v->region);
		rpc_fail(v->call, RPC_INTERNAL, "out of memory");
		return;
	}
	*n = (struct naming){ *v, v->region->id };
	memname_give(v->h->names, name, v->region->id, on_named, n);
}

static void on_unnamed(uint32_t rank, const struct rpc_reply *reply, void *arg)
{
	struct visit *v = arg;

	if (!reply)
		free(v);
	else if (reply->result)
		rpc_result(v->call, NULL);
	else
		rpc_pass_on(v->call, reply);
}

static void region_destroy(struct visit *v)
{
	struct visit *mine;

	if (!visit_region(v) || !visit_owns(v, v->region->owner, "the region"))
		return;
	mine = malloc(sizeof(*mine));
	if (!mine) {
		rpc_fail(v->call, RPC_INTERNAL, "out of memory");
		return;
	}
	*mine = *v;
	end_copies(v->h, v->region->id, 0);
	clear(v, v->region->at, v->region->bytes);
	memname_drop(v->h->names, v->region->name, v->region->id, on_unnamed,
		     mine);
	memdir_region_free(v->dir, v->region);
}

static void region_resize(struct visit *v)
{
	struct errmsg err;
	uint64_t bytes, was;
	int r;

	if (!visit_region(v) || !visit_size(v, "size", &bytes) ||
	    !visit_owns(v, v->region->owner, "the region"))
		return;
	was = v->region->bytes;
	r = memdir_region_resize(v->dir, v->region, bytes, &err);
	if (r < 0) {
		fail_errno(v, r, &err);
		return;
	}
	if (v->region->bytes < was)
		clear(v, v->region->at + v->region->bytes,
		      was - v->region->bytes);
	rpc_result(v->call, region_json(v, v->region));
}

static void region_stat(struct visit *v)
{
	if (visit_region(v))
		rpc_result(v->call, region_json(v, v->region));
}

/* -- items ----------------------------------------------------------------- */

static bool align_of(const struct visit *v, uint64_t *ret)
{
	int64_t align = MEMDIR_ALIGN;
	struct errmsg err;

	if (param_int(v->params, "align", 1, MEMDIR_PAGE, &align, &err) < 0)
		return visit_refuse(v, &err);
	if (align & (align - 1)) {
		errmsg_say(&err, 0, "align: a power of two, up to %d",
			   MEMDIR_PAGE);
		return visit_refuse(v, &err);
	}
	*ret = (uint64_t)align;
	return true;
}

static void alloc(struct visit *v)
{
	_cleanup_free_ char *name = NULL;
	unsigned int mode = MODE;
	uint64_t bytes, align = MEMDIR_ALIGN;
	struct errmsg err;
	int r;

	if (!visit_region(v) || !visit_name(v, "name", false, &name) ||
	    !visit_size(v, "size", &bytes) || !align_of(v, &align) ||
	    !visit_mode(v, false, &mode) ||
	    !visit_may(v, v->region->mode, v->region->owner, 2, "the region"))
		return;
	r = memdir_item_new(v->dir, v->region, name, bytes, align, mode,
			    v->who.user ? MEMDIR_USER : v->who.rank, &v->item,
			    &err);
	if (r < 0)
		fail_errno(v, r, &err);
	else
		rpc_result(v->call, item_json(v, v->item));
}

static void item_stat(struct visit *v)
{
	if (visit_item(v))
		rpc_result(v->call, item_json(v, v->item));
}

static void item_free(struct visit *v)
{
	if (!visit_item(v) || !visit_owns(v, v->item->owner, "the item"))
		return;
	end_copies(v->h, v->region->id, v->item->id);
	clear(v, v->region->at + v->item->offset, v->item->bytes);
	memdir_item_free(v->dir, v->item);
	rpc_result(v->call, NULL);
}

static void chmod_it(struct visit *v)
{
	bool item = json_object_get(v->params, "item");
	unsigned int mode = 0;

	if (!(item ? visit_item(v) : visit_region(v)) ||
	    !visit_mode(v, true, &mode) ||
	    !visit_owns(v, item ? v->item->owner : v->region->owner, "it"))
		return;
	if (item)
		v->item->mode = mode;
	else
		v->region->mode = mode;
	rpc_result(v->call, NULL);
}

/* Where a guest finds it; there is no way to load from another node. */
static void map(struct visit *v)
{
	json_t *o;

	if (!visit_item(v))
		return;
	if (!memkeep_is_here(v->h->keep, v->who.rank)) {
		rpc_failf(
			v->call, RPC_E_NOTSUP,
			"it is in the memory of %s, vm[%" PRIu32
			"]'s node, and not in this node's window: mem.put and mem.get reach it",
			v->h->task->node, v->h->task->rank);
		return;
	}
	o = item_json(v, v->item);
	json_object_set_new(o, "pci", json_string("0000:00:04.0"));
	json_object_set_new(o, "path", json_string("/dev/vmstep-fam"));
	rpc_result(v->call, o);
}

/* -- the window ------------------------------------------------------------ */

static void info(struct visit *v)
{
	struct window *w;
	struct errmsg err;
	json_int_t n = 0;

	w = memkeep_window(v->h->keep, NULL, &err);
	for (const struct region *g = memdir_next(v->dir, NULL); g;
	     g = memdir_next(v->dir, g))
		n++;
	rpc_result(v->call,
		   json_pack("{s:I, s:I, s:I, s:I, s:I, s:s, s:s}", "size",
			     (json_int_t)window_bytes(w), "used",
			     (json_int_t)memdir_used(v->dir), "granule",
			     (json_int_t)MEMDIR_PAGE, "regions", n, "home",
			     (json_int_t)v->h->task->rank, "node",
			     v->h->task->node, "pci", "0000:00:04.0"));
}

static void scratch(struct visit *v)
{
	uint64_t at, bytes;
	struct errmsg err;
	int r;

	if (!memkeep_is_here(v->h->keep, v->who.rank)) {
		rpc_fail(v->call, RPC_E_NOTSUP,
			 "scratch is the own node's tasks'");
		return;
	}
	r = memdir_scratch(v->dir, v->who.rank, &at, &bytes, &err);
	if (r < 0)
		fail_errno(v, r, &err);
	else
		rpc_result(v->call,
			   json_pack("{s:I, s:I}", "at", (json_int_t)at, "size",
				     (json_int_t)bytes));
}

/* -- copies ---------------------------------------------------------------- */

static void on_copied(const struct memlink_want *want, int code,
		      const char *text, uint32_t done, void *arg)
{
	struct copy *c = arg;

	if (code)
		rpc_fail(c->call, (enum rpc_error)code, text);
	else
		rpc_result(c->call,
			   json_pack("{s:I}", "bytes", (json_int_t)want->elem));
	copy_free(c);
}

static void on_copy_gone(struct rpc_call *call, void *arg)
{
	struct copy *c = arg;

	memlink_forget(c->h->link, c);
	rpc_result(call, NULL);
	copy_free(c);
}

static bool take_copy(struct visit *v, struct memlink_want *want)
{
	int64_t offset = 0, to = 0;
	struct errmsg err;
	uint64_t bytes;

	if (param_int(v->params, "offset", 0, SIZE_MAX_BYTES, &offset, &err) <
		    0 ||
	    param_int(v->params, "dst_offset", 0, SIZE_MAX_BYTES, &to, &err) <
		    0)
		return visit_refuse(v, &err);
	if (!visit_size(v, "size", &bytes) ||
	    !visit_may(v, v->region->mode & v->item->mode, v->item->owner, 4,
		       "the item"))
		return false;
	if ((uint64_t)offset > v->item->bytes ||
	    bytes > v->item->bytes - (uint64_t)offset) {
		rpc_failf(v->call, RPC_E_RANGE,
			  "%" PRIu64 " bytes at %" PRId64
			  " of an item of %" PRIu64,
			  bytes, offset, v->item->bytes);
		return false;
	}
	*want = (struct memlink_want){
		.kind = MEMWIRE_PUT,
		.who = v->who,
		.region = (uint64_t)json_integer_value(
			json_object_get(v->params, "dst_region")),
		.item = (uint64_t)json_integer_value(
			json_object_get(v->params, "dst_item")),
		.offset = (uint64_t)to,
		.elem = bytes,
		.count = 1,
		.at = v->region->at + v->item->offset + (uint64_t)offset,
	};
	return true;
}

/* From the home of what is copied, which is here. */
static void copy(struct visit *v)
{
	struct memlink_want want;
	struct copy *c;

	if (!visit_item(v) || !take_copy(v, &want))
		return;
	c = malloc(sizeof(*c));
	if (!c || memlink_begin(v->h->link, &want, on_copied, c) < 0) {
		free(c);
		rpc_fail(v->call, RPC_E_FULL, "too many transfers of memory");
		return;
	}
	*c = (struct copy){ .h = v->h,
			    .call = v->call,
			    .region = v->region->id,
			    .item = v->item->id };
	LIST_INSERT_HEAD(&v->h->copies, c, link);
	rpc_on_gone(v->call, on_copy_gone, c);
}

/* -- mem.home -------------------------------------------------------------- */

static const struct visit_kind {
	const char *op;
	void (*fn)(struct visit *v);
} visits[] = {
	{ "alloc", alloc },
	{ "chmod", chmod_it },
	{ "copy", copy },
	{ "free", item_free },
	{ "info", info },
	{ "lookup", item_stat },
	{ "map", map },
	{ "region.create", region_create },
	{ "region.destroy", region_destroy },
	{ "region.resize", region_resize },
	{ "region.stat", region_stat },
	{ "scratch", scratch },
	{ 0 },
};

static int parse_who(const json_t *params, struct mem_who *ret,
		     struct errmsg *err)
{
	int64_t by = -1;
	int r = param_int(params, "by", 0, UINT32_MAX, &by, err);

	if (r == 0)
		r = param_bool(params, "user", &ret->user, err);
	if (r == 0 && by < 0)
		r = errmsg_say(err, -EINVAL, "by: who asks?");
	ret->rank = (uint32_t)by;
	return r;
}

static void mem_home(struct rpc_call *call, const json_t *params, void *arg)
{
	struct memhome *h = arg;
	struct visit v = {
		.h = h,
		.call = call,
		.params = json_object_get(params, "params"),
	};
	const char *op = json_string_value(json_object_get(params, "op"));
	const struct visit_kind *k = visits;
	struct errmsg err;
	int r;

	if (parse_who(params, &v.who, &err) < 0) {
		rpc_fail(call, RPC_INVALID_PARAMS, err.text);
		return;
	}
	if (memkeep_keeper(h->keep) != h->task->rank) {
		peers_pass(h->peers, memkeep_keeper(h->keep), call, "mem.home",
			   json_copy((json_t *)(uintptr_t)params));
		return;
	}
	v.dir = memkeep_dir(h->keep, &r, &err);
	if (!v.dir) {
		fail_errno(&v, r, &err);
		return;
	}
	while (op && k->op && strcmp(k->op, op) != 0)
		k++;
	if (op && k->op && json_is_object(v.params))
		k->fn(&v);
	else
		rpc_fail(call, RPC_INVALID_PARAMS, "op: nothing of memory's");
}

const struct rpc_method memhome_methods[] = {
	{ "mem.home", mem_home },
	{ 0 },
};

int memhome_new(const struct task *t, struct peers *p, struct memkeep *k,
		struct memlink *l, struct ops *ops, struct memhome **ret)
{
	struct memhome *h = calloc(1, sizeof(*h));
	int r = -ENOMEM;

	if (h)
		r = memname_new(t, p, ops, &h->names);
	if (r == 0)
		r = ops_add(ops, memhome_methods, h);
	if (r < 0) {
		memhome_free(h);
		return r;
	}
	h->task = t;
	h->peers = p;
	h->keep = k;
	h->link = l;
	*ret = h;
	return 0;
}

void memhome_free(struct memhome *h)
{
	if (!h)
		return;
	memname_free(h->names);
	free(h);
}
