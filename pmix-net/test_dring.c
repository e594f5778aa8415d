#include <config.h>

#include "test_dring.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	      "virtio 1.x is little endian, and nothing is swapped here");

#define PAGE 4096

static size_t round_up(size_t n, size_t to)
{
	return (n + to - 1) / to * to;
}

/* -- memory --------------------------------------------------------------- */

static unsigned int n_slots(const struct dring_conf *conf)
{
	return conf->indirect ? conf->num : conf->num / conf->pieces;
}

/* Not a power of two, so that the buffers do not share their cache sets. */
static size_t stride_of(const struct dring_conf *conf)
{
	return round_up(conf->headroom + conf->bytes, 64);
}

size_t dring_ring_bytes(const struct dring_conf *conf)
{
	size_t bytes = vring_size(conf->num, PAGE);

	bytes = round_up(bytes, PAGE);
	if (conf->indirect)
		bytes += round_up(conf->num * conf->pieces *
					  sizeof(struct vring_desc),
				  PAGE);
	return bytes;
}

size_t dring_buffer_bytes(const struct dring_conf *conf)
{
	return round_up(n_slots(conf) * stride_of(conf), PAGE);
}

int dring_init(struct dring *q, const struct dring_conf *conf, uint8_t *ring,
	       uint8_t *buffers)
{
	*q = (struct dring){ .conf = *conf, .kick = -1, .call = -1 };
	vring_init(&q->ring, conf->num, ring, PAGE);
	q->slots = n_slots(conf);
	q->mask = conf->num - 1;
	q->stride = stride_of(conf);
	q->buffers = buffers;
	q->free = calloc(conf->num, sizeof(*q->free));
	q->posted = calloc(conf->num, sizeof(*q->posted));
	return q->free && q->posted ? 0 : -ENOMEM;
}

void dring_done(struct dring *q)
{
	if (q->kick >= 0)
		close(q->kick);
	if (q->call >= 0)
		close(q->call);
	free(q->free);
	free(q->posted);
	*q = (struct dring){ .kick = -1, .call = -1 };
}

/* -- descriptors ---------------------------------------------------------- */

typedef uint64_t (*gpa_fn)(const void *p, const void *arg);

/* The buffer in equal pieces; the sender changes their lengths. */
static void write_descs(struct dring *q, unsigned int slot, gpa_fn gpa,
			const void *arg)
{
	struct vring_desc *desc = dring_descs(q, slot);
	uint16_t first = q->tables ? 0 : (uint16_t)(slot * q->conf.pieces);
	uint16_t flags = q->conf.writable ? VRING_DESC_F_WRITE : 0;
	size_t part = q->conf.bytes / q->conf.pieces, at = 0;

	for (unsigned int i = 0; i < q->conf.pieces; i++) {
		bool last = i + 1 == q->conf.pieces;
		size_t len = last ? q->conf.bytes - at : part;

		desc[i] = (struct vring_desc){
			.addr = gpa(dring_buffer(q, slot) + at, arg),
			.len = (uint32_t)len,
			.flags = last ? flags : flags | VRING_DESC_F_NEXT,
			.next = last ? 0 : (uint16_t)(first + i + 1),
		};
		at += len;
	}
	if (q->tables)
		q->ring.desc[slot] = (struct vring_desc){
			.addr = gpa(desc, arg),
			.len = (uint32_t)(q->conf.pieces * sizeof(*desc)),
			.flags = VRING_DESC_F_INDIRECT,
		};
}

void dring_reset(struct dring *q, bool event_idx, bool indirect, gpa_fn gpa,
		 const void *arg)
{
	uint8_t *ring = (uint8_t *)q->ring.desc;

	memset(ring, 0, dring_ring_bytes(&q->conf));
	q->event_idx = event_idx;
	q->tables = NULL;
	q->slots = q->conf.num / q->conf.pieces;
	if (indirect) {
		q->tables =
			(struct vring_desc *)(ring +
					      round_up(vring_size(q->conf.num,
								  PAGE),
						       PAGE));
		q->slots = q->conf.num;
	}
	q->avail = q->published = q->used = q->used_seen = 0;
	q->head = 0;
	q->tail = q->slots;
	for (unsigned int i = 0; i < q->slots; i++) {
		write_descs(q, i, gpa, arg);
		q->free[i] = (uint16_t)i;
		q->posted[i] = false;
	}
	dring_disarm(q);
}

/* -- frames --------------------------------------------------------------- */

void dring_offer(struct dring *q, unsigned int slot)
{
	unsigned int head = q->tables ? slot : slot * q->conf.pieces;

	q->posted[slot] = true;
	q->ring.avail->ring[q->avail++ & q->mask] = (uint16_t)head;
}

void dring_offer_free(struct dring *q)
{
	dring_offer(q, q->free[q->head++ & q->mask]);
}

void dring_give_back(struct dring *q, unsigned int slot)
{
	q->free[q->tail++ & q->mask] = (uint16_t)slot;
}

unsigned int dring_ready(struct dring *q)
{
	if (q->used == q->used_seen) /* acquire: the device's entries */
		q->used_seen =
			__atomic_load_n(&q->ring.used->idx, __ATOMIC_ACQUIRE);
	return (uint16_t)(q->used_seen - q->used);
}

int dring_take(struct dring *q, uint32_t *len)
{
	struct vring_used_elem e;
	unsigned int ready = dring_ready(q), slot;

	if (!ready)
		return -EAGAIN;
	if (ready > q->conf.num)
		return -EPROTO;
	e = q->ring.used->ring[q->used & q->mask];
	slot = q->tables ? e.id : e.id / q->conf.pieces;
	if (slot >= q->slots || !q->posted[slot] ||
	    (!q->tables && e.id % q->conf.pieces) ||
	    (q->conf.writable && e.len > q->conf.bytes))
		return -EPROTO;
	q->posted[slot] = false;
	q->used++;
	*len = e.len;
	return (int)slot;
}

/* -- notifications -------------------------------------------------------- */

/* What the device asks for: avail_event stands behind its entries. */
static uint16_t avail_event(const struct dring *q)
{
	uint16_t *at = (uint16_t *)&q->ring.used->ring[q->conf.num];

	return __atomic_load_n(at, __ATOMIC_RELAXED);
}

static void set_used_event(struct dring *q, uint16_t at)
{
	__atomic_store_n(&vring_used_event(&q->ring), at, __ATOMIC_RELAXED);
}

static void set_flags(struct dring *q, uint16_t flags)
{
	__atomic_store_n(&q->ring.avail->flags, flags, __ATOMIC_RELAXED);
}

bool dring_publish(struct dring *q)
{
	uint16_t old = q->published, now = q->avail;

	if (old == now)
		return false;
	/* release: the device sees the entries before the index */
	__atomic_store_n(&q->ring.avail->idx, now, __ATOMIC_RELEASE);
	q->published = now;
	/* full: pairs with the device's, between what it asks for and its
	 * last look at the index */
	atomic_thread_fence(memory_order_seq_cst);
	if (q->event_idx)
		return vring_need_event(avail_event(q), now, old);
	return !(__atomic_load_n(&q->ring.used->flags, __ATOMIC_RELAXED) &
		 VRING_USED_F_NO_NOTIFY);
}

bool dring_arm(struct dring *q, unsigned int after)
{
	if (q->event_idx)
		set_used_event(q, (uint16_t)(q->used + after - 1));
	else
		set_flags(q, 0);
	/* full: as in dring_publish(), the other way round */
	atomic_thread_fence(memory_order_seq_cst);
	q->used_seen = __atomic_load_n(&q->ring.used->idx, __ATOMIC_ACQUIRE);
	return (uint16_t)(q->used_seen - q->used) >= after;
}

/* With EVENT_IDX one call in 65536 entries is left. */
void dring_disarm(struct dring *q)
{
	if (q->event_idx)
		set_used_event(q, (uint16_t)(q->used - 1));
	else
		set_flags(q, VRING_AVAIL_F_NO_INTERRUPT);
}
