#include <config.h>

#include "vmfam_impl.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "memword.h"

static_assert((int)VMFAM_CAS == MEMWORD_CAS && (int)VMFAM_F64 == MEMWORD_F64,
	      "they are the same");

enum way { PUT, GET };

static json_t *params_of(const struct vmfam_item *i)
{
	return json_pack("{s:I, s:I}", "region", (json_int_t)i->region, "item",
			 (json_int_t)i->item);
}

static void set(json_t *params, const char *key, uint64_t n)
{
	json_object_set_new(params, key, json_integer((json_int_t)n));
}

static int check(struct vmfam *f, const struct vmfam_item *i, uint64_t offset,
		 uint64_t len)
{
	if (offset <= i->size && len <= i->size - offset)
		return 0;
	return vmfam_say(f, -ERANGE, "%llu bytes at %llu of an item of %llu",
			 (unsigned long long)len, (unsigned long long)offset,
			 (unsigned long long)i->size);
}

/* -- put and get ----------------------------------------------------------- */

/* As much of *len as a slot has room for. */
static int ask_piece(struct vmfam *f, const struct vmfam_item *i, enum way way,
		     uint64_t offset, uint8_t *data, size_t *len, bool awaited)
{
	struct slot_ask ask = { .method = way == PUT ? "mem.put" : "mem.get",
				.awaited = awaited,
				.out = way == PUT,
				.to = way == PUT ? NULL : data };
	int slot = vmfam_slot_get(f, 1);

	if (slot < 0)
		return slot;
	if (*len > vmfam_slot_size(f, slot))
		*len = vmfam_slot_size(f, slot);
	ask.len = *len;
	if (way == PUT)
		memcpy(vmfam_slot_memory(f, slot), data, *len);
	ask.params = params_of(i);
	set(ask.params, "offset", offset);
	set(ask.params, "size", *len);
	return vmfam_slot_ask(f, slot, &ask);
}

static int transfer(struct vmfam *f, const struct vmfam_item *i, enum way way,
		    uint64_t offset, uint8_t *data, size_t len, bool awaited)
{
	int r = check(f, i, offset, len);

	if (r == 0 && i->here) {
		memcpy(way == PUT ? f->map + i->at + offset : data,
		       way == PUT ? data : f->map + i->at + offset, len);
		return 0;
	}
	while (r == 0 && len) {
		size_t n = len;

		r = ask_piece(f, i, way, offset, data, &n, awaited);
		offset += n;
		data += n;
		len -= n;
	}
	return r;
}

/* Also after a failure: nothing of ours may be under way. */
static int wait_for(struct vmfam *f, int r)
{
	int waited = vmfam_slot_wait(f);

	return r < 0 ? r : waited;
}

int vmfam_put_nb(struct vmfam *f, const struct vmfam_item *i, uint64_t offset,
		 const void *data, size_t len)
{
	return transfer(f, i, PUT, offset, (uint8_t *)(uintptr_t)data, len,
			false);
}

int vmfam_get_nb(struct vmfam *f, const struct vmfam_item *i, uint64_t offset,
		 void *data, size_t len)
{
	return transfer(f, i, GET, offset, data, len, false);
}

int vmfam_put(struct vmfam *f, const struct vmfam_item *i, uint64_t offset,
	      const void *data, size_t len)
{
	return wait_for(f, transfer(f, i, PUT, offset,
				    (uint8_t *)(uintptr_t)data, len, true));
}

int vmfam_get(struct vmfam *f, const struct vmfam_item *i, uint64_t offset,
	      void *data, size_t len)
{
	return wait_for(f, transfer(f, i, GET, offset, data, len, true));
}

/* -- scatter and gather ---------------------------------------------------- */

struct spread {
	const struct vmfam_item *item;
	const uint64_t *index; /* NULL: first and stride */
	uint64_t first, stride, count;
	size_t elem;
	uint8_t *data;
};

/* UINT64_MAX: nowhere. */
static uint64_t place(const struct spread *s, uint64_t n)
{
	uint64_t at = s->index ? s->index[n] : n;

	if (!s->index && (__builtin_mul_overflow(at, s->stride, &at) ||
			  __builtin_add_overflow(at, s->first, &at)))
		return UINT64_MAX;
	return __builtin_mul_overflow(at, s->elem, &at) ? UINT64_MAX : at;
}

static int spread_here(struct vmfam *f, const struct spread *s, enum way way)
{
	int r = 0;

	for (uint64_t n = 0; n < s->count && r == 0; n++)
		r = transfer(f, s->item, way, place(s, n),
			     s->data + n * s->elem, s->elem, true);
	return r;
}

static void set_places(json_t *params, const struct spread *s, uint64_t from,
		       uint64_t n)
{
	json_t *list;

	set(params, "elem", s->elem);
	if (s->index) {
		list = json_array();
		for (uint64_t i = 0; i < n; i++)
			json_array_append_new(
				list,
				json_integer((json_int_t)s->index[from + i]));
		json_object_set_new(params, "index", list);
		return;
	}
	set(params, "count", n);
	set(params, "first", s->first + from * s->stride);
	set(params, "stride", s->stride);
}

/* As many as a slot has room for. */
static int ask_spread(struct vmfam *f, const struct spread *s, enum way way,
		      uint64_t from, uint64_t *ret_n)
{
	struct slot_ask ask = {
		.method = way == PUT ? "mem.scatter" : "mem.gather",
		.awaited = true,
		.out = way == PUT,
	};
	int slot = vmfam_slot_get(f, s->elem);
	uint64_t n;

	if (slot < 0)
		return slot;
	n = vmfam_slot_size(f, slot) / s->elem;
	n = n < VMFAM_BATCH_MAX ? n : VMFAM_BATCH_MAX;
	n = n < s->count - from ? n : s->count - from;
	ask.len = n * s->elem;
	if (way == PUT)
		memcpy(vmfam_slot_memory(f, slot), s->data + from * s->elem,
		       ask.len);
	else
		ask.to = s->data + from * s->elem;
	ask.params = params_of(s->item);
	set_places(ask.params, s, from, n);
	*ret_n = n;
	return vmfam_slot_ask(f, slot, &ask);
}

/* All of them, before the first is sent: without indices the last is furthest.
 */
static int check_places(struct vmfam *f, const struct spread *s)
{
	int r = 0;

	for (uint64_t n = s->index || !s->count ? 0 : s->count - 1;
	     n < s->count && r == 0; n++)
		r = check(f, s->item, place(s, n), s->elem);
	return r;
}

static int spread(struct vmfam *f, const struct spread *s, enum way way)
{
	uint64_t n = 0;
	int r;

	if (!s->elem || (!s->index && !s->stride))
		return vmfam_say(f, -EINVAL, "elements of no bytes, or stride");
	r = check_places(f, s);
	if (r < 0)
		return r;
	if (s->item->here)
		return spread_here(f, s, way);
	for (uint64_t from = 0; from < s->count && r == 0; from += n)
		r = ask_spread(f, s, way, from, &n);
	return wait_for(f, r);
}

int vmfam_scatter(struct vmfam *f, const struct vmfam_item *i, uint64_t first,
		  uint64_t stride, size_t elem, uint64_t count,
		  const void *data)
{
	const struct spread s = {
		i, NULL, first, stride, count, elem, (uint8_t *)(uintptr_t)data
	};

	return spread(f, &s, PUT);
}

int vmfam_gather(struct vmfam *f, const struct vmfam_item *i, uint64_t first,
		 uint64_t stride, size_t elem, uint64_t count, void *data)
{
	const struct spread s = { i, NULL, first, stride, count, elem, data };

	return spread(f, &s, GET);
}

int vmfam_scatter_index(struct vmfam *f, const struct vmfam_item *i,
			const uint64_t *index, size_t elem, uint64_t count,
			const void *data)
{
	const struct spread s = {
		i, index, 0, 0, count, elem, (uint8_t *)(uintptr_t)data
	};

	return spread(f, &s, PUT);
}

int vmfam_gather_index(struct vmfam *f, const struct vmfam_item *i,
		       const uint64_t *index, size_t elem, uint64_t count,
		       void *data)
{
	const struct spread s = { i, index, 0, 0, count, elem, data };

	return spread(f, &s, GET);
}

int vmfam_copy(struct vmfam *f, const struct vmfam_item *from,
	       uint64_t from_offset, const struct vmfam_item *to,
	       uint64_t to_offset, uint64_t len)
{
	int r = check(f, from, from_offset, len);

	if (r == 0)
		r = check(f, to, to_offset, len);
	if (r < 0 || !len)
		return r;
	if (from->here && to->here) {
		memmove(f->map + to->at + to_offset,
			f->map + from->at + from_offset, len);
		return 0;
	}
	return vmfam_ask(f, "mem.copy",
			 json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
				   "region", (json_int_t)from->region, "item",
				   (json_int_t)from->item, "offset",
				   (json_int_t)from_offset, "size",
				   (json_int_t)len, "dst_region",
				   (json_int_t)to->region, "dst_item",
				   (json_int_t)to->item, "dst_offset",
				   (json_int_t)to_offset),
			 NULL);
}

/* -- atomics --------------------------------------------------------------- */

static int check_word(struct vmfam *f, const struct vmfam_item *i,
		      uint64_t offset, unsigned int op, unsigned int type)
{
	size_t size = memword_size(type);

	if (memword_check(op, type) < 0)
		return vmfam_say(f, -EINVAL, "no such operation on that type");
	if (i->here && (i->at + offset) % size)
		return vmfam_say(f, -ERANGE,
				 "a word that is not aligned to its size");
	return check(f, i, offset, size);
}

static void put_entry(const struct vmfam *f, int slot, unsigned int n,
		      const struct memword_entry *e)
{
	memcpy(vmfam_slot_memory(f, slot) + (size_t)n * sizeof(*e), e,
	       sizeof(*e));
}

static struct memword_entry entry(uint64_t offset, unsigned int op,
				  unsigned int type, uint64_t value,
				  uint64_t cmp)
{
	return (struct memword_entry){
		.offset = htole64(offset),
		.op = (uint8_t)op,
		.type = (uint8_t)type,
		.value = htole64(value),
		.cmp = htole64(cmp),
	};
}

int vmfam_flush(struct vmfam *f)
{
	const struct vmfam_item i = { .region = f->batch.region,
				      .item = f->batch.item };
	struct slot_ask ask = { .method = "mem.batch",
				.out = true,
				.len = f->batch.n *
				       sizeof(struct memword_entry) };
	int slot = f->batch.slot;

	if (slot < 0)
		return 0;
	f->batch.slot = -1;
	ask.params = params_of(&i);
	set(ask.params, "n", f->batch.n);
	return vmfam_slot_ask(f, slot, &ask);
}

static bool is_open(const struct vmfam *f, const struct vmfam_item *i)
{
	return f->batch.slot >= 0 && f->batch.region == i->region &&
	       f->batch.item == i->item;
}

static int open_batch(struct vmfam *f, const struct vmfam_item *i)
{
	int r = vmfam_flush(f), slot = r < 0 ? r : vmfam_slot_get(f, 1);

	if (slot >= 0)
		f->batch = (struct batch){ slot, i->region, i->item, 0 };
	return slot < 0 ? slot : 0;
}

int vmfam_atomic_nb(struct vmfam *f, const struct vmfam_item *i,
		    uint64_t offset, enum vmfam_op op, enum vmfam_type type,
		    uint64_t value)
{
	struct memword_entry e;
	int r = check_word(f, i, offset, op, type);

	if (r < 0)
		return r;
	if (i->here) {
		memword_apply(f->map + i->at + offset, (enum memword_op)op,
			      (enum memword_type)type, value, 0);
		return 0;
	}
	if (!is_open(f, i))
		r = open_batch(f, i);
	if (r < 0)
		return r;
	e = entry(offset, op, type, value, 0);
	put_entry(f, f->batch.slot, f->batch.n, &e);
	if (++f->batch.n == VMFAM_BATCH_MAX ||
	    f->batch.n == vmfam_slot_size(f, f->batch.slot) / sizeof(e))
		return vmfam_flush(f);
	return 0;
}

int vmfam_atomic(struct vmfam *f, const struct vmfam_item *i, uint64_t offset,
		 enum vmfam_op op, enum vmfam_type type, uint64_t value,
		 uint64_t cmp, uint64_t *old)
{
	struct memword_entry e = entry(offset, op, type, value, cmp);
	struct slot_ask ask = { .method = "mem.batch",
				.awaited = true,
				.out = true,
				.to = &e,
				.len = sizeof(e) };
	int r = check_word(f, i, offset, op, type), slot;

	if (r == 0 && i->here) {
		value = memword_apply(f->map + i->at + offset,
				      (enum memword_op)op,
				      (enum memword_type)type, value, cmp);
		if (old)
			*old = value;
		return 0;
	}
	if (r == 0)
		r = vmfam_flush(f); /* what was begun before is before it */
	slot = r == 0 ? vmfam_slot_get(f, 1) : r;
	if (slot < 0)
		return slot;
	put_entry(f, slot, 0, &e);
	ask.params = params_of(i);
	set(ask.params, "n", 1);
	json_object_set_new(ask.params, "fetch", json_true());
	r = wait_for(f, vmfam_slot_ask(f, slot, &ask));
	if (r == 0 && old)
		*old = le64toh(e.value);
	return r;
}

/* -- order ----------------------------------------------------------------- */

int vmfam_fence(struct vmfam *f)
{
	int r = vmfam_flush(f);

	__sync_synchronize(); /* -Wtsan takes no atomic_thread_fence() */
	return r < 0 ? r : vmfam_slot_wait_all(f);
}

int vmfam_quiet(struct vmfam *f)
{
	int r = vmfam_fence(f);

	if (r == 0 && f->late)
		r = vmfam_say(f, f->late, "%s", f->late_words);
	f->late = 0;
	return r;
}
